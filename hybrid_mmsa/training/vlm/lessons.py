"""Posts with pictures, and captioned photos → rows of tokens to learn from: labels as the reasoner asks, and captions.

Knows no loss and no optimiser. A blank picture stands in each row; what the tower sees is put in its place later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...data import Photo
from ...reasoning.backends.transformers.loading import Vlm
from ...reasoning.prompt.question import Prompt
from ...types import Sample
from ..lora.examples import IGNORED, Examples
from ..lora.turns import Turn

__all__ = ["ASKED", "Captions", "Lesson", "Posts", "labelled_pictures"]

ASKED = "Describe the picture in one sentence."
"""What a caption answers."""
MOST_CAPTION = 32
"""Tokens of a caption that are learnt."""
_BLANK = Image.new("RGB", (16, 16))


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Rows that are read together.

    Attributes:
        pictures: Number of each row's picture.
        inputs: `input_ids` and `attention_mask`, int64 `[n, length]`.
        labels: The token to be written at each place, or `IGNORED`.
        start: Where every answer begins.
    """

    pictures: list[int]
    inputs: dict[str, Tensor]
    labels: Tensor
    start: int


def labelled_pictures(posts: Sequence[Sample]) -> list[Sample]:
    """What posts with a picture teach: their labels, and what the pictures say alone where that is known."""
    found = []
    for post in posts:
        if post.image is None:
            continue
        if post.label is not None:
            found.append(post)
        if post.text and post.image_label is not None:
            found.append(replace(post, text=None, target=None, label=post.image_label))
    return found


class Posts:
    """Labelled posts with pictures, asked about with the product's own prompt.

    Args:
        vlm: The model.
        prompt: What to ask with.
        samples: From `labelled_pictures`.
        pictures: Number of each one's picture.
    """

    def __init__(self, vlm: Vlm, prompt: Prompt, samples: Sequence[Sample], pictures: Sequence[int]) -> None:
        self.samples = list(samples)
        self.pictures = list(pictures)
        blank = [replace(sample, image=_BLANK) for sample in samples]
        self._examples = Examples(vlm, prompt, blank)
        self._unseen = Examples(vlm, prompt, [replace(each, image=None if each.text else _BLANK) for each in samples])

    def lesson(self, turns: Sequence[Turn]) -> Lesson:
        """The label of some posts of one kind; what the answer begins with is known already."""
        batch = self._examples.batch(turns)
        labels = torch.full_like(batch.labels, IGNORED)
        labels[:, batch.column] = batch.labels[:, batch.column]
        return Lesson([self.pictures[turn.row] for turn in turns], _read(batch.inputs), labels, batch.column)

    def question(self, rows: Sequence[int], *, seen: bool = True) -> tuple[dict[str, Tensor], list[int]]:
        """What is asked about posts of one kind, and the tokens of the label words.

        Args:
            rows: Their numbers.
            seen: With their pictures, or as posts that have words alone.
        """
        inputs, words = (self._examples if seen else self._unseen).question(rows)
        return _read(inputs), words

    def kinds(self, size: int) -> Iterator[list[int]]:
        """The numbers of all posts, some at a time, that may be asked about together."""
        kinds: dict[tuple[bool, bool], list[int]] = {}
        for row, sample in enumerate(self.samples):
            kinds.setdefault((bool(sample.text), bool(sample.target)), []).append(row)
        for rows in kinds.values():
            rows.sort(key=lambda row: len(self.samples[row].text or ""))
            yield from (rows[start : start + size] for start in range(0, len(rows), size))


class Captions:
    """Captioned photos.

    Args:
        vlm: The model.
        photos: Photos.
        pictures: Number of each one's picture.
    """

    def __init__(self, vlm: Vlm, photos: Sequence[Photo], pictures: Sequence[int]) -> None:
        self._vlm = vlm
        self.photos = photos
        self._pictures = list(pictures)

    def lesson(self, rows: Sequence[tuple[int, int]]) -> Lesson:
        """A caption of each of some photos: the photo's number, and one that chooses among its captions."""
        vlm, tokenizer = self._vlm, self._vlm.tokenizer
        captions = [self.photos[row].captions[number % len(self.photos[row].captions)] for row, number in rows]
        chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ASKED}]}]
        told = vlm.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        added = not (tokenizer.bos_token and told.startswith(tokenizer.bos_token))
        asked = vlm.processor(text=[told], images=[[_BLANK]], add_special_tokens=added, return_tensors="pt")
        written = [[*vlm.encode(caption)[:MOST_CAPTION], tokenizer.eos_token_id] for caption in captions]
        start, width = asked["input_ids"].shape[1], max(map(len, written))
        ids = torch.cat([asked["input_ids"].repeat(len(rows), 1), torch.zeros(len(rows), width, dtype=torch.int64)], 1)
        ids[:, start:] = tokenizer.pad_token_id
        mask, labels = torch.ones_like(ids), torch.full_like(ids, IGNORED)
        mask[:, start:] = 0
        for row, tokens in enumerate(written):
            there = slice(start, start + len(tokens))
            ids[row, there] = labels[row, there] = torch.tensor(tokens)
            mask[row, there] = 1
        return Lesson(
            [self._pictures[row] for row, _ in rows], {"input_ids": ids, "attention_mask": mask}, labels, start
        )


def _read(inputs: dict[str, Any]) -> dict[str, Tensor]:
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}
