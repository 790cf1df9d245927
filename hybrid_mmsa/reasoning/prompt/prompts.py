"""Reads versioned prompt templates (TOML), examples and their pictures with them. Knows no model."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ...bundled import bundled_path
from ...errors import InputError
from ...inputs import read_sample
from ...types import LABELS, Label, LoraRef, Sample
from ..config import causes
from .answer import NOTHING, answer_keys, write_answer
from .question import Example, Prompt

__all__ = ["Prompt", "Prompts", "load_prompt"]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _AnswerFields(_Closed):
    """The answer part of an example, as `write_answer` takes it."""

    label: Label
    text_says: Label | None = None
    picture_says: Label | None = None
    sarcastic: bool = False
    text_cues: tuple[str, ...] = ()
    picture_cues: tuple[str, ...] = ()
    rationale: str = ""


class _Example(_AnswerFields):
    """A labelled post, and the answer to it."""

    text: str | None = None
    image: str | None = None
    target: str | None = None


class _Template(_Closed):
    """The keys of a prompt file."""

    name: str = Field(pattern=r"^[\w-]+$")
    version: int = Field(ge=1)
    instruction: str = Field(min_length=1)
    post: str
    no_text: str
    no_picture: str
    labels: dict[Label, str] = {label: label for label in LABELS}
    examples: tuple[_Example, ...] = ()
    partner: str | None = Field(default=None, pattern=r"^[\w-]+$")
    reworded: bool = False
    brief: bool = False

    @field_validator("post")
    @classmethod
    def _holds_the_words(cls, post: str) -> str:
        if "{text}" not in post:
            raise ValueError("must hold {text}")
        return post

    @field_validator("labels")
    @classmethod
    def _are_words(cls, labels: dict[Label, str]) -> dict[Label, str]:
        words = [labels.get(label, "") for label in LABELS]
        if not all(word.isalnum() and word != NOTHING for word in words) or len(set(words)) < len(LABELS):
            raise ValueError(f"must be three different words, one for each label, and none of them {NOTHING!r}")
        return labels


def load_prompt(name_or_path: str | Path) -> Prompt:
    """Read a bundled prompt (`prompts/<name>.toml`) or a TOML file.

    Its partner is the bundled prompt that the file names; without a name, `target` where it asks for no target, else
    `sentiment`.

    Raises:
        InputError: There is none of that name, the file is no prompt, or its partner is of its own kind.
    """
    prompt, partner_name = _read(_find(name_or_path))
    partner, _ = _read(_find(partner_name or ("sentiment" if prompt.asks_for_target else "target")))
    if partner.asks_for_target == prompt.asks_for_target:
        kind = "ask for a target" if prompt.asks_for_target else "ask for no target"
        raise InputError(
            f"{name_or_path} is no prompt: it and its partner {partner.name!r} both {kind}", field="prompt"
        )
    return replace(prompt, partner=partner)


class Prompts:
    """The prompts of one reasoner, each read once.

    Args:
        configured: Name or file of the one it asks with; a LoRA adapter may have been trained with another.

    Attributes:
        configured: That prompt.
    """

    def __init__(self, configured: str | Path) -> None:
        self.configured = load_prompt(configured)
        self._trained_with: dict[Path, Prompt] = {}

    def of(self, lora: LoraRef | None) -> Prompt:
        """What to ask with where this adapter answers, or none.

        Raises:
            InputError: The adapter's file is no prompt.
        """
        if lora is None or lora.prompt is None:
            return self.configured
        if lora.prompt not in self._trained_with:
            self._trained_with[lora.prompt] = load_prompt(lora.prompt)
        return self._trained_with[lora.prompt]


def _read(path: Path) -> tuple[Prompt, str | None]:
    """The prompt without its partner, and the partner's name where the file gives one."""
    try:
        template = _Template.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        wording = template.model_dump(exclude={"examples", "partner"})
        prompt = Prompt(**wording)
        examples = tuple(_example(e, prompt, path.parent) for e in template.examples)
        return replace(prompt, examples=examples), template.partner
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no prompt: {causes(error)}", field="prompt") from error


def _find(name_or_path: str | Path) -> Path:
    if Path(name_or_path).suffix == ".toml":
        return Path(name_or_path)
    bundled = {path.stem: path for path in sorted(bundled_path("prompts").glob("*.toml"))}
    if str(name_or_path) not in bundled:
        known = ", ".join(bundled)
        raise InputError(f"no prompt {str(name_or_path)!r}; bundled are {known}; or name a .toml file", field="prompt")
    return bundled[str(name_or_path)]


def _example(example: _Example, prompt: Prompt, folder: Path) -> Example:
    picture = None if example.image is None else folder / example.image
    # A prompt may come with somebody's adapter, and what it shows may be sent to a server.
    if picture is not None and not picture.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"the example's picture {example.image!r} lies outside of the prompt's folder", field="image")
    sample = read_sample(Sample(text=example.text, image=picture, target=example.target))
    given = example.model_dump(exclude={"text", "image", "target"})
    answer = write_answer(prompt, **given, keys=answer_keys(prompt))
    return Example(sample, answer, "" if picture is None else hashlib.sha256(picture.read_bytes()).hexdigest())
