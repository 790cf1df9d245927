"""Fast posterior + verdict posterior → one posterior, and where asking is worth it. Knows no models and no posts.

    pooled ∝ exp(a · log p_fast + b · log p_verdict + c)

a, b ≥ 0 are one weight per posterior and c a bias per class (log-linear pooling, Genest and Zidek 1986). With a = 1,
b = 0 and c = 0 the pooled posterior is the fast one; the fit is held towards that point. Kinds of posts have weights of
their own: a bias that irony in words wants is wrong beside a picture.

What the words in a picture say joins in the same way, and so does what the faces look like, with weights of their own
and c = 0: a picture with words or faces in it is no reason for a label. What was read badly counts less: with a
reliability r in [0, 1] the weights are 1 + r (a - 1) and r b, so that nothing changes where nothing was read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .types import LABELS, POST_KINDS, BoolArray, FloatArray, Modality, PostKind, Sample, Verdict, posteriors

__all__ = ["Pooling", "SourcePooling", "VerdictWeights", "fit_pooling", "kind_of", "pool"]

_STEPS = 100
_SMALLEST, _FINEST = 1e-4, 1e-10
_NEUTRAL = np.array([1.0, 0.0, 0.0, 0.0, 0.0])

Floats = NDArray[np.float64]


def kind_of(post: Sample, unseen: Sequence[Modality] = ()) -> PostKind:
    """The kind of a post for a reasoner, whatever the fast tier's encoder makes of it: some never read a target.

    Args:
        post: The post, read.
        unseen: Sides that the reasoner is not shown, as in `Verdict.unseen`.
    """
    if post.target:
        return "target"
    if post.image is None:
        return "words"
    return "unseen_picture" if "image" in unseen else "picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictWeights:
    """How verdicts on posts of one kind join fast answers.

    Attributes:
        fast_weight, verdict_weight: a and b of the formula.
        bias: c, one number per label.
        gain_from: Deferring helps where P(error) is at least this; `inf` where it helps nowhere.
        fitted_on: Posts, date, and accuracy before and after, cross-fitted.
    """

    fast_weight: float
    verdict_weight: float
    bias: tuple[float, float, float]
    gain_from: float = 0.0
    fitted_on: Mapping[str, Any] = field(default_factory=dict)

    def posterior(self, fast: FloatArray, verdict: Verdict) -> FloatArray:
        """One post's fast posterior `[3]` and its verdict as one posterior `[3]`."""
        weights = np.array([self.fast_weight, self.verdict_weight, *self.bias])
        rows = pool(np.asarray(fast, np.float64)[None], posteriors([verdict]), weights)
        pooled: FloatArray = rows[0].astype(np.float32)
        return pooled

    def to_dict(self) -> dict[str, Any]:
        """The weights as JSON values."""
        return {
            "fast_weight": self.fast_weight,
            "verdict_weight": self.verdict_weight,
            "bias": list(self.bias),
            "gain_from": None if math.isinf(self.gain_from) else self.gain_from,
            "fitted_on": dict(self.fitted_on),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VerdictWeights:
        """From values that `artefacts.PoolingFile` has checked."""
        gain_from = math.inf if values["gain_from"] is None else values["gain_from"]
        return cls(**{**values, "bias": tuple(values["bias"]), "gain_from": gain_from})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """How one reasoner's verdicts are pooled with fast answers.

    Attributes:
        reasoner, adapter, prompt: Whose verdicts it was fitted to, as `Verdict` names them.
        target_prompt: The prompt of verdicts towards a target, where that was another one.
        kinds: The weights for each kind of post that it was fitted to; it holds for no other.
    """

    reasoner: str
    adapter: str | None
    prompt: str | None
    target_prompt: str | None = None
    kinds: Mapping[PostKind, VerdictWeights]

    def fits(self, verdict: Verdict) -> bool:
        """Whether it was fitted to verdicts of this model, adapter and prompt."""
        known = (verdict.reasoner, verdict.adapter) == (self.reasoner, self.adapter)
        return known and verdict.prompt in (self.prompt, self.target_prompt or self.prompt)

    def weights(self, verdict: Verdict, sample: Sample) -> VerdictWeights | None:
        """How this verdict on this post counts; `None` if it was fitted to no such verdicts (`fits`) or posts."""
        return self.kinds.get(kind_of(sample, verdict.unseen)) if self.fits(verdict) else None

    def to_dict(self) -> dict[str, Any]:
        """The pooling as JSON values, for `pooling.json`."""
        makers = {name: getattr(self, name) for name in ("reasoner", "adapter", "prompt", "target_prompt")}
        return makers | {"kinds": {kind: self.kinds[kind].to_dict() for kind in POST_KINDS if kind in self.kinds}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Pooling:
        """A pooling from the values of `pooling.json`, which `artefacts.PoolingFile` has checked."""
        return cls(
            **{name: values[name] for name in ("reasoner", "adapter", "prompt", "target_prompt")},
            kinds={kind: VerdictWeights.from_dict(weights) for kind, weights in values["kinds"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePooling:
    """How what one further source says joins the fast answer: a and b of the formula.

    Attributes:
        with_text: For posts that have words of their own beside the picture.
        picture_only: For posts that are a picture alone.
        set_threshold: The least probability with which a label enters the prediction set of an answer in which the
            source counts; `None` where none was calibrated: there is no set then.
        fitted_on: Posts, date, and accuracy before and after, cross-fitted.
    """

    with_text: tuple[float, float]
    picture_only: tuple[float, float]
    set_threshold: float | None = None
    fitted_on: Mapping[str, Any] = field(default_factory=dict)

    def probabilities(
        self, fast: FloatArray, said: FloatArray, has_text: BoolArray, reliability: FloatArray
    ) -> FloatArray:
        """The pooled posteriors `[n, 3]`.

        Args:
            fast: Of the posts without the source, `[n, 3]`.
            said: What the source says by itself, `[n, 3]`.
            has_text: bool `[n]`, whether the post has words of its own.
            reliability: Of what was read, `[n]` in [0, 1].
        """
        first, second = np.asarray(fast, np.float64), np.asarray(said, np.float64)
        both, alone = (
            pool(first, second, np.array([*weights, 0, 0, 0]), np.asarray(reliability, np.float64))
            for weights in (self.with_text, self.picture_only)
        )
        pooled: FloatArray = np.where(has_text[:, None], both, alone).astype(np.float32)
        return pooled

    def to_dict(self) -> dict[str, Any]:
        """The weights as JSON values, for `senses.json`."""
        kinds = {"with_text": self.with_text, "picture_only": self.picture_only}
        weights = {kind: {"fast_weight": a, "source_weight": b} for kind, (a, b) in kinds.items()}
        return {**weights, "set_threshold": self.set_threshold, "fitted_on": dict(self.fitted_on)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SourcePooling:
        """From the values of `senses.json`, which `artefacts.SensesFile` has checked."""
        with_text, picture_only = (
            (values[kind]["fast_weight"], values[kind]["source_weight"]) for kind in ("with_text", "picture_only")
        )
        rest = {name: values[name] for name in ("set_threshold", "fitted_on")}
        return cls(with_text=with_text, picture_only=picture_only, **rest)


def pool(fast: Floats, verdicts: Floats, weights: Floats, reliability: Floats | None = None) -> Floats:
    """Pooled posteriors `[n, 3]` of two posteriors `[n, 3]`.

    Args:
        fast: Of the fast tier.
        verdicts: Of the reasoner, or of a further source.
        weights: a, b and c in one row `[5]`.
        reliability: r of the formula, `[n]`; 1 without it.
    """
    result: Floats = _Logs.of(fast, verdicts, reliability).pooled(weights)
    return result


def fit_pooling(
    fast: Floats,
    verdicts: Floats,
    gold: NDArray[Any],
    strength: float = 5.0,
    *,
    reliability: Floats | None = None,
    ignore_verdicts: bool = False,
    biased: bool = True,
) -> Floats:
    """Weights `[5]` (a, b, c) of the lowest log-loss, held towards the fast posterior.

    Args:
        fast: Posteriors `[n, 3]` of the fast tier.
        verdicts: Posteriors `[n, 3]` of the reasoner, or of a further source.
        gold: Class indices `[n]`.
        strength: Half of it, times the squared distance of the weights from the fast posterior's, is added to the loss.
        reliability: r of the formula, `[n]`; 1 without it.
        ignore_verdicts: Give the reasoner no weight (b = 0): the fast posterior, calibrated to these posts.
        biased: Whether labels may have a bias; otherwise c = 0.
    """
    logs = _Logs.of(fast, verdicts, reliability)
    free = np.array([True, not ignore_verdicts, biased, biased, biased])
    weights = _newton(logs, gold, strength, free)
    while (weights[:2] < 0).any():  # a posterior that would count backwards gets no weight
        free[int(np.argmin(weights[:2]))] = False
        weights = _newton(logs, gold, strength, free)
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class _Logs:
    """Log-probabilities of both posteriors, scaled by the reliability, and what is left of the fast one's, `[n, 3]`."""

    fast: Floats
    verdicts: Floats
    left: Floats | float

    @classmethod
    def of(cls, fast: Floats, verdicts: Floats, reliability: Floats | None) -> _Logs:
        """A probability of 0 counts as the smallest, so that neither posterior has a veto."""
        first, second = np.log(np.clip(fast, _SMALLEST, 1)), np.log(np.clip(verdicts, _SMALLEST, 1))
        if reliability is None:
            return cls(first, second, 0.0)
        r = reliability[:, None]
        return cls(r * first, r * second, (1 - r) * first)

    def pooled(self, weights: Floats) -> Floats:
        return _softmax(self.left + weights[0] * self.fast + weights[1] * self.verdicts + weights[2:])


def _newton(logs: _Logs, gold: NDArray[Any], strength: float, free: NDArray[np.bool_]) -> Floats:
    """The lowest point over the free weights by Newton's method with halved steps; what is not free weighs 0."""
    truth = np.eye(len(LABELS))[gold]
    weights = np.where(free, _NEUTRAL, 0.0)

    def loss(w: Floats) -> float:
        misfit = -np.log(np.clip((logs.pooled(w) * truth).sum(1), 1e-300, 1)).sum()
        return float(misfit + strength / 2 * ((w - _NEUTRAL) ** 2).sum())

    for _ in range(_STEPS):
        p = logs.pooled(weights)
        slope = np.array([*(((p - truth) * log).sum() for log in (logs.fast, logs.verdicts)), *(p - truth).sum(0)])
        slope += strength * (weights - _NEUTRAL)
        direction = np.zeros_like(weights)
        direction[free] = np.linalg.solve(_curvature(logs, p, strength)[np.ix_(free, free)], slope[free])
        size = 1.0
        while size > _FINEST and loss(weights - size * direction) > loss(weights):
            size /= 2
        if size <= _FINEST or np.abs(direction).max() < _FINEST:
            break
        weights = weights - size * direction
    return weights


def _curvature(logs: _Logs, p: Floats, strength: float) -> Floats:
    """Second derivatives `[5, 5]` of the penalised log-loss."""
    slopes = np.stack([logs.fast, logs.verdicts, *(np.broadcast_to(row, p.shape) for row in np.eye(len(LABELS)))])
    mean = np.einsum("jnk,nk->jn", slopes, p)
    second: Floats = np.einsum("ink,jnk,nk->ij", slopes, slopes, p) - mean @ mean.T + strength * np.eye(len(slopes))
    return second


def _softmax(logits: Floats) -> Floats:
    exponents: Floats = np.exp(logits - logits.max(1, keepdims=True))
    shares: Floats = exponents / exponents.sum(1, keepdims=True)
    return shares
