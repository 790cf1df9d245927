"""P(the fast tier is wrong), thresholds and reasons: keep or defer. Knows nothing of models."""

from __future__ import annotations

from .error_model import ErrorModel
from .policy import Policy
from .router import FAST, Router, Thresholds
from .signals import SIGNALS, conflict, signal_matrix
from .thresholds import threshold_at_precision, threshold_for_budget

__all__ = [
    "FAST",
    "SIGNALS",
    "ErrorModel",
    "Policy",
    "Router",
    "Thresholds",
    "conflict",
    "signal_matrix",
    "threshold_at_precision",
    "threshold_for_budget",
]
