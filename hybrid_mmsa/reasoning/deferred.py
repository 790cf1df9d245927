"""Asks a reasoner about the deferred posts of a batch; what it cannot answer is said, never invented."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ..errors import ReasonerError
from ..types import LoraRef, RouteDecision, Sample, Verdict
from .base import Reasoner
from .models.lora_base import misfit

__all__ = ["ask_about_deferred"]

MOST_FAILURES = 2
ByRow: TypeAlias = tuple[Mapping[int, Verdict], Mapping[int, tuple[str, ...]]]


def ask_about_deferred(
    reasoner: Reasoner | None,
    samples: Sequence[Sample],
    routes: Sequence[RouteDecision],
    lora: LoraRef | None = None,
    *,
    rationale: bool = False,
) -> ByRow:
    """Verdicts by row, and warnings by row where the reasoner could not answer, or answered without the adapter.

    Args:
        reasoner: `None` answers nothing.
        samples: The whole batch.
        routes: One decision per sample. The deferred posts are asked about together.
        lora: The LoRA adapter to answer with; one made for a `nano` is left out where another model is asked.
        rationale: Also let the model write, see `Reasoner.reason`.
    """
    deferred = [i for i, route in enumerate(routes) if route.decision == "defer"]
    if reasoner is None or not deferred:
        return {}, {}
    if lora is not None and (against := misfit(lora, reasoner)) is not None:
        verdicts, warnings = ask_about_deferred(reasoner, samples, routes, rationale=rationale)
        # Recorded verdicts may have been given with the adapter.
        without = {i: (against,) for i, verdict in verdicts.items() if verdict.adapter != lora.name}
        return verdicts, {**warnings, **without}
    verdicts, failed = _asked(reasoner, samples, deferred, lora, rationale)
    if failed is not None and len(deferred) > 1:  # perhaps one post's fault: the others shall have their verdicts
        return _one_by_one(reasoner, samples, deferred, lora, rationale)
    return verdicts, {i: _warning(failed) for i in deferred if failed is not None}


def _asked(
    reasoner: Reasoner, samples: Sequence[Sample], rows: Sequence[int], lora: LoraRef | None, rationale: bool
) -> tuple[dict[int, Verdict], ReasonerError | None]:
    try:
        verdicts = reasoner.reason([samples[i] for i in rows], lora, rationale=rationale)
    except ReasonerError as error:
        return {}, error
    return dict(zip(rows, verdicts, strict=True)), None


def _one_by_one(
    reasoner: Reasoner, samples: Sequence[Sample], rows: Sequence[int], lora: LoraRef | None, rationale: bool
) -> ByRow:
    """Each post by itself, until `MOST_FAILURES` fail in a row: then it is the reasoner, and the rest is not asked."""
    verdicts: dict[int, Verdict] = {}
    warnings: dict[int, tuple[str, ...]] = {}
    failures, failed = 0, None
    for row in rows:
        if failures < MOST_FAILURES:
            said, failed_now = _asked(reasoner, samples, [row], lora, rationale)
            failed, failures = (failed_now, failures + 1) if failed_now is not None else (failed, 0)
            verdicts.update(said)
        if row not in verdicts:
            warnings[row] = _warning(failed)
    return verdicts, warnings


def _warning(error: ReasonerError | None) -> tuple[str, ...]:
    return (f"the reasoner could not answer, the fast answer stands: {error}",)
