"""A router and its pooling in words. It prints nothing and fits nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ...adapters import Adapter
from ...pooling import Pooling
from ...routing import Policy, Router

__all__ = ["describe_router"]

RISKS = (0.10, 0.15, 0.20)
REASONS = {
    "low_confidence": "the estimated probability of a wrong label",
    "sarcasm": "the probability that the words are sarcastic",
    "conflict": "the probability that words and picture are opposed",
    "novel": "the distance from the training posts",
}


def describe_router(adapter: Adapter) -> Iterator[str]:
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
    yield from _ablation(facts)
    yield from _pooling(adapter.pooling)


def _promises(router: Router) -> Iterator[str]:
    scores = router.sample_scores()
    for risk in RISKS:
        level = router.level(Policy(kind="risk", risk=risk))
        kept = float((scores <= level).mean())
        promise = f"{kept:.0%} of posts can be kept" if kept else "nothing can be promised: all posts are deferred"
        yield f"policy risk, at most {risk:.0%} wrong among kept posts with probability 90 %: {promise}"


def _ablation(facts: Mapping[str, Any]) -> Iterator[str]:
    if rows := facts.get("ablation"):
        yield f"AURC of plain confidence {facts['aurc_of_confidence']:.4f}; differences to it (below 0 is better):"
        for row in rows:
            d = row["difference"]
            yield f"  {row['signals']:<22}{d['value']:+.4f}  [{d['low']:+.4f}, {d['high']:+.4f}]"


def _pooling(pooling: Pooling | None) -> Iterator[str]:
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
