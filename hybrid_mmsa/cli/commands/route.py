"""`hybrid-mmsa route fit | show | simulate | check`: arguments in, words and files out. No logic of its own."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from ...adapters import Adapter, resolve_adapter
from ...data import Record
from ...errors import ArtefactError, InputError
from ...evaluation.cascade import cascade_page, simulate
from ...model import OpenModel, open_model
from ...pooling import Pooling
from ...reasoning import RecordedReasoner
from ...routing import Policy, Router, shifts
from ...training.routing.posts import encode_rows, judged, pool_on_posts, read_labelled, refit_on_posts
from ...training.routing.router import LEAST_POSTS, Judged
from ...types import LABELS, Verdict
from ..terminal.console import emit, page, say
from ..terminal.options import AsJson, Model, check_file

__all__ = ["route_app"]

RISKS = (0.10, 0.15, 0.20)
REASONS = {
    "low_confidence": "the estimated probability of a wrong label",
    "sarcasm": "the probability that the words are sarcastic",
    "conflict": "the probability that words and picture are opposed",
    "novel": "the distance from the training posts",
}
SHIFTED = 0.01
"""Posts of one kind would be called shifted this often."""

route_app = typer.Typer(
    help="Decide when to ask a reasoner: fit, show, simulate and check the router.", no_args_is_help=True
)
Verdicts = Annotated[
    Path | None,
    typer.Option("--verdicts", metavar="FILE", help="A reasoner's verdicts, JSON lines with the post's id."),
]
Labelled = Annotated[Path, typer.Argument(metavar="POSTS", help="Labelled posts: .jsonl, .csv or .parquet.")]


@route_app.command("fit")
def fit(
    posts: Labelled,
    verdicts: Verdicts = None,
    model: Model = "default",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="Folder for the fitted model; default: the model's own."),
    ] = None,
) -> None:
    """Fit the router to your posts, or, with --verdicts, how that reasoner's verdicts count.

    The posts must be labelled and new to the model (and to the reasoner).
    Without --verdicts, P(error), thresholds and prediction sets are fitted, with
    them the pooling of fast answers and verdicts, and where asking helps.

    For example:
        hybrid-mmsa route fit labelled.jsonl -o my-model
        hybrid-mmsa route fit labelled.jsonl --verdicts qwen.jsonl --model my-model
    """
    opened = open_model(model)
    adapter, encoder = opened.adapter, opened.encoder
    out = _target(opened, out, model)
    records = read_labelled(posts)
    if verdicts is None:
        fitted = refit_on_posts(adapter, encoder, records)
        if adapter.pooling is not None:
            say("the pooling was removed, because it was fitted to the former P(error); fit it again with --verdicts")
    else:
        adapter.check_router()
        fitted = pool_on_posts(adapter, encoder, records, RecordedReasoner.load(verdicts).verdicts)
    fitted.save(out)
    say(f"wrote {out}")
    for line in _describe(fitted):
        page().print(line, soft_wrap=True)


@route_app.command("show")
def show(model: Model = "default", as_json: AsJson = False) -> None:
    """Say when posts are deferred, what that achieved, and whether asking helps.

    For example:
        hybrid-mmsa route show --model my-model
    """
    adapter = Adapter.load(resolve_adapter(model))
    if as_json:
        pooling = None if adapter.pooling is None else adapter.pooling.to_dict()
        emit(json.dumps({"router": adapter.router.to_dict(), "pooling": pooling}))
        return
    for line in _describe(adapter):
        page().print(line, soft_wrap=True)


@route_app.command("simulate")
def simulate_(
    posts: Labelled,
    verdicts: Verdicts = None,
    accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Plan with a reasoner that is right this often.")
    ] = None,
    cost: Annotated[float, typer.Option(min=0, help="What one question to the reasoner costs.")] = 1.0,
    unit: Annotated[str, typer.Option(help="The unit of that cost.")] = "questions",
    model: Model = "default",
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Also draw it as a page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show accuracy and cost against the share of posts deferred, before you pay for a reasoner.

    For example:
        hybrid-mmsa route simulate labelled.jsonl --accuracy 0.8 --cost 900 --unit ms -o plan.html
        hybrid-mmsa route simulate labelled.jsonl --verdicts qwen.jsonl
    """
    if (verdicts is None) == (accuracy is None):
        raise InputError("either --verdicts or --accuracy is wanted", field="--accuracy")
    opened = open_model(model)
    adapter, encoder = opened.adapter, opened.encoder
    adapter.check_router()
    check_file(out, "--out")
    records = read_labelled(posts)
    verdicts_by_id = None if verdicts is None else RecordedReasoner.load(verdicts).verdicts
    if verdicts_by_id is not None:
        records = [r for r in records if r.sample.id in verdicts_by_id]
        if not records:
            raise InputError("none of the posts has a verdict: the ids do not meet", field="--verdicts")
    rows = judged(adapter, encoder, records)
    slow = (
        np.full(len(rows), accuracy)
        if verdicts_by_id is None
        else _slow_right(adapter.pooling, rows, records, verdicts_by_id)
    )
    p = rows.probabilities["sentiment"]
    scores = {
        "confidence": -p.max(1),
        "P(error)": adapter.router.scores(rows.probabilities, rows.features)["low_confidence"],
    }
    rows_by_rate = simulate(~rows.wrong, slow, scores, slow_cost=cost)
    if out is not None:
        out.write_text(cascade_page(rows_by_rate, f"{adapter.name} on {posts.name}", unit), encoding="utf-8")
        say(f"wrote {out}")
    if as_json:
        emit(json.dumps([asdict(row) for row in rows_by_rate]))
        return
    names = list(rows_by_rate[0].accuracy)
    table = Table("deferred", *names, f"cost a post ({unit})", title=f"Accuracy, %, on {len(rows)} posts")
    for row in rows_by_rate:
        table.add_row(f"{row.rate:.0%}", *(f"{100 * row.accuracy[n]:.1f}" for n in names), f"{row.cost:.4g}")
    page().print(table)


