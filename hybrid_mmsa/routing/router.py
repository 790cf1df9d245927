"""Keep or defer: P(error), the fitted thresholds, and the reasons. Knows nothing of models or reasoners.

Every reason has a score and a threshold of its own. How far a score lies above its threshold, in log-odds, is its
margin; the largest margin of a post is its defer score, and posts with a defer score above a level are deferred. The
fitted thresholds stand at level 0. A budget or a risk moves the level. Above 0 all reasons tighten; below 0 only
P(error) loosens, while the others stay at their own thresholds: a post that is a little sarcastic is no likelier to be
wrong. So one number says what share is deferred for any reason, and a larger budget defers all that a smaller one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ArtefactError
from ..foreign import translated
from ..fusion import sigmoid
from ..types import BoolArray, Features, FloatArray, Label, Mode, Reason, RouteDecision, TaskArrays
from .bounds import level_for_risk, prediction_set, testing_order
from .calibration_sample import CalibrationSample
from .error_model import ErrorModel
from .novelty import Novelty
from .policy import Policy
from .signals import SIGNALS, Floats, mockery, opposition, signal_matrix
from .thresholds import threshold_for_budget

__all__ = ["FAST", "Router", "Thresholds", "defer_scores", "margins", "moved"]

FAST = "fast"
"""Value of `RouteDecision.answered_by` when the fast tier's answer stands."""
_CERTAIN = 1e-9


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A post is deferred when a score is above its threshold; `inf` switches a reason off.

    Attributes:
        p_error: For P(error), reason `low_confidence`.
        sarcasm: For P(sarcastic); see `Router.sarcasm_by_difference`.
        conflict: For P(one side is positive and the other negative).
        novel: For the distance from the training features.
    """

    p_error: float
    sarcasm: float
    conflict: float
    novel: float = np.inf

    def by_reason(self) -> dict[Reason, float]:
        """The threshold of each reason that has a score."""
        return {
            "low_confidence": self.p_error,
            "sarcasm": self.sarcasm,
            "conflict": self.conflict,
            "novel": self.novel,
        }


def margins(scores: Mapping[Reason, Floats], thresholds: Thresholds) -> dict[Reason, Floats]:
    """How far each score `[n]` lies above its threshold, in log-odds; -inf for a reason that is off or has no score.

    Reasons other than P(error) have no margin below their threshold: -inf there, too.
    """
    by_reason: dict[Reason, Floats] = {}
    for reason, top in thresholds.by_reason().items():
        if reason in scores:
            if 0 < top < 1:
                values = _log_odds(scores[reason]) - _log_odds(np.float64(top))
            else:
                values = np.full(len(scores[reason]), -np.inf if top >= 1 else np.inf)
            speaks = ~np.isnan(scores[reason]) & ((values > 0) | (reason == "low_confidence"))
            by_reason[reason] = np.where(speaks, values, -np.inf)
    return by_reason


def defer_scores(scores: Mapping[Reason, Floats], thresholds: Thresholds) -> Floats:
    """The largest margin `[n]` of each post: above 0 it is deferred by the fitted thresholds."""
    largest: Floats = np.stack(list(margins(scores, thresholds).values())).max(0)
    return largest


def moved(threshold: float, level: float) -> float:
    """A threshold moved by a level in log-odds; one that is off, or always above or below, stays where it is."""
    return float(sigmoid(_log_odds(threshold) + level)) if level != 0 and 0 < threshold < 1 else threshold


def _log_odds(p: Any) -> Any:
    p = np.clip(np.asarray(p, np.float64), _CERTAIN, 1 - _CERTAIN)
    return np.log(p) - np.log1p(-p)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Router:
    """A fitted router.

    Attributes:
        error_model: P(error) from the signals.
        thresholds: When to defer.
        fitted_on: Facts on how it was fitted: data, date, encoder hash, coverage and risk reached with intervals.
        novelty: Distance from the training features, where something reads it.
        sample: What a budget or a risk is resolved from.
        set_threshold: The least probability with which a label enters the prediction set.
        sarcasm_by_difference: Whether sarcasm beside a picture scores at most what the two sides differ by, as in
            `mockery`; false in routers that earlier versions fitted, whose sample holds P(sarcastic) as it is.
    """

    error_model: ErrorModel
    thresholds: Thresholds
    fitted_on: Mapping[str, Any] = field(default_factory=dict)
    novelty: Novelty | None = None
    sample: CalibrationSample | None = None
    set_threshold: float | None = None
    sarcasm_by_difference: bool = False
    _levels: dict[Policy, float] = field(default_factory=dict, init=False, repr=False)

    def decide(
        self,
        probabilities: TaskArrays,
        features: Features,
        mode: Mode = "auto",
        policy: Policy | None = None,
        *,
        keep_below: float | Floats = 0.0,
        foreign: BoolArray | None = None,
    ) -> list[RouteDecision]:
        """One decision per post, each from that post's own numbers alone.

        Args:
            probabilities: Calibrated probabilities per task.
            features: What they were computed from.
            mode: `fast` keeps all, `deep` defers all, `auto` follows the policy.
            policy: The user's choice; `None` is `Policy()`.
            keep_below: Posts with a lower P(error) are kept, because the reasoner is known to gain nothing there; one
                number, or one per post `[n]`; `inf` keeps all. Not where the user wants all deferred, nor where a risk
                was promised: the promise is about all posts that are kept.
            foreign: bool `[n]`, posts in a language that the model does not read. They are deferred whatever their
                scores are, unless nothing is.
        """
        policy = policy or Policy()
        kind = {"fast": "never", "deep": "always"}.get(mode, policy.kind)
        level = self.level(policy)
        scores = self.scores(probabilities, features)
        p_error = scores["low_confidence"]
        if kind == "threshold":
            limits, scores = Thresholds(policy.p_error or 0.0, np.inf, np.inf), {"low_confidence": p_error}
        else:
            limits = self.thresholds
        above = {reason: values > level for reason, values in margins(scores, limits).items()}
        if level == -np.inf:  # nothing is promised, or all is paid for: also where P(error) has no threshold
            above["low_confidence"] = np.ones(len(p_error), dtype=bool)
        limit = moved(limits.p_error, level)
        unread = np.zeros(len(p_error), dtype=bool) if foreign is None or level == np.inf else foreign
        least = np.broadcast_to(keep_below, p_error.shape)
        decisions = []
        for i, error in enumerate(p_error):
            may_defer = kind in ("always", "risk") or (kind != "never" and error >= least[i])
            reasons = tuple(reason for reason, exceeds in above.items() if exceeds[i]) if may_defer else ()
            if unread[i] and kind != "never":
                reasons = (*reasons, "language")
            decisions.append(_decision(error, limit, (*reasons, "requested") if kind == "always" else reasons))
        return decisions

    def scores(self, probabilities: TaskArrays, features: Features) -> dict[Reason, Floats]:
        """The score `[n]` of each reason, in [0, 1]; NaN where a side it needs is missing."""
        matrix = signal_matrix(self.error_model.signals, probabilities, features, self.novelty)
        scores: dict[Reason, Floats] = {
            "low_confidence": self.error_model.predict_proba(matrix),
            "sarcasm": (
                mockery(probabilities) if self.sarcasm_by_difference else probabilities["sarcasm"][:, 1]
            ).astype(np.float64),
            "conflict": opposition(probabilities).astype(np.float64),
        }
        if self.novelty is not None and np.isfinite(self.thresholds.novel):
            scores["novel"] = self.novelty.score(features)
        return scores

    def level(self, policy: Policy | None) -> float:
        """The level above which a defer score defers under a policy; `-inf` defers all.

        Raises:
            ArtefactError: A budget or a risk is asked for, and the router holds no posts to resolve it from.
        """
        if policy is None or policy.kind not in ("budget", "risk"):
            return 0.0
        if policy not in self._levels:
            self._levels[policy] = self._resolve(policy)
        return self._levels[policy]

    def _resolve(self, policy: Policy) -> float:
        sample = self.sample
        if sample is None or not len(sample):
            raise ArtefactError(
                f"this model's router was fitted without the posts that a {policy.kind} is resolved from; "
                "fit it again with `hybrid-mmsa route fit`"
            )
        scores = self.sample_scores()
        if policy.kind == "budget":
            if policy.largest_share in (0, 1):  # none and all, also of posts beyond those it was calibrated on
                return -np.inf if policy.largest_share else np.inf
            # A post without any margin is never deferred by a budget below 1, so the level stays above -inf.
            return max(threshold_for_budget(scores, policy.largest_share), float(np.finfo(np.float64).min))
        risk = policy.risk or 0.0
        order = testing_order(sample.order_score, sample.order_wrong, risk, len(sample))
        return level_for_risk(scores, sample.wrong, order, risk, policy.delta)

    def sample_scores(self) -> Floats:
        """Defer scores `[n]` of the posts it was calibrated on."""
        if self.sample is None:
            return np.zeros(0)
        by_reason: dict[Reason, Floats] = {
            "low_confidence": self.sample.p_error,
            "sarcasm": self.sample.sarcasm,
            "conflict": self.sample.conflict,
            "novel": self.sample.novel,
        }
        return defer_scores(by_reason, self.thresholds)

    def prediction_set(
        self, probabilities: FloatArray, others: Sequence[float | None] = ()
    ) -> tuple[Label, ...] | None:
        """The labels that one post may well have; `None` where none were calibrated.

        Args:
            probabilities: Of the post, `[3]`.
            others: Thresholds for what else counts in the answer; the sets are as wide as the lowest asks.
        """
        thresholds = [each for each in (self.set_threshold, *others) if each is not None]
        return prediction_set(probabilities, min(thresholds)) if len(thresholds) == 1 + len(others) else None

    def to_dict(self) -> dict[str, Any]:
        """The router as JSON values, for `router.json`; its arrays are `arrays()`."""
        model = self.error_model
        weights = dict(zip(model.signals, model.weights_.tolist(), strict=True))
        return {
            "error_model": {"signals": weights, "bias": model.bias_},
            "thresholds": {k: None if np.isinf(v) else v for k, v in asdict(self.thresholds).items()},
            "set_threshold": self.set_threshold,
            "sarcasm_by_difference": self.sarcasm_by_difference,
            "fitted_on": dict(self.fitted_on),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What of the router are arrays: the summary of the training features, and the calibration sample."""
        arrays: dict[str, NDArray[Any]] = {}
        if self.novelty is not None:
            arrays |= {f"novelty.{name}": np.ascontiguousarray(a) for name, a in self.novelty.arrays_.items()}
        if self.sample is not None:
            arrays |= {f"sample.{name}": array for name, array in self.sample.arrays().items()}
        return arrays

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> Router:
        """A router from the values of `router.json` and its arrays.

        Raises:
            ArtefactError: A part is missing, or one that this version does not know.
        """
        parts = {
            prefix: {name.partition(".")[2]: a for name, a in (arrays or {}).items() if name.startswith(f"{prefix}.")}
            for prefix in ("novelty", "sample")
        }
        with translated(lambda cause: ArtefactError(f"router: its file does not hold one ({cause})")):
            weights = values["error_model"]["signals"]
            if unknown := [name for name in weights if name not in SIGNALS]:
                raise ArtefactError(f"router: fitted on signals this version lacks: {', '.join(unknown)}")
            model = ErrorModel(tuple(weights))
            model.weights_ = np.array(list(weights.values()), dtype=np.float64)
            model.bias_ = float(values["error_model"]["bias"])
            limits = {k: np.inf if v is None else float(v) for k, v in values["thresholds"].items()}
            if any(np.isnan(v) for v in limits.values()):
                raise ArtefactError(f"router: the thresholds must be numbers, found {limits}")
            least = None if values.get("set_threshold") is None else float(values["set_threshold"])
            if not np.isfinite([*model.weights_, model.bias_, 0.0 if least is None else least]).all():
                raise ArtefactError("router: the weights, the bias and the set threshold must be finite numbers")
            thresholds = Thresholds(**limits)
            if not parts["novelty"] and ("novelty" in weights or np.isfinite(thresholds.novel)):
                raise ArtefactError("router: it reads novelty, and the summary of the training features is missing")
            return cls(
                error_model=model,
                thresholds=thresholds,
                fitted_on=values.get("fitted_on", {}),
                novelty=Novelty.from_arrays(parts["novelty"]) if parts["novelty"] else None,
                sample=CalibrationSample.from_arrays(parts["sample"]) if parts["sample"] else None,
                set_threshold=least,
                sarcasm_by_difference=bool(values.get("sarcasm_by_difference", False)),
            )


def _decision(p_error: float, limit: float, reasons: tuple[Reason, ...]) -> RouteDecision:
    return RouteDecision(
        decision="defer" if reasons else "keep",
        answered_by=FAST,
        reasons=reasons,
        p_error=float(p_error),
        threshold=float(limit) if np.isfinite(limit) else None,
    )
