"""One wording of the question as a value: fills in a post as quoted matter, in chat messages. Knows no model.

A post with a target is asked with a prompt whose `post` holds `{target}`, any other post with one that does not. Where
a prompt is of the other kind, its partner takes its place, so one configuration answers both.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...inputs import reword
from ...types import LABELS, Label, Sample
from .escape import escape

__all__ = ["Example", "Prompt"]

_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled post that a prompt shows.

    Attributes:
        sample: The post, read.
        answer: The answer wanted for it, see `write_answer`.
        picture: SHA-256 (hex) of its picture's file, empty without one.
    """

    sample: Sample
    answer: str
    picture: str = ""


@dataclass(frozen=True)
class Prompt:
    """One wording of the question.

    Attributes:
        name, version: Who it is; a released wording is never edited.
        instruction: The fixed opening, the same for every post, so that servers compute it once (prefix caching).
        post: The post's place, with `{text}` and perhaps `{target}`; its words come last.
        no_text, no_picture: What stands where a side is missing.
        labels: The word for each label in the answer.
        examples: Labelled posts, shown between instruction and post.
        partner: Asks the posts that this one is not for: those with a target, or those without.
        reworded: Whether a post's words are rewritten as the fast tier reads them (`inputs.reword`), for models that
            were trained so.
        brief: The model gives labels and whether the post is meant as it stands, and writes no words of its own; what
            decides is found by hiding words (`hiding`). For models too small to write.
    """

    name: str
    version: int
    instruction: str
    post: str
    no_text: str
    no_picture: str
    labels: Mapping[Label, str]
    examples: tuple[Example, ...] = ()
    partner: Prompt | None = None
    reworded: bool = False
    brief: bool = False

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over all that a model is shown; the partner has its own."""
        shown: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "instruction": self.instruction,
            "post": [self.post, self.no_text, self.no_picture],
            "labels": [self.labels[label] for label in LABELS],
            "examples": [[e.sample.text, e.sample.target, e.picture, e.answer] for e in self.examples],
        }
        shown.update({name: True for name in ("reworded", "brief") if getattr(self, name)})
        return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()

    @property
    def id(self) -> str:
        """Name, version and hash, such as `sentiment/1@ab12cd34ef56`; it stands in `Verdict.prompt`."""
        return f"{self.name}/{self.version}@{self.hash[:12]}"

    @property
    def asks_for_target(self) -> bool:
        """Whether it asks for the sentiment towards a target."""
        return "{target}" in self.post

    @property
    def shows_pictures(self) -> bool:
        """Whether its examples have pictures, which are files beside it."""
        return any(example.picture for example in self.examples)

    def for_sample(self, sample: Sample) -> Prompt:
        """The prompt to ask this post with: this one, or its partner."""
        if self.partner is None or bool(sample.target) == self.asks_for_target:
            return self
        return self.partner

    def messages(self, sample: Sample, *, image_size: int | None = None, pictures: bool = True) -> list[dict[str, Any]]:
        """Chat messages: the fixed instruction, the examples, then picture and words of the post.

        The instruction is a message of its own (`system`), since several chat templates put a message's pictures before
        its words. Contents are lists of parts, `{"type": "text", "text": ...}` and `{"type": "image", "image": PIL}`.

        Args:
            sample: A read post that this prompt is for (`for_sample`).
            image_size: Longest side in pixels; larger pictures are shrunk to it.
            pictures: Whether the model reads pictures. Without, none is shown, and nothing is said of a missing one.
        """
        messages = [{"role": "system", "content": [_text(self._filled(self.instruction))]}]
        for example in self.examples:
            messages.append({"role": "user", "content": self._parts(example.sample, image_size, pictures)})
            messages.append({"role": "assistant", "content": [_text(example.answer)]})
        messages.append({"role": "user", "content": self._parts(sample, image_size, pictures)})
        return messages

    def rewritten(self, words: str) -> str:
        """A post's words as this prompt shows them, before they are escaped."""
        return reword(words) if self.reworded else words

    def _parts(self, sample: Sample, image_size: int | None, pictures: bool) -> list[dict[str, Any]]:
        template = self.post if sample.text else self.no_text
        words = self._filled(
            template, text=self.rewritten(sample.text or ""), target=self.rewritten(sample.target or "")
        )
        if sample.image is None or not pictures:
            missing = self.no_picture if pictures else ""
            return [_text(f"{missing}\n{words}" if missing else words)]
        image: Any = sample.image
        if image_size is not None and max(image.size) > image_size:
            image = image.copy()
            image.thumbnail((image_size, image_size))
        return [{"type": "image", "image": image}, _text(words)]

    def _filled(self, template: str, **quoted: str) -> str:
        """The template with its fields filled in one pass, so that a post that holds a field's name fills nothing."""
        values: dict[str, str] = {label: self.labels[label] for label in LABELS}
        values.update({field: escape(value) for field, value in quoted.items()})
        return _FIELD.sub(lambda match: values.get(match[1], match[0]), template).strip()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