@route_app.command("check")
def check(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help="New posts, labelled or not.")],
    model: Model = "default",
    as_json: AsJson = False,
) -> None:
    """Check whether posts are still like those the thresholds were fitted on.

    The exit code is 1 if they are not, or if rows cannot be used; the other rows are compared.

    For example:
        hybrid-mmsa route check this-week.jsonl
    """
    opened = open_model(model)
    adapter, encoder = opened.adapter, opened.encoder
    adapter.check_router()
    before = adapter.router.sample
    if before is None:
        raise ArtefactError(
            f"{adapter.name} keeps no scores to compare with; fit it again with `hybrid-mmsa route fit`"
        )
    features, failed = encode_rows(encoder, posts)
    if len(features) < LEAST_POSTS:
        raise InputError(
            f"it takes {LEAST_POSTS} posts to compare, found {len(features)} that can be used", field="file"
        )
    probabilities = adapter.posteriors(features)
    labels = probabilities["sentiment"].argmax(1)
    compared = shifts(before, adapter.router.scores(probabilities, features), labels)
    # One warning in a hundred checks, however many things are compared.
    stale = [shift for shift in compared if shift.p_value < SHIFTED / len(compared)]
    if as_json:
        counts = {"posts": len(features), "failed": len(failed), "stale": bool(stale)}
        emit(json.dumps({**counts, "shifts": [asdict(shift) for shift in compared]}))
    else:
        table = Table("compared", "largest difference", "p", title=f"{len(features)} posts, {len(before)} before")
        for shift in compared:
            table.add_row(shift.what, f"{shift.distance:.2f}", f"{shift.p_value:.2g}")
        page().print(table)
        names = ", ".join(shift.what for shift in stale)
        say(
            f"shifted: {names}; label some of these posts and fit the router to them with `route fit`"
            if stale
            else "no shift found"
        )
    if failed:
        say(f"{len(failed)} rows could not be used, such as line {failed[0].line}: {failed[0].error}")
    raise typer.Exit(1 if stale or failed else 0)


def _target(opened: OpenModel, out: Path | None, model: str) -> Path:
    """Where the fitted model goes: never into the package, and not away from towers of its own."""
    if out is not None and out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; a folder is wanted", field="--out")
    if out is None:
        if not Path(model).is_dir():
            raise InputError(f"{model!r} came with the package and stays as it is; name a folder", field="--out")
        return opened.folder
    if ":" in opened.adapter.encoder and out.resolve() != opened.folder.resolve():
        raise InputError(
            f"{opened.adapter.name} has towers of its own in {opened.folder}: copy the folder, fit the copy",
            field="--out",
        )
    return out


