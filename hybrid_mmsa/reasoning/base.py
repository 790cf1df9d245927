"""What every reasoner offers: deferred posts in, verdicts out. Knows nothing of the fast tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ..errors import InputError, PostError, ReasonerError
from ..foreign import translated
from ..types import LoraRef, Modality, Sample, Verdict

__all__ = ["Reasoner", "check_reasoner", "unseen_by", "without_pictures", "words_of"]

PICTURE: tuple[Modality, ...] = ("image",)


class Reasoner(Protocol):
    """Answers the posts the fast tier was unsure of.

    Attributes:
        id: Names the model in `RouteDecision.answered_by`; any name but `fast`. A reasoner whose weights are known may
            also have a `revision`, by which a LoRA adapter made for those very weights is recognised. One that is not
            shown the pictures of posts says so by `reads_pictures = False`, and answers carry a warning.
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
            PostError: One of the posts is at fault; the others are asked about by themselves.
        """
        ...


def check_reasoner(reasoner: Reasoner) -> None:
    """Raise `InputError` unless an object can serve as a reasoner: it has `reason`, and an id that is not `fast`."""
    kind = type(reasoner).__name__
    with translated(lambda cause: InputError(f"a {kind} is not a reasoner ({cause})", field="reasoner")):
        if not callable(getattr(reasoner, "reason", None)):
            raise InputError(f"a {kind} is not a reasoner: it has no `reason`", field="reasoner")
        if not isinstance(reasoner.id, str) or reasoner.id in ("", "fast"):
            raise InputError(f"a reasoner needs an `id` other than 'fast'; this {kind} has none", field="reasoner")


def unseen_by(reasoner: Reasoner | None) -> tuple[Modality, ...]:
    """The sides of a post that a reasoner says it is not shown."""
    try:
        with translated(ReasonerError):
            return PICTURE if getattr(reasoner, "reads_pictures", True) is False else ()
    except ReasonerError:
        return ()


def words_of(sample: Sample, reasoner: str) -> Sample:
    """The post without its picture, for a reasoner that reads words alone.

    Raises:
        PostError: Nothing is left.
    """
    if not sample.text:
        raise PostError(f"{reasoner} reads no pictures, and the post has no words")
    return replace(sample, image=None)


def without_pictures(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Verdicts of a reasoner that reads words alone, saying of which posts it was not shown the picture."""
    return [
        verdict if sample.image is None else verdict.model_copy(update={"unseen": PICTURE})
        for sample, verdict in zip(samples, verdicts, strict=True)
    ]
