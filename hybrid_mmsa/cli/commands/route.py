"""`hybrid-mmsa route fit | show | simulate | check`: arguments in, words and files out. No logic of its own."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from ...adapters import Adapter, resolve_adapter
from ...errors import ArtefactError, InputError
from ...evaluation.cascade import cascade_page, simulate
from ...model import OpenModel, open_model
from ...pooling import Pooling
from ...reasoning import RecordedReasoner
from ...routing import comparable, shifts
from ...training.routing.posts import encode_rows, judged, pool_on_posts, read_labelled, refit_on_posts
from ...training.routing.router import LEAST_POSTS, Judged
from ...types import LABELS, Verdict
from ..terminal.adapter_lines import router_lines
from ..terminal.console import counted, emit, page, say, tell_written
from ..terminal.options import (
    DETECTED,
    POSTS_HELP,
    AsJson,
    Model,
    ReadingOptions,
    WrittenAsJson,
    check_file,
    with_options,
)
from ..terminal.whole import whole_file

__all__ = ["route_app"]

SHIFTED = 0.01
"""Posts of one kind would be called shifted this often."""

route_app = typer.Typer(
    help="Decide when to ask a reasoner: fit, show, simulate and check the router.", no_args_is_help=True
)
Verdicts = Annotated[
    Path | None,
    typer.Option("--verdicts", metavar="FILE", help="A reasoner's verdicts, JSON lines with the post's id."),
]
Labelled = Annotated[Path, typer.Argument(metavar="POSTS", help=f"Labelled posts: {POSTS_HELP}.")]


@route_app.command("fit")
@with_options("reading", DETECTED)
def fit(
    posts: Labelled,
    verdicts: Verdicts = None,
    model: Model = "default",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="Folder for the fitted model; default: the model's own."),
    ] = None,
    as_json: WrittenAsJson = False,
    reading: ReadingOptions = DETECTED,
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
    records = read_labelled(reading.open(posts, labels=True))
    if verdicts is None:
        fitted = refit_on_posts(adapter, encoder, records)
        if adapter.pooling is not None:
            say("the pooling was removed, because it was fitted to the former P(error); fit it again with --verdicts")
    else:
        adapter.check_router()
        fitted = pool_on_posts(adapter, encoder, records, RecordedReasoner.load(verdicts).verdicts)
    fitted.save(out)
    tell_written(f"wrote {out}", [out], as_json=as_json, posts=len(records), name=fitted.name, hash=fitted.hash)
    for line in () if as_json else router_lines(fitted):
        page().print(line, soft_wrap=True)


@route_app.command("show")
def show(
    model: Model = "default",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Also what it was fitted on, and what each signal adds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say when posts are deferred, what that achieved, and whether asking helps.

    For example:
        hybrid-mmsa route show --model my-model
        hybrid-mmsa route show --verbose
    """
    adapter = Adapter.load(resolve_adapter(model))
    if as_json:
        pooling = None if adapter.pooling is None else adapter.pooling.to_dict()
        emit(json.dumps({"router": adapter.router.to_dict(), "pooling": pooling}))
        return
    for line in router_lines(adapter, verbose=verbose):
        page().print(line, soft_wrap=True)


@route_app.command("simulate")
@with_options("reading", DETECTED)
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
    reading: ReadingOptions = DETECTED,
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
    records = read_labelled(reading.open(posts, labels=True))
    verdicts_by_id = None if verdicts is None else RecordedReasoner.load(verdicts).verdicts
    if verdicts_by_id is not None:
        records = [r for r in records if r.sample.id in verdicts_by_id]
        if not records:
            raise InputError("none of the posts has a verdict: the ids do not meet", field="--verdicts")
    rows = judged(adapter, encoder, records)
    slow = (
        np.full(len(rows), accuracy)
        if verdicts_by_id is None
        else _slow_right(adapter.pooling, rows, [verdicts_by_id[record.sample.id or ""] for record in records])
    )
    p = rows.probabilities["sentiment"]
    scores = {
        "confidence": -p.max(1),
        "P(error)": adapter.router.scores(rows.probabilities, rows.features)["low_confidence"],
    }
    rows_by_rate = simulate(~rows.wrong, slow, scores, slow_cost=cost)
    if out is not None:
        with whole_file(out) as draft:
            draft.write_text(cascade_page(rows_by_rate, f"{adapter.name} on {posts.name}", unit), encoding="utf-8")
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
@with_options("reading", DETECTED)
def check(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"New posts, labelled or not: {POSTS_HELP}.")],
    model: Model = "default",
    as_json: AsJson = False,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Check whether posts are still like those the thresholds were fitted on.

    The exit code is 1 if they are not, or if rows cannot be used; the other rows
    are compared. Posts of one side are compared where the model was calibrated
    on such posts, and counted where it was not.

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
    features, failed = encode_rows(encoder, reading.open(posts))
    scores = adapter.router.scores(adapter.posteriors(features), features)
    rows = np.flatnonzero(comparable(before, scores))
    others = len(features) - len(rows)
    if len(rows) < LEAST_POSTS:
        unlike = (
            f", and {others} of a kind that {adapter.name} was not calibrated on (one side alone)" if others else ""
        )
        raise InputError(
            f"it takes {LEAST_POSTS} posts to compare, found {len(rows)} that can be used{unlike}"
            + ("; fit the router to such posts with `hybrid-mmsa route fit`" if others else ""),
            field="file",
        )
    features = features.take(rows)
    labels = adapter.posteriors(features)["sentiment"].argmax(1)
    compared = shifts(before, {reason: values[rows] for reason, values in scores.items()}, labels)
    # One warning in a hundred checks, however many things are compared.
    stale = [shift for shift in compared if shift.p_value < SHIFTED / len(compared)]
    if as_json:
        counts = {"posts": len(features), "not_compared": others, "failed": len(failed), "stale": bool(stale)}
        emit(json.dumps({**counts, "shifts": [asdict(shift) for shift in compared]}))
    else:
        table = Table("compared", "largest difference", "p", title=f"{len(features)} posts, {len(before)} before")
        for shift in compared:
            table.add_row(shift.what, f"{shift.distance:.2f}", f"{shift.p_value:.2g}")
        page().print(table)
        names = ", ".join(shift.what for shift in stale)
        advice = "label some of these posts and fit the router to them with `route fit`"
        page().print(f"shifted: {names}; {advice}" if stale else "no shift found", soft_wrap=True)
    if others and not as_json:
        say(
            f"{counted(others, 'post')} of one side alone not compared: {adapter.name} was calibrated on none like them"
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


def _slow_right(pooling: Pooling | None, rows: Judged, verdicts: list[Verdict]) -> NDArray[np.bool_]:
    """Whether the answer after asking is right: pooled where a pooling fits the verdict, else the verdict's own."""
    labels = []
    for post, fast, verdict in zip(rows.posts, rows.probabilities["sentiment"], verdicts, strict=True):
        weights = None if pooling is None else pooling.weights(verdict, post)
        if weights is None:
            labels.append(LABELS.index(verdict.label))
        else:
            labels.append(int(weights.posterior(fast, verdict).argmax()))
    right: NDArray[np.bool_] = np.array(labels) == rows.gold
    return right