def _slow_right(
    pooling: Pooling | None, rows: Judged, records: list[Record], verdicts: dict[str, Verdict]
) -> NDArray[np.bool_]:
    """Whether the answer after asking is right: pooled where a pooling fits the verdict, else the verdict's own."""
    labels = []
    for record, fast in zip(records, rows.probabilities["sentiment"], strict=True):
        verdict = verdicts[record.sample.id or ""]
        if pooling is not None and pooling.fits(verdict):
            labels.append(int(pooling.probabilities(fast, verdict).argmax()))
        else:
            labels.append(LABELS.index(verdict.label))
    right: NDArray[np.bool_] = np.array(labels) == rows.gold
    return right


def _describe(adapter: Adapter) -> Iterator[str]:
    """Lines that say when posts are deferred, what that reached, and whether asking a reasoner helps."""
    router, facts = adapter.router, adapter.router.fitted_on
    yield f"{adapter.name}: a post is deferred when"
    for reason, top in router.thresholds.by_reason().items():
        yield f"  {REASONS[reason]} is above {top:.3f}  ({reason})" if math.isfinite(top) else f"  ({reason} is off)"
    for name, words in (("data", "fitted on"), ("p_error", "P(error) is")):
        if name in facts:
            yield f"{words}: {facts[name]}"
    if "coverage" in facts:
        yield (
            f"on the {facts.get('posts')} posts of the thresholds ({facts.get('date')}): "
            f"kept {_share(facts['coverage'])}, "
            f"wrong among kept {_share(facts.get('error_rate_kept'))}, among all {_share(facts.get('error_rate'))}"
        )
    if router.sample is not None and len(router.sample):
        yield from _promises(router)
    if router.set_threshold is not None:
        promise = f", and so the right one of {1 - facts['alpha']:.0%} of posts" if "alpha" in facts else ""
        yield f"prediction sets hold labels of probability {router.set_threshold:.3f} or more{promise}"
    if rows := facts.get("ablation"):
        yield f"AURC of plain confidence {facts['aurc_of_confidence']:.4f}; differences to it (below 0 is better):"
        for row in rows:
            d = row["difference"]
            yield f"  {row['signals']:<22}{d['value']:+.4f}  [{d['low']:+.4f}, {d['high']:+.4f}]"
    yield from _describe_pooling(adapter.pooling)


def _promises(router: Router) -> Iterator[str]:
    scores = router.sample_scores()
    for risk in RISKS:
        level = router.level(Policy(kind="risk", risk=risk))
        coverage = float((scores <= level).mean())
        promise = (
            f"{coverage:.0%} of posts can be kept" if coverage else "nothing can be promised: all posts are deferred"
        )
        yield f"policy risk, at most {risk:.0%} wrong among kept posts with probability 90 %: {promise}"


def _describe_pooling(pooling: Pooling | None) -> Iterator[str]:
    if pooling is None:
        yield "no pooling is fitted: verdicts are attached and do not count (route fit POSTS --verdicts FILE)"
        return
    facts = pooling.fitted_on
    yield (
        f"verdicts of {pooling.reasoner} (prompt {pooling.prompt or 'not named'}) count {pooling.verdict_weight:.2f}, "
        f"fast answers {pooling.fast_weight:.2f}"
    )
    if "pooled_minus_fast" in facts:
        d = facts["pooled_minus_fast"]
        yield (
            f"on all {facts['posts']} posts pooled answers are right {100 * d['value']:+.1f} points more often than "
            f"fast ones [{100 * d['low']:+.1f}, {100 * d['high']:+.1f}]"
        )
    if math.isinf(pooling.gain_from):
        yield "asking gains nothing that these posts could prove: in mode auto no post is deferred to this reasoner"
    else:
        share = facts.get("asking", {}).get("share", 1.0)
        yield (
            f"asking helps where P(error) is at least {pooling.gain_from:.3f} ({share:.0%} of posts): "
            f"{facts.get('gained_per_100_asked', 0.0):+.1f} right answers per 100 questions"
        )


def _share(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "none"
    return f"{figure['value']:.1%} [{figure['low']:.1%}, {figure['high']:.1%}]"
