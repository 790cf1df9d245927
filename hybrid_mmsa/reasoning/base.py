"""What every reasoner offers: deferred posts in, verdicts out. Knows nothing of the fast tier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..types import LoraRef, Sample, Verdict

__all__ = ["Reasoner"]


class Reasoner(Protocol):
    """Answers the posts the fast tier was unsure of.

    Attributes:
        id: Names the model in `RouteDecision.answered_by` and in provenance. One whose weights are known may also have
            a `revision`: a LoRA made for nano goes by that, see `lora_base`.
    """

    id: str

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """One verdict per post, in order.

        Args:
            samples: Posts as `inputs.read_sample` returns them: words normalised, the picture decoded.
            lora: The LoRA adapter to answer with; it holds for this call only.
            rationale: Also let the model write: what each side says, sarcasm, cues and a rationale. Without it a
                verdict has label probabilities alone, from one prefill.

        Raises:
            ReasonerError: The model could not answer (time-out, memory, lost server); the fast answers then stand.
        """
        ...
