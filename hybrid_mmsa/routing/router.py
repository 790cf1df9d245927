"""Keep or defer: P(error), the fitted thresholds, and the reasons. Knows nothing of models or reasoners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ArtefactError
from ..types import Mode, Reason, RouteDecision, TaskArrays
from .error_model import ErrorModel
from .policy import Policy
from .signals import SIGNALS, conflict, signal_matrix

__all__ = ["FAST", "Router", "Thresholds"]

FAST = "fast"
"""Value of `RouteDecision.answered_by` when the fast tier's answer stands."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A post is deferred when a score is above its threshold; `inf` switches a reason off.

    Attributes:
        p_error: For P(error), reason `low_confidence`.
        sarcasm: For P(sarcastic).
        conflict: For the distance between what text and picture say.
    """

    p_error: float
    sarcasm: float
    conflict: float


@dataclass(frozen=True, slots=True)
class Router:
    """A fitted router.

    Attributes:
        error_model: P(error) from the signals.
        thresholds: When to defer.
        fitted_on: Facts on how it was fitted: data, split, date, deferral rate and risk reached.
    """

    error_model: ErrorModel
    thresholds: Thresholds
    fitted_on: Mapping[str, Any] = field(default_factory=dict)

    def decide(
        self, probabilities: TaskArrays, mode: Mode = "auto", policy: Policy | None = None
    ) -> list[RouteDecision]:
        """One decision per post, each from that post's own numbers alone.

        Args:
            probabilities: Calibrated probabilities per task.
            mode: `fast` keeps all, `deep` defers all, `auto` follows the policy.
            policy: The user's choice; `None` is `Policy()`.
        """
        policy = policy or Policy()
        kind = {"fast": "never", "deep": "always"}.get(mode, policy.kind)
        limit = policy.p_error if policy.p_error is not None else self.thresholds.p_error
        p_error = self.error_model.predict_proba(signal_matrix(probabilities))
        if kind == "never":
            reasons: list[tuple[Reason, ...]] = [()] * len(p_error)
        else:
            reasons = self._reasons(p_error, probabilities, limit, only_errors=kind == "threshold")
        if kind == "always":
            reasons = [(*found, "requested") for found in reasons]
        return [_decision(error, limit, why) for error, why in zip(p_error, reasons, strict=True)]

    def _reasons(
        self, p_error: np.ndarray[Any, Any], probabilities: TaskArrays, limit: float, *, only_errors: bool
    ) -> list[tuple[Reason, ...]]:
        scores: dict[Reason, tuple[np.ndarray[Any, Any], float]] = {"low_confidence": (p_error, limit)}
        if not only_errors:
            scores["sarcasm"] = (probabilities["sarcasm"][:, 1], self.thresholds.sarcasm)
            scores["conflict"] = (conflict(probabilities), self.thresholds.conflict)
        # A score of a missing side is NaN, and NaN is above nothing.
        return [tuple(r for r, (values, top) in scores.items() if values[i] > top) for i in range(len(p_error))]

    def to_dict(self) -> dict[str, Any]:
        """The router as JSON values, for `router.json`."""
        thresholds = {k: None if np.isinf(v) else v for k, v in _fields(self.thresholds).items()}
        weights = dict(zip(SIGNALS, self.error_model.weights_.tolist(), strict=True))
        error_model = {"signals": weights, "bias": self.error_model.bias_}
        return {"error_model": error_model, "thresholds": thresholds, "fitted_on": dict(self.fitted_on)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Router:
        """A router from the values of `router.json`.

        Raises:
            ArtefactError: A part is missing, or the signals are not this version's.
        """
        try:
            weights = values["error_model"]["signals"]
            if list(weights) != list(SIGNALS):
                raise ArtefactError(f"router: fitted on the signals {list(weights)}, this version has {list(SIGNALS)}")
            model = ErrorModel()
            model.weights_ = np.array(list(weights.values()), dtype=np.float64)
            model.bias_ = float(values["error_model"]["bias"])
            limits = {k: np.inf if v is None else float(v) for k, v in values["thresholds"].items()}
            if any(np.isnan(v) for v in limits.values()):
                raise ArtefactError(f"router: the thresholds must be numbers, found {limits}")
            return cls(model, Thresholds(**limits), values.get("fitted_on", {}))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ArtefactError):
                raise
            raise ArtefactError(f"router: {error!r} in its file") from error


def _decision(p_error: float, limit: float, reasons: tuple[Reason, ...]) -> RouteDecision:
    return RouteDecision(
        decision="defer" if reasons else "keep",
        answered_by=FAST,
        reasons=reasons,
        p_error=float(p_error),
        threshold=float(limit) if np.isfinite(limit) else None,
    )


def _fields(thresholds: Thresholds) -> dict[str, float]:
    return {"p_error": thresholds.p_error, "sarcasm": thresholds.sarcasm, "conflict": thresholds.conflict}
