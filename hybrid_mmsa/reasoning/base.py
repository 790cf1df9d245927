"""What every reasoner offers: deferred posts in, verdicts out. Knows nothing of the fast tier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..types import LoraRef, Sample, Verdict

__all__ = ["Reasoner"]


class Reasoner(Protocol):
    """Answers the posts the fast tier was unsure of.

    Attributes:
        id: Names the model in `RouteDecision.answered_by` and in provenance.
    """

    id: str

    def reason(self, samples: Sequence[Sample], lora: LoraRef | None = None) -> list[Verdict]:
        """One verdict per post, in order.

        Raises:
            ReasonerError: The model could not answer (time-out, memory, lost server); the fast answers then stand.
        """
        ...
