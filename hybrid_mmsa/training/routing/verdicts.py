"""Fits the pooling of fast answers and a reasoner's verdicts, and where asking is worth it. Asks no model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import metrics
from ...errors import InputError
from ...pooling import Pooling, VerdictWeights, fit_pooling, kind_of, pool
from ...types import LABELS, POST_KINDS, Verdict, posteriors
from ..common.provenance import today
from ..posts.rows import fold_of
from .router import LEAST_POSTS, Judged

__all__ = ["GAIN_LEVEL", "Gain", "fit_verdicts", "gain_from"]

GAIN_LEVEL = 0.1
"""Asking counts as a gain where a one-sided test of the log-loss gained says so at this level."""
LEAST_GAIN = 0.01
"""Log-loss a question must save on average, in nats; less is not worth asking."""
LEAST_ASKED = 20
"""Fewer posts than this prove no gain."""
LEAST_OF_KIND = 100
"""So many posts of a kind have weights of their own; kinds of fewer share those of all posts together."""
FOLDS = 10
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Gain:
    """What asking gains on the posts with at least some P(error).

    Attributes:
        p_error: Where asking begins to help; `inf` for nowhere.
        share: Share of posts asked about, by lines drawn without them.
        log_loss: Mean log-loss gained by each of those, in nats; 0 if there are none.
        p_value: One-sided, against no gain; 1 if there are none.
    """

    p_error: float
    share: float
    log_loss: float
    p_value: float


def fit_verdicts(judged: Judged, p_error: Floats, verdicts: Sequence[Verdict], facts: Mapping[str, Any]) -> Pooling:
    """The pooling for one reasoner, and from which P(error) on asking it helps: for each kind of post among these.

    Args:
        judged: Labelled posts that neither the fast tier nor the reasoner was trained on, `n`, with `posts`.
        p_error: Their P(error) `[n]`.
        verdicts: One per post.
        facts: What to say of the posts, for `pooling.json`.

    Raises:
        InputError: Too few posts, or verdicts of more than one model, adapter or prompt; posts with a target may be
            asked with a prompt of their own.
    """
    if len(judged) < LEAST_POSTS:
        raise InputError(f"a pooling needs {LEAST_POSTS} labelled posts with a verdict, found {len(judged)}")
    makers = {(v.reasoner, v.adapter, v.prompt) for v in verdicts}
    kinds = [kind_of(post, verdict.unseen) for post, verdict in zip(judged.posts, verdicts, strict=True)]
    prompts = {
        t: {v.prompt for v, kind in zip(verdicts, kinds, strict=True) if (kind == "target") == t} for t in (False, True)
    }
    if len({maker[:2] for maker in makers}) > 1 or max(map(len, prompts.values())) > 1:
        named = "; ".join(f"{r}, adapter {a}, prompt {p}" for r, a, p in sorted(makers, key=str))
        raise InputError(f"the verdicts are of more than one model, adapter or prompt: {named}", field="--verdicts")
    number = Counter(kinds)
    shares = {kind: (kind,) if number[kind] >= LEAST_OF_KIND else POST_KINDS for kind in POST_KINDS if number[kind]}
    fits = {}
    for together in dict.fromkeys(shares.values()):
        rows = np.array([row for row, kind in enumerate(kinds) if kind in together])
        fits[together] = _weights(judged.take(rows), p_error[rows], [verdicts[row] for row in rows], facts)
    reasoner, adapter, _ = next(iter(makers))
    plain, targeted = (next(iter(prompts[t]), None) for t in (False, True))
    return Pooling(
        reasoner=reasoner,
        adapter=adapter,
        prompt=plain if prompts[False] else targeted,
        target_prompt=targeted if prompts[False] and targeted != plain else None,
        kinds={kind: fits[together] for kind, together in shares.items()},
    )


def _weights(judged: Judged, p_error: Floats, verdicts: Sequence[Verdict], facts: Mapping[str, Any]) -> VerdictWeights:
    """Weights fitted to some posts.

    Gains are cross-fitted: each post is pooled with weights fitted without it. They are gains over the fast posterior
    calibrated to the same posts without the verdicts, so that calibration alone is no reason to ask.
    """
    fast = judged.probabilities["sentiment"].astype(np.float64)
    slow = posteriors(verdicts)
    pooled, alone = np.zeros_like(fast), np.zeros_like(fast)
    folds = np.array([fold_of(f"pooling/{key}", FOLDS) for key in judged.keys])
    for k in np.unique(folds):
        rest = folds != k
        weights = fit_pooling(fast[rest], slow[rest], judged.gold[rest])
        pooled[~rest] = pool(fast[~rest], slow[~rest], weights)
        weights = fit_pooling(fast[rest], slow[rest], judged.gold[rest], ignore_verdicts=True)
        alone[~rest] = pool(fast[~rest], slow[~rest], weights)
    gain = gain_from(p_error, _log_loss(alone, judged.gold) - _log_loss(pooled, judged.gold), folds)
    a, b, *bias = map(float, fit_pooling(fast, slow, judged.gold))
    return VerdictWeights(
        fast_weight=a,
        verdict_weight=b,
        bias=(bias[0], bias[1], bias[2]),
        gain_from=gain.p_error,
        fitted_on=dict(facts)
        | _accuracy_facts(judged.gold, fast, slow, pooled)
        | _asking_facts(judged.gold, p_error, gain, fast, pooled)
        | _time_facts(verdicts),
    )


def gain_from(p_error: Floats, gained: Floats, folds: NDArray[Any]) -> Gain:
    """From which P(error) on asking lowers log-loss.

    The gain is taken to rise with P(error): its isotonic regression is above 0 from the place on where the sum of the
    gains of all posts further up is largest. A line drawn where it suits these posts best would show a gain on them
    even where there is none. So the gain that must pass the one-sided test is that of each fold's posts above the line
    of the other folds.

    Args:
        p_error: `[n]`.
        gained: Log-loss of the fast answer less that of the pooled one `[n]`.
        folds: Number of each post's fold `[n]`.
    """
    lines = np.zeros(len(gained))
    for k in np.unique(folds):
        lines[folds == k] = _line(p_error[folds != k], gained[folds != k])
    gains = gained[p_error >= lines]
    n = len(gains)
    if n < 2:
        return Gain(math.inf, n / len(gained), 0.0, 1.0)
    mean, error = float(gains.mean()), float(gains.std(ddof=1)) / math.sqrt(n)
    p_value = 1 - NormalDist().cdf(mean / error) if error > 0 else float(mean <= 0)
    helps = n >= LEAST_ASKED and mean > LEAST_GAIN and p_value <= GAIN_LEVEL
    return Gain(_line(p_error, gained) if helps else math.inf, n / len(gained), mean, p_value)


def _line(p_error: Floats, gained: Floats) -> float:
    """The P(error) from which on the sum of gains is largest; `inf` where none is above 0, 0 where all are asked."""
    order = np.argsort(p_error, kind="stable")
    ranked = p_error[order]
    # A line cannot pass between posts of one P(error).
    starts = np.flatnonzero(np.append(True, ranked[1:] > ranked[:-1]))
    sums = np.cumsum(gained[order][::-1])[::-1][starts]
    first = int(np.argmax(sums))
    if sums[first] <= 0:
        return math.inf
    return float(ranked[starts[first]]) if first else 0.0


def _log_loss(probabilities: Floats, gold: NDArray[Any]) -> Floats:
    loss: Floats = -np.log(np.clip(probabilities[np.arange(len(gold)), gold], 1e-12, 1))
    return loss


def _accuracy_facts(gold: NDArray[Any], fast: Floats, slow: Floats, pooled: Floats) -> dict[str, Any]:
    accuracy = {
        name: asdict(metrics.wilson(int((p.argmax(1) == gold).sum()), len(gold)))
        for name, p in (("fast", fast), ("verdict", slow), ("pooled", pooled))
    }
    difference = metrics.paired_difference(metrics.accuracy, gold, pooled.argmax(1), fast.argmax(1), len(LABELS))
    return {"date": today(), "posts": len(gold), "accuracy": accuracy, "pooled_minus_fast": asdict(difference)}


def _asking_facts(gold: NDArray[Any], p_error: Floats, gain: Gain, fast: Floats, pooled: Floats) -> dict[str, Any]:
    chosen = p_error >= gain.p_error
    right = [(p.argmax(1) == gold)[chosen] for p in (pooled, fast)]
    per_hundred = 100 * float(right[0].mean() - right[1].mean()) if chosen.any() else 0.0
    test = {name: value for name, value in asdict(gain).items() if name != "p_error"}  # that stands as `gain_from`
    return {"asking": test, "gained_per_100_asked": per_hundred}


def _time_facts(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Median milliseconds of a verdict, where the reasoner says what it took: a gain is worth what it costs."""
    taken = [sum(verdict.timings.values()) for verdict in verdicts if verdict.timings]
    return {"milliseconds": float(np.median(taken))} if taken else {}
