"""Turns → what the model reads and which of its tokens are learnt: the answer's, and no other. Knows no trainer.

Posts are asked about with the reasoner's own code; the wanted answer stands where the model will write its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ...errors import ArtefactError, InputError
from ...inputs import read_sample
from ...reasoning.backends.transformers.asking import ask
from ...reasoning.backends.transformers.loading import Vlm
from ...reasoning.prompt.labels import LabelTokens, label_tokens
from ...reasoning.prompt.question import Prompt
from ...types import LABELS, Sample, Verdict
from ..answers.targets import Target, label_target, reasoned_target
from .turns import Turn

__all__ = ["IGNORED", "Batch", "Examples", "is_taught"]

IGNORED = -100
"""The label of tokens that are not learnt, as PyTorch and transformers have it."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A micro-batch.

    Attributes:
        inputs: What the model reads.
        labels: int64, the shape of `input_ids`: the token to be written there, or `IGNORED`.
        column: Where every answer's label is decided.
        start: Where every answer begins.
        targets: The wanted answers.
    """

    inputs: dict[str, Any]
    labels: torch.Tensor
    column: int
    start: int
    targets: tuple[Target, ...]


class Examples:
    """Batches to learn from, and questions to be measured by.

    Args:
        vlm: The model.
        prompt: What to ask with; posts of another kind are asked by its partner.
        samples: Raw posts with labels; pictures are read when their turn comes, if the model reads any.
        teacher: A teacher's verdicts by post id.
        image_size: As the reasoner will shrink pictures.

    Raises:
        ArtefactError: The tokenizer gives two label words the same first token, or the chat template leaves out the
            instruction.
    """

    def __init__(
        self,
        vlm: Vlm,
        prompt: Prompt,
        samples: Sequence[Sample],
        *,
        teacher: Mapping[str, Verdict] | None = None,
        image_size: int | None = None,
    ) -> None:
        self.vlm = vlm
        self._prompt = prompt
        self._samples = samples if vlm.sees else [replace(sample, image=None) for sample in samples]
        self._teacher = teacher or {}
        self._image_size = image_size
        self._labels: dict[str, LabelTokens] = {}
        for each in (prompt, prompt.partner):
            if each is not None:
                self._labels[each.hash] = label_tokens(vlm.encode, each.labels)

    def target(self, turn: Turn) -> Target:
        """The answer wanted in a turn."""
        sample = self._samples[turn.row]
        prompt = self._prompt.for_sample(sample)
        if not turn.reasons:
            return label_target(sample, prompt)
        verdict = self._teacher.get(sample.id) if sample.id is not None else None
        return reasoned_target(sample, prompt, verdict=verdict, variant=turn.variant)

    def batch(self, turns: Sequence[Turn]) -> Batch:
        """What the model reads and learns in some turns of one kind.

        Raises:
            ArtefactError: The model's tokenizer does not begin the answer as the reasoner does.
            InputError: A picture can no longer be read.
        """
        samples = [read_sample(self._samples[turn.row]) for turn in turns]
        prompt = self._prompt.for_sample(samples[0])
        targets = [self.target(turn) for turn in turns]
        written = [self._tokens(target, self._labels[prompt.hash]) for target in targets]
        inputs = self._inputs(prompt, samples, [ids for ids, _ in written])
        start = inputs["input_ids"].shape[1] - max(len(ids) for ids, _ in written)
        labels = torch.full_like(inputs["input_ids"], IGNORED)
        for row, (ids, taught) in enumerate(written):
            for place, (token, learnt) in enumerate(zip(ids, taught, strict=True)):
                if learnt:
                    labels[row, start + place] = token
        return Batch(inputs, labels, start + len(self._labels[prompt.hash].prefix), start, tuple(targets))

    def question(self, rows: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
        """What the reasoner asks about posts of one kind, up to the label; and the label words' tokens, by `LABELS`."""
        samples = [read_sample(self._samples[row]) for row in rows]
        prompt = self._prompt.for_sample(samples[0])
        tokens = self._labels[prompt.hash]
        inputs = self._inputs(prompt, samples, [tokens.prefix] * len(samples))
        return inputs, [tokens.ids[label] for label in LABELS]

    def _inputs(self, prompt: Prompt, samples: Sequence[Sample], answers: Sequence[Sequence[int]]) -> dict[str, Any]:
        try:
            inputs = ask(self.vlm, prompt, samples, answers, image_size=self._image_size)
        except (TypeError, ValueError) as error:
            raise InputError(f"the model's processor cannot read a post: {error}", field="posts") from error
        length = inputs["input_ids"].shape[1]
        if length > self.vlm.context:
            raise InputError(
                f"{length} tokens of prompt, post and answer; the model reads {self.vlm.context}: shorten the posts "
                "or set a smaller image_size",
                field="posts",
            )
        return inputs

    def _tokens(self, target: Target, labels: LabelTokens) -> tuple[list[int], list[bool]]:
        """The answer's tokens up to the last one that is learnt, and which of them are."""
        tokenizer = self.vlm.tokenizer
        encoded = tokenizer(target.answer, add_special_tokens=False, return_offsets_mapping=True)
        ids: list[int] = list(encoded["input_ids"])
        begins = [*labels.prefix, labels.ids[target.label]]
        if ids[: len(begins)] != begins:
            raise ArtefactError(
                f"this model's tokenizer begins the answer {target.answer[:24]!r} with {ids[: len(begins)]}, and the "
                f"reasoner with {begins}: what is learnt would not be what is asked"
            )
        taught = [is_taught(target, start, end) for start, end in encoded["offset_mapping"]]
        if target.closes:
            ids, taught = [*ids, tokenizer.eos_token_id], [*taught, True]
        kept = max((place for place, learnt in enumerate(taught) if learnt), default=len(begins) - 1) + 1
        return ids[:kept], taught[:kept]


def is_taught(target: Target, start: int, end: int) -> bool:
    """Whether a token stands within what is taught; white space at its ends is nobody's."""
    places = [place for place in range(start, end) if not target.answer[place].isspace()] or [start]
    return any(first <= places[0] and places[-1] < last for first, last in target.taught)
