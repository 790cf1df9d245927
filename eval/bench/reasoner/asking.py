"""Asks a reasoner about raw posts, with the patience that a crowded machine needs. Judges nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import Reasoner
from hybrid_mmsa.reasoning.backends.llama_cpp import LlamaCppReasoner
from hybrid_mmsa.reasoning.backends.transformers import TransformersReasoner
from hybrid_mmsa.types import Sample, Verdict

__all__ = ["AT_A_TIME", "asked", "patient"]

AnyReasoner = TypeVar("AnyReasoner", bound=Reasoner)
AT_A_TIME = 32
PATIENCE = 900
"""Seconds a batch may take here: a crowded machine is no reason to lose a run."""


def patient(reasoner: AnyReasoner) -> AnyReasoner:
    """The reasoner, given time where it runs in this process."""
    if isinstance(reasoner, LlamaCppReasoner | TransformersReasoner):
        reasoner.config = reasoner.config.model_copy(update={"timeout": PATIENCE})
    return reasoner


def asked(
    reasoner: Reasoner,
    samples: Sequence[Sample],
    *,
    rationale: bool,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """A verdict on each post, alike ones together; pictures of `AT_A_TIME` are in memory at a time."""
    order = sorted(range(len(samples)), key=lambda row: (samples[row].target is None, len(samples[row].text or "")))
    found: dict[int, Verdict] = {}
    for start in range(0, len(order), AT_A_TIME):
        some = order[start : start + AT_A_TIME]
        posts = [read_sample(samples[row]) for row in some]
        found.update(zip(some, reasoner.reason(posts, rationale=rationale), strict=True))
        advance(len(some))
    return [found[row] for row in range(len(samples))]
