"""The router on top of frozen features: fitted as the bundled one is, or plain where posts are few. Knows no heads."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...routing import (
    CONFIDENCE,
    ErrorModel,
    Novelty,
    Router,
    Thresholds,
    opposition,
    signal_matrix,
    threshold_for_budget,
)
from ..routing.posts import half
from ..routing.router import LEAST_POSTS, Judged, RouterConfig, fit_router

__all__ = ["route_frozen"]

LEAST_ERRORS = 20
"""Wrong answers, and right ones, that P(error) is fitted to at the least."""


def route_frozen(
    learn: Judged, held: Judged | None, *, sarcasm: float, encoder_hash: str, config: RouterConfig
) -> Router:
    """A router; where there are too few posts to fit one, the calibrated probability is taken at its word.

    Args:
        learn: Training posts with the answers of heads that had not seen them.
        held: Posts that nothing was fitted to, if any.
        sarcasm: Threshold for P(sarcastic).
        encoder_hash: For `router.json`.
        config: The recipe.
    """
    errors = int(learn.wrong.sum())
    if held is not None and min(errors, len(learn) - errors) >= LEAST_ERRORS:
        judges = np.array([half(key) for key in held.keys], dtype=bool)
        choose, judge = (held.take(np.flatnonzero(part)) for part in (~judges, judges))
        if min(len(choose), len(judge)) >= LEAST_POSTS:
            novelty = Novelty().fit(learn.features)
            facts: dict[str, Any] = {"encoder_hash": encoder_hash}
            return fit_router(learn, choose, judge, sarcasm=sarcasm, novelty=novelty, facts=facts, config=config)
    model = ErrorModel.plain()
    p_error = model.predict_proba(signal_matrix(CONFIDENCE, learn.probabilities, learn.features, None))
    thresholds = Thresholds(
        p_error=threshold_for_budget(p_error, config.budget),
        sarcasm=sarcasm,
        conflict=threshold_for_budget(opposition(learn.probabilities), config.conflict_share),
    )
    told = "the calibrated probability at its word: too few posts, or errors, to fit it"
    return Router(
        error_model=model,
        thresholds=thresholds,
        fitted_on={"p_error": told, "posts": len(learn), "encoder_hash": encoder_hash},
    )
