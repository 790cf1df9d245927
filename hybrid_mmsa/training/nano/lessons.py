"""Posts and wanted answers → tokens, and what each token of an answer teaches. Knows no model and no corpora.

A post is asked about with the product's own prompt, rendered by the model's own processor, so that what is learnt is
what will be asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file

from ...inputs import read_sample
from ...reasoning.prompt.answer import NOTHING
from ...reasoning.prompt.question import Prompt
from ...types import LABELS, FloatArray, IntArray, Sample
from ..answers.targets import Target
from .pieces import END, IMAGE, SPECIAL

__all__ = [
    "FACTS",
    "JUDGED",
    "KINDS",
    "RATIONALE",
    "Lessons",
    "answer_tokens",
    "asked_and_said",
    "end_to_end",
    "write_lessons",
]

KINDS: Mapping[str, int] = MappingProxyType(
    {"given": -1, "nothing": 0, "label": 1, "text_says": 2, "picture_says": 3, "sarcastic": 4, "claim": 5, "rest": 6}
)
"""What a token teaches: a field's value, a label said in the rationale, or how to write. What is asked, and what is not
known of a post, teach nothing; nor does what is given of an answer, which is always there to read."""
JUDGED = ("label", "text_says", "picture_says")
"""The kinds that have a label for a value, in the order of `Lessons.opinions`."""
FACTS = ("text_says", "picture_says", "sarcastic")
_VALUES = {
    "label": re.compile(r'"label": "(\w+)"'),
    "text_says": re.compile(r'"text_says": "(\w+)"'),
    "picture_says": re.compile(r'"picture_says": "(\w+)"'),
    "sarcastic": re.compile(r'"sarcastic": (\w+)'),
}
RATIONALE = '"rationale": "'
"""What stands before a rationale in an answer."""
_CLAIM = re.compile(rf"\b({'|'.join(LABELS)})\b")
_PLACEHOLDER = Image.new("RGB", (1, 1))
CHUNK = 2000
Ids = NDArray[np.int16]
Kinds = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """Posts with their answers, laid end to end.

    Attributes:
        ids: int16 `[tokens]`, question and answer of each.
        kinds: int8 `[tokens]`: what each token teaches, see `KINDS`.
        lengths: int64 `[n]`, tokens of each.
        pictures: int64 `[n]`: number of the picture it shows, -1 without one.
        weights: float32 `[n]`: how often it is drawn per epoch.
        corpora: int64 `[n]`: number of the corpus it is from.
        opinions: float16 `[n, 3, 3]`: what the fast tier says of label, text and picture; zero where it says nothing.
    """

    ids: Ids
    kinds: Kinds
    lengths: IntArray
    pictures: IntArray
    weights: FloatArray
    corpora: IntArray
    opinions: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: IntArray) -> Lessons:
        """The lessons of some rows, in the order given."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        places = [np.arange(starts[row], starts[row + 1]) for row in rows]
        tokens = np.concatenate([np.empty(0, np.int64), *places])
        return Lessons(
            ids=self.ids[tokens],
            kinds=self.kinds[tokens],
            lengths=self.lengths[rows],
            pictures=self.pictures[rows],
            weights=self.weights[rows],
            corpora=self.corpora[rows],
            opinions=self.opinions[rows],
        )

    def telling(self) -> Lessons:
        """Those that teach a rationale with a label in it, or whether a post is sarcastic."""
        return self.take(self.teaching("claim", "sarcastic"))

    def teaching(self, *kinds: str) -> IntArray:
        """Which lessons teach one of some kinds, int64 `[m]`."""
        whose = np.repeat(np.arange(len(self)), self.lengths)
        return np.unique(whose[np.isin(self.kinds, [KINDS[kind] for kind in kinds])])

    @classmethod
    def concatenate(cls, parts: Sequence[Lessons]) -> Lessons:
        """All lessons of some parts, whose pictures and corpora are numbered alike."""
        return cls(**{each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)})

    def showing(self, pictures: IntArray) -> Lessons:
        """The same lessons with their pictures numbered anew."""
        return replace(self, pictures=pictures)

    def padded(self) -> tuple[Ids, Kinds]:
        """Ids and kinds `[n, longest]`, zero behind each row's end."""
        there = np.arange(self.lengths.max(initial=0)) < self.lengths[:, None]
        ids, kinds = np.zeros(there.shape, np.int16), np.zeros(there.shape, np.int8)
        ids[there], kinds[there] = self.ids, self.kinds
        return ids, kinds

    def save(self, path: Path) -> None:
        """Write them as safetensors."""
        save_file({each.name: getattr(self, each.name) for each in fields(self)}, path)

    @classmethod
    def load(cls, path: Path) -> Lessons:
        """Read what `save` wrote."""
        return cls(**load_file(path))


