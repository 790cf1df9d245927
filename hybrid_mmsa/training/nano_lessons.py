"""Posts and wanted answers → tokens, and what each token of an answer teaches. Knows no model and no corpora.

A post is asked about with the product's own prompt, rendered by the model's own processor, so that what is learnt is
what will be asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..inputs import read_sample
from ..reasoning.question import Prompt
from ..types import IntArray, Sample
from .nano_pieces import END, IMAGE, SPECIAL
from .tuning_targets import Target

__all__ = ["FACTS", "KINDS", "Lessons", "write_lessons"]

KINDS: Mapping[str, int] = MappingProxyType(
    {"nothing": 0, "label": 1, "text_says": 2, "picture_says": 3, "sarcastic": 4, "rest": 5}
)
"""What a token teaches; the posts' words and what is not known of them teach nothing."""
FACTS = ("text_says", "picture_says", "sarcastic")
_VALUES = {
    "label": re.compile(r'"label": "(\w+)"'),
    "text_says": re.compile(r'"text_says": "(\w+)"'),
    "picture_says": re.compile(r'"picture_says": "(\w+)"'),
    "sarcastic": re.compile(r'"sarcastic": (\w+)'),
}
_PLACEHOLDER = Image.new("RGB", (1, 1))
CHUNK = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Posts with their answers, one row each, padded on the right.

    Attributes:
        ids: int16 `[n, width]`, question and answer.
        kinds: int8, the same shape: what the token at this place teaches, see `KINDS`.
        lengths: int64 `[n]`.
        kept: int64 `[n]`: which of the posts it is; those that are too long are left out.
    """

    ids: NDArray[np.int16]
    kinds: NDArray[np.int8]
    lengths: IntArray
    kept: IntArray

    def __len__(self) -> int:
        return len(self.lengths)


def write_lessons(
    processor: Any, prompt: Prompt, samples: Sequence[Sample], targets: Sequence[Target], *, patches: int, longest: int
) -> Lessons:
    """Tokens of what is asked about each post, and of the answer wanted.

    Args:
        processor: As `make_processor` made it.
        prompt: What to ask with; its partner asks the posts of the other kind.
        samples: Raw posts; pictures are not read.
        targets: The answer wanted for each.
        patches: Tokens that a picture takes.
        longest: Most tokens of question and answer.
    """
    rows: list[tuple[int, list[int], NDArray[np.int8]]] = []
    for start in range(0, len(samples), CHUNK):
        part = slice(start, start + CHUNK)
        questions = _questions(processor, prompt, samples[part], patches)
        answers = _answers(processor.tokenizer, targets[part])
        for place, (asked, (said, kinds)) in enumerate(zip(questions, answers, strict=True)):
            if len(asked) + len(said) <= longest:
                rows.append((start + place, asked + said, np.concatenate([np.zeros(len(asked), np.int8), kinds])))
    width = max((len(ids) for _, ids, _ in rows), default=0)
    lessons = Lessons(
        np.zeros((len(rows), width), np.int16),
        np.zeros((len(rows), width), np.int8),
        np.array([len(ids) for _, ids, _ in rows], np.int64),
        np.array([row for row, _, _ in rows], np.int64),
    )
    for place, (_, ids, kinds) in enumerate(rows):
        lessons.ids[place, : len(ids)] = ids
        lessons.kinds[place, : len(ids)] = kinds
    return lessons


def _questions(processor: Any, prompt: Prompt, samples: Sequence[Sample], patches: int) -> list[list[int]]:
    chats = []
    for sample in samples:
        # The picture's place is what matters here; opening every picture is not needed for that.
        read = read_sample(replace(sample, image=None if sample.image is None else _PLACEHOLDER))
        chats.append(prompt.for_sample(read).messages(read))
    texts = processor.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    shown = [text.replace(SPECIAL[IMAGE], SPECIAL[IMAGE] * patches) for text in texts]
    ids: list[list[int]] = processor.tokenizer(shown, add_special_tokens=False)["input_ids"]
    return ids


def _answers(tokenizer: Any, targets: Sequence[Target]) -> list[tuple[list[int], NDArray[np.int8]]]:
    """Tokens of each answer up to the last one that is taught, and what each teaches."""
    read = tokenizer([t.answer for t in targets], add_special_tokens=False, return_offsets_mapping=True)
    found = []
    for target, ids, places in zip(targets, read["input_ids"], read["offset_mapping"], strict=True):
        by_character = _kinds(target)
        kinds = [int(by_character[start:end].min(initial=KINDS["rest"])) for start, end in places]
        if target.closes:
            ids, kinds = [*ids, END], [*kinds, KINDS["rest"]]
        kept = max((place + 1 for place, kind in enumerate(kinds) if kind), default=0)
        found.append((ids[:kept], np.array(kinds[:kept], np.int8)))
    return found


def _kinds(target: Target) -> NDArray[np.int8]:
    """What each character of an answer teaches."""
    kinds = np.zeros(len(target.answer), np.int8)
    for start, end in target.taught:
        kinds[start:end] = KINDS["rest"]
    for name, pattern in _VALUES.items():
        value = pattern.search(target.answer)
        if value is not None and kinds[slice(*value.span(1))].all():
            kinds[slice(*value.span(1))] = KINDS[name]
    return kinds
