"""Asks a reasoner about the deferred posts of a batch; what it cannot answer is said, never invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ..errors import ReasonerError
from ..types import LoraRef, RouteDecision, Sample, Verdict
from .base import Reasoner

__all__ = ["ask_about_deferred"]

ByRow: TypeAlias = tuple[Mapping[int, Verdict], Mapping[int, tuple[str, ...]]]


def ask_about_deferred(
    reasoner: Reasoner | None,
    samples: Sequence[Sample],
    routes: Sequence[RouteDecision],
    lora: LoraRef | None = None,
    *,
    rationale: bool = False,
) -> ByRow:
    """Verdicts by row, and warnings by row where the reasoner could not answer.

    Args:
        reasoner: `None` answers nothing.
        samples: The whole batch.
        routes: One decision per sample. The deferred posts are asked about together.
        lora: The LoRA adapter to answer with.
        rationale: Also let the model write, see `Reasoner.reason`.
    """
    deferred = [i for i, route in enumerate(routes) if route.decision == "defer"]
    if reasoner is None or not deferred:
        return {}, {}
    try:
        verdicts = reasoner.reason([samples[i] for i in deferred], lora, rationale=rationale)
    except ReasonerError as error:
        return {}, {i: (f"the reasoner could not answer, the fast answer stands: {error}",) for i in deferred}
    return dict(zip(deferred, verdicts, strict=True)), {}
