"""An adapter and its router in words: what is in it, what it was fitted to, what that reached, when it defers.

Knows nothing of commands, and measures nothing: it reads what `adapter.json` and `router.json` say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...adapters import Adapter
from ...errors import HybridError
from ...model import open_model
from ...pooling import Pooling
from ...routing import Policy, Router
from ...types import PostKind, Reason

__all__ = ["adapter_lines", "router_lines", "towers_misfit"]

RISKS = (0.10, 0.15, 0.20)
SCORES: Mapping[Reason, str] = {
    "low_confidence": "P(its label is wrong)",
    "sarcasm": "P(sarcastic)",
    "conflict": "P(words and picture opposed)",
    "novel": "the distance from the training posts",
}
PARTS = {"sentiment": "sentiment", "sarcasm": "sarcasm", "emotion": "emotion", "target": "sentiment to a target"}
KINDS: Mapping[PostKind, str] = {
    "words": "posts of words alone",
    "picture": "posts with a picture",
    "unseen_picture": "posts whose picture it is not shown",
    "target": "posts asked about a target",
}
HASH_SHOWN = 12


def router_lines(adapter: Adapter, *, verbose: bool = False) -> Iterator[str]:
    """When posts are deferred, what that reached, and whether asking a reasoner helps; about seven lines.

    Args:
        adapter: Whose router it is.
        verbose: Also what it was fitted on, and what each signal adds.
    """
    router, facts = adapter.router, adapter.router.fitted_on
    tops = router.thresholds.by_reason()
    yield f"{adapter.name}: a post is deferred when"
    scores = {reason: words for reason, words in SCORES.items() if math.isfinite(tops[reason])}
    conditions = [f"{words} is above {tops[reason]:.3f} ({reason})" for reason, words in scores.items()]
    yield from (f"  {condition}," for condition in conditions)
    off = [reason for reason, top in tops.items() if not math.isfinite(top)]
    yield f"  {'or ' if conditions else ''}its words are not English" + (f"; off: {', '.join(off)}" if off else "")
    if "coverage" in facts:
        yield (
            f"on {facts.get('posts')} posts ({facts.get('date')}) it keeps {_share(facts['coverage'])}, is wrong on "
            f"{_share(facts.get('error_rate_kept'))} of these and on {_share(facts.get('error_rate'))} of all"
        )
    if router.sample is not None and len(router.sample):
        yield f"policy risk, held with probability 90 %: {', '.join(_promises(router))}"
    if router.set_threshold is not None:
        promise = f", and so the right one of {1 - facts['alpha']:.0%} of posts" if "alpha" in facts else ""
        yield f"prediction sets hold labels of probability {router.set_threshold:.3f} or more{promise}"
    yield from _pooling(adapter.pooling)
    if verbose:
        yield from _more(router, adapter.pooling)


def _promises(router: Router) -> Iterator[str]:
    for risk in RISKS:
        level = router.level(Policy(kind="risk", risk=risk))
        coverage = float((router.sample_scores() <= level).mean())
        yield f"at most {risk:.0%} wrong keeps " + (f"{coverage:.0%} of posts" if coverage else "nothing")


def _pooling(pooling: Pooling | None) -> Iterator[str]:
    if pooling is None:
        yield "no pooling is fitted: verdicts are attached and do not count (route fit POSTS --verdicts FILE)"
        return
    for kind, weights in pooling.kinds.items():
        facts = weights.fitted_on
        count = (
            f"{KINDS[kind]}: verdicts of {pooling.reasoner} count {weights.verdict_weight:.2f}, "
            f"fast answers {weights.fast_weight:.2f}"
        )
        if math.isinf(weights.gain_from):
            yield f"{count}; asking gains nothing that was proved: in mode auto none is deferred to this reasoner"
            continue
        share = facts.get("asking", {}).get("share", 1.0)
        each = f" of {facts['milliseconds']:.0f} ms" if "milliseconds" in facts else ""
        yield (
            f"{count}; asking helps where P(error) is at least {weights.gain_from:.3f} ({share:.0%} of such posts): "
            f"{facts.get('gained_per_100_asked', 0.0):+.1f} right answers per 100 questions{each}"
        )


def _more(router: Router, pooling: Pooling | None) -> Iterator[str]:
    """What the seven lines leave out."""
    facts = router.fitted_on
    for name, words in (("data", "fitted on"), ("p_error", "P(error) is")):
        if name in facts:
            yield f"{words}: {facts[name]}"
    if rows := facts.get("ablation"):
        yield f"AURC of plain confidence {facts['aurc_of_confidence']:.4f}; differences to it (below 0 is better):"
        for row in rows:
            d = row["difference"]
            yield f"  {row['signals']:<22}{d['value']:+.4f}  [{d['low']:+.4f}, {d['high']:+.4f}]"
    if pooling is None:
        return
    for kind, weights in pooling.kinds.items():
        if "pooled_minus_fast" in weights.fitted_on:
            d = weights.fitted_on["pooled_minus_fast"]
            prompt = (pooling.target_prompt if kind == "target" else None) or pooling.prompt
            yield (
                f"{KINDS[kind]}: prompt {prompt or 'not named'}; of {weights.fitted_on['posts']} pooled answers are "
                f"right {100 * d['value']:+.1f} points more often than fast ones "
                f"[{100 * d['low']:+.1f}, {100 * d['high']:+.1f}]"
            )


def _share(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return "none"
    return f"{figure['value']:.1%} [{figure['low']:.1%}, {figure['high']:.1%}]"


def towers_misfit(folder: Path) -> str | None:
    """Why the adapter in a folder cannot be used with the towers of this installation; `None` where it can."""
    try:
        open_model(folder).adapter.check_router()
    except HybridError as error:
        return str(error)
    return None


def adapter_lines(adapter: Adapter, folder: Path, misfit: str | None) -> Iterator[str]:
    """What is in an adapter, what it was fitted to, its fit to the towers, and its figures.

    Args:
        adapter: The adapter.
        folder: Where it stands.
        misfit: See `towers_misfit`.
    """
    made = adapter.made_with
    state = "ready" if adapter.ready else "not ready"
    yield f"{adapter.name}: {state}; model {adapter.hash[:HASH_SHOWN]}, {folder}"
    yield f"holds      {'; '.join(_contents(adapter))}"
    yield f"fitted to  {_posts(made)}"
    name = f"{adapter.encoder} {adapter.encoder_hash[:HASH_SHOWN]}"
    yield f"towers     {name}: " + ("as installed here" if misfit is None else f"do not fit: {misfit}")
    yield from (f"{name:<11}{line}" for name, line in _figures(made))
    yield f"defers     {_defers(adapter)}"
    if causes := made.get("not_ready"):
        yield f"not ready  {'; '.join(map(str, causes))}"
    parts = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    size = sum(path.stat().st_size for path in parts)
    yield f"files      {len(parts)}, {size / 1e6:.1f} MB, all as adapter.json describes them"


def _contents(adapter: Adapter) -> Iterator[str]:
    heads = adapter.head
    tasks = [words for task, words in PARTS.items() if heads.has(f"text.{task}")]
    yield f"heads for {', '.join(tasks)}, sides joined by {heads.strategy}"
    if adapter.lora is not None:
        base = adapter.made_with.get("base")
        yield "a LoRA" + (f" for {base['id']}" if isinstance(base, Mapping) and "id" in base else "")
    if adapter.pooling is not None:
        yield f"a pooling with {adapter.pooling.reasoner}"
    if adapter.space is not None:
        yield "a space of words and pictures"


def _posts(made: Mapping[str, Any]) -> str:
    """What the adapter says it was fitted to."""
    parts, labels = made.get("parts"), made.get("labels")
    if isinstance(parts, Mapping) and "train" in parts:
        shares = [f"{n} {label}" for label, n in labels.items()] if isinstance(labels, Mapping) else []
        said = f"{parts['train']:,} posts" + (f" of a file with {', '.join(shares)}" if shares else "")
    elif "n_train" in made:
        said = f"{made['n_train']:,} posts of {', '.join(map(str, made.get('posts') or ['a corpus']))}"
    else:
        said = "posts that it does not name"
    start = made.get("start")
    begun = f", started from {start['name']}" if isinstance(start, Mapping) and "name" in start else ""
    return said + begun + (f", {made['date']}" if "date" in made else "")


def _figures(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Figures on held-out posts, each after its name, where the adapter keeps any."""
    figures = made.get("figures")
    if not isinstance(figures, Mapping):
        yield "figures", "on its card (--verbose)"
        return
    for name, beside in (("figures", figures.get("default")), ("helped", figures.get("before"))):
        if isinstance(beside, Mapping):
            gain, f1 = (_gain(beside[key]) for key in ("accuracy_gain", "macro_f1_gain"))
            own = beside["adapter"]
            yield (
                name,
                f"on {beside['n']} posts, against {beside['other']}: accuracy {own['accuracy']:.3f}, {gain}; "
                f"macro F1 {own['macro F1']:.3f}, {f1}",
            )
    if isinstance(doubling := figures.get("doubling"), Mapping):
        yield "labels", f"twice as many would buy about {_gain(doubling)} of accuracy"
    if isinstance(gains := figures.get("gains"), Mapping):
        shown = "; ".join(f"{name} {_gain(gain)}" for name, gain in gains.items())
        yield "figures", f"on {figures['n']} posts, differences in accuracy: {shown}"
    if "verdict" in figures:
        yield "verdict", str(figures["verdict"])


def _gain(figure: Mapping[str, float]) -> str:
    return f"{figure['value']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f})"


def _defers(adapter: Adapter) -> str:
    figures = adapter.made_with.get("figures")
    share = figures.get("deferred") if isinstance(figures, Mapping) else None
    coverage = adapter.router.fitted_on.get("coverage")
    if share is None and isinstance(coverage, Mapping):
        share = 1 - coverage["value"]
    measured = "a share that was not measured" if share is None else f"about {share:.0%} of such posts"
    return f"{measured}; `route show` says when"
