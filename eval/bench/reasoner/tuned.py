"""A reasoner that always answers with one LoRA adapter, to be measured as any other. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid_mmsa.reasoning import Reasoner
from hybrid_mmsa.types import LoraRef, Sample, Verdict

__all__ = ["Tuned"]


class Tuned:
    """A reasoner and the adapter it answers with.

    Args:
        reasoner: The untuned model.
        lora: What it was tuned to.

    Attributes:
        id: The untuned model's.
    """

    def __init__(self, reasoner: Reasoner, lora: LoraRef) -> None:
        self.id = reasoner.id
        self.reasoner, self.lora = reasoner, lora

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """Verdicts with the adapter; another may not be asked for."""
        if lora is not None and lora != self.lora:
            raise ValueError(f"answers with {self.lora.name} alone, not with {lora.name}")
        return self.reasoner.reason(samples, self.lora, rationale=rationale)
