"""P(the fast tier is wrong), thresholds and reasons: keep or defer. Knows nothing of models."""

from __future__ import annotations

from .bounds import at_most, conformal_threshold, level_for_risk, prediction_set, testing_order
from .calibration_sample import CalibrationSample
from .drift import Shift, comparable, kolmogorov_smirnov, same_shares, shifts
from .error_model import CONFIDENCE, ErrorModel
from .novelty import Novelty
from .policy import Policy
from .router import FAST, Router, Thresholds, defer_scores, margins, moved
from .signals import SIGNALS, conflict, mockery, opposition, signal_matrix
from .thresholds import threshold_at_precision, threshold_for_budget

__all__ = [
    "CONFIDENCE",
    "FAST",
    "SIGNALS",
    "CalibrationSample",
    "ErrorModel",
    "Novelty",
    "Policy",
    "Router",
    "Shift",
    "Thresholds",
    "at_most",
    "comparable",
    "conflict",
    "conformal_threshold",
    "defer_scores",
    "kolmogorov_smirnov",
    "level_for_risk",
    "margins",
    "mockery",
    "moved",
    "opposition",
    "prediction_set",
    "same_shares",
    "shifts",
    "signal_matrix",
    "testing_order",
    "threshold_at_precision",
    "threshold_for_budget",
]