def write_lessons(
    processor: Any, prompt: Prompt, posts: Sequence[tuple[Sample, Target]], *, patches: int, longest: int
) -> tuple[list[tuple[Ids, Kinds]], list[int]]:
    """Ids and kinds of each post that is short enough, and which of the posts those are.

    Args:
        processor: As `make_processor` made it.
        prompt: What to ask with; its partner asks the posts of the other kind.
        posts: Raw posts, whose pictures are not read, and the answer wanted for each.
        patches: Tokens that a picture takes.
        longest: Most tokens of question and answer.
    """
    rows: list[tuple[Ids, Kinds]] = []
    kept: list[int] = []
    for start in range(0, len(posts), CHUNK):
        part = posts[start : start + CHUNK]
        questions = _questions(processor, prompt, [sample for sample, _ in part], patches)
        answers = answer_tokens(processor.tokenizer, [target for _, target in part])
        for place, (asked, (said, kinds)) in enumerate(zip(questions, answers, strict=True)):
            if len(asked) + len(said) <= longest:
                rows.append(asked_and_said(asked, said, kinds))
                kept.append(start + place)
    return rows, kept


def asked_and_said(asked: list[int], said: list[int], kinds: Kinds) -> tuple[Ids, Kinds]:
    """Ids and kinds of a lesson, from the ids asked, those of the answer, and what each of the latter teaches."""
    return np.array(asked + said, np.int16), np.concatenate([np.zeros(len(asked), np.int8), kinds])


def end_to_end(written: Sequence[tuple[Ids, Kinds]]) -> tuple[Ids, Kinds, IntArray]:
    """Ids, kinds and lengths as `Lessons` has them, from ids and kinds of each."""
    ids = np.concatenate([np.empty(0, np.int16), *(ids for ids, _ in written)])
    kinds = np.concatenate([np.empty(0, np.int8), *(kinds for _, kinds in written)])
    return ids, kinds, np.array([len(ids) for ids, _ in written], np.int64)


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


def answer_tokens(tokenizer: Any, targets: Sequence[Target]) -> list[tuple[list[int], Kinds]]:
    """Tokens of each answer up to the last one that is taught, and what each teaches: kinds int8 as in `Lessons`."""
    if not targets:
        return []  # a tokenizer cannot read none
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


def _kinds(target: Target) -> Kinds:
    """What each character of an answer teaches."""
    kinds = np.zeros(len(target.answer), np.int8)
    for start, end in target.taught:
        kinds[start:end] = KINDS["rest"]
    for name, pattern in _VALUES.items():
        value = pattern.search(target.answer)
        # That a side is not there is plain to see and no fact to weigh.
        if value is not None and value[1] != NOTHING and kinds[slice(*value.span(1))].all():
            kinds[slice(*value.span(1))] = KINDS[name]
    for claim in _CLAIM.finditer(target.answer, target.answer.rfind(RATIONALE)):
        if kinds[slice(*claim.span())].all():
            kinds[slice(*claim.span())] = KINDS["claim"]
    return kinds
