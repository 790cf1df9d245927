"""The answer a model writes: its JSON schema, how it is read, and the verdict made of it. Knows no backend.

The answer is one JSON object, the label first, so that one prefill decides it. What a model writes is untrusted: it is
bounded, stripped of control characters, and quotations that do not stand in the post are dropped.

A model too small to write (`Prompt.brief`) gives a label, and whether the post is meant as it stands: no free words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import ReasonerError
from ...foreign import translated
from ...types import LABELS, Cue, FloatArray, Label, LoraRef, Modality, Sample, Verdict, prediction
from .escape import escape, plain
from .labels import ANSWER_START
from .question import Prompt

__all__ = [
    "ANSWER_START",
    "Answer",
    "answer_keys",
    "answer_schema",
    "read_answer",
    "read_label",
    "verdict",
    "write_answer",
]

MOST_CUES = 3
CUE_CHARACTERS = 60
RATIONALE_CHARACTERS = 400
NOTHING = "none"
# No quote, backslash or control character: nothing has to be escaped, so that the bound on characters is one on the
# length of the JSON as well. Schema compilers differ in how they read "pattern" beside "maxLength"; this is both.
_TEXT = r'^[^"\\\x00-\x1f\x7f]{0,%d}$'


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote about one post, read and checked."""

    label: Label
    text_says: Label | None
    picture_says: Label | None
    sarcastic: bool
    cues: tuple[Cue, ...]
    rationale: str | None


class _WrittenAnswer(BaseModel):
    """The JSON object as the model wrote it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    label: str
    text_says: str = NOTHING
    picture_says: str = NOTHING
    sarcastic: bool
    text_cues: list[str] = []
    picture_cues: list[str] = []
    rationale: str = ""


_KEYS = tuple(_WrittenAnswer.model_fields)
_BRIEF_KEYS = ("label", "sarcastic")


def answer_keys(prompt: Prompt) -> tuple[str, ...]:
    """The keys of an answer, in order: all of them, or the brief ones."""
    return _BRIEF_KEYS if prompt.brief else _KEYS


def answer_schema(prompt: Prompt, *, label: str | None = None) -> dict[str, Any]:
    """The JSON schema of an answer: every string and array bounded, every key required, in this order.

    Args:
        prompt: Gives the label words.
        label: A label word that the answer must begin with: the one the logits chose.
    """
    words = [prompt.labels[each] for each in LABELS]
    says = {"type": "string", "enum": [*words, NOTHING]}
    cues = {"type": "array", "items": {"type": "string", "pattern": _TEXT % CUE_CHARACTERS}, "maxItems": MOST_CUES}
    rules: dict[str, dict[str, Any]] = {
        "label": {"type": "string", "enum": words if label is None else [label]},
        "text_says": says,
        "picture_says": says,
        "sarcastic": {"type": "boolean"},
        "text_cues": cues,
        "picture_cues": cues,
        "rationale": {"type": "string", "pattern": _TEXT % RATIONALE_CHARACTERS},
    }
    properties = {key: rules[key] for key in answer_keys(prompt)}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def write_answer(
    prompt: Prompt,
    *,
    label: Label,
    text_says: Label | None = None,
    picture_says: Label | None = None,
    sarcastic: bool = False,
    text_cues: Sequence[str] = (),
    picture_cues: Sequence[str] = (),
    rationale: str = "",
    keys: Sequence[str] = _KEYS,
) -> str:
    """The JSON that a model should write: for examples in a prompt, and as a training target.

    Args:
        prompt: Gives the label words.
        label: Of the post.
        text_says: What the words say by themselves.
        picture_says: What the picture says by itself.
        sarcastic: Whether the author means the opposite.
        text_cues: Words that decide.
        picture_cues: What decides in the picture.
        rationale: Why.
        keys: What the answer has of this, see `answer_keys`.
    """
    values = {
        "label": prompt.labels[label],
        "text_says": NOTHING if text_says is None else prompt.labels[text_says],
        "picture_says": NOTHING if picture_says is None else prompt.labels[picture_says],
        "sarcastic": sarcastic,
        "text_cues": [_bounded(cue, CUE_CHARACTERS) for cue in text_cues[:MOST_CUES]],
        "picture_cues": [_bounded(cue, CUE_CHARACTERS) for cue in picture_cues[:MOST_CUES]],
        "rationale": _bounded(rationale, RATIONALE_CHARACTERS),
    }
    return json.dumps({key: values[key] for key in keys}, ensure_ascii=False)


def read_answer(text: str, prompt: Prompt, sample: Sample) -> Answer:
    """Read what a model wrote about a post.

    Nothing is claimed about a side the post does not have, and a quotation counts only where it stands in the post
    (letter case, white space and compatibility forms aside) as whole words.

    Args:
        text: The whole JSON object.
        prompt: The prompt it answers; gives the label words.
        sample: The post, to check quotations against.

    Raises:
        ReasonerError: It is no such object, or one of its words is no label.
    """
    try:
        written = _WrittenAnswer.model_validate_json(text)
        labels = {word: label for label, word in prompt.labels.items()}
        label = labels[written.label]
        text_says, picture_says = (
            None if word == NOTHING else labels[word] for word in (written.text_says, written.picture_says)
        )
        if written.model_fields_set != set(answer_keys(prompt)):
            raise KeyError("not the keys that were asked for")
    except (ValidationError, KeyError, RecursionError) as error:
        raise ReasonerError(f"the model's answer cannot be read: {plain(text)[:80]!r}") from error
    has_text, has_image = bool(sample.text), sample.image is not None
    words = sample.text or ""
    quoted = [cue for cue in _cues(written.text_cues, "text") if has_text and _stands_in(cue.text, words, prompt)]
    return Answer(
        label=label,
        text_says=text_says if has_text else None,
        picture_says=picture_says if has_image else None,
        sarcastic=written.sarcastic,
        cues=(*quoted, *(_cues(written.picture_cues, "image") if has_image else ())),
        rationale=_bounded(written.rationale, RATIONALE_CHARACTERS) or None,
    )


def read_label(text: str, prompt: Prompt) -> Label:
    """Read the label of an answer that consists of nothing else.

    Args:
        text: The whole JSON object.
        prompt: The prompt it answers; gives the label words.

    Raises:
        ReasonerError: It is no such object, or its label is not one of the words.
    """
    with translated(lambda cause: ReasonerError(f"the model's answer cannot be read ({cause}): {plain(text)[:80]!r}")):
        word = json.loads(text)["label"]
        return {word: label for label, word in prompt.labels.items()}[word]


def verdict(
    probabilities: FloatArray,
    answer: Answer | None = None,
    *,
    reasoner: str,
    prompt: Prompt,
    lora: LoraRef | None = None,
    sarcasm: float | None = None,
    tokens: int | None = None,
    timings: Mapping[str, float] | None = None,
) -> Verdict:
    """The verdict on one post.

    Args:
        probabilities: `[3]`, from the logits of the label tokens; they alone decide the label.
        answer: What the model wrote, where it was asked to write.
        reasoner: Id of the model.
        prompt: The prompt that was used.
        lora: The LoRA adapter that was used.
        sarcasm: P(sarcastic) from the logits, where the backend sees them.
        tokens: Tokens read and written.
        timings: Milliseconds per stage.

    Raises:
        ReasonerError: The model argued for another label than its probabilities give.
    """
    likeliest = prediction(probabilities)
    if answer is not None and answer.label != likeliest.label:
        raise ReasonerError(f"the model wrote {answer.label!r} where its probabilities say {likeliest.label!r}")
    return Verdict(
        label=likeliest.label,
        probabilities=likeliest.probabilities,
        sarcasm=sarcasm,
        text_says=answer.text_says if answer else None,
        picture_says=answer.picture_says if answer else None,
        cues=answer.cues if answer else (),
        rationale=answer.rationale if answer else None,
        reasoner=reasoner,
        adapter=lora.name if lora else None,
        prompt=prompt.id,
        tokens=tokens,
        timings=dict(timings or {}),
    )


def _cues(written: Sequence[str], side: Modality) -> tuple[Cue, ...]:
    """Up to three different ones that hold a letter, a digit or a sign."""
    cues = dict.fromkeys(_bounded(cue, CUE_CHARACTERS) for cue in written)
    return tuple(Cue(side=side, text=cue) for cue in cues if cue)[:MOST_CUES]


def _stands_in(cue: str, text: str, prompt: Prompt) -> bool:
    """Whether the cue stands in the post as whole words, as the author wrote it or as the model was shown it."""
    # A word is quoted whole; a sign or an emoji may touch its neighbours.
    pattern = rf"(?:(?<!\w)|(?!\w)){re.escape(_folded(cue))}(?:(?!\w)|(?<!\w))"
    shown = {text, escape(text), escape(prompt.rewritten(text))}
    return any(re.search(pattern, _folded(each)) for each in shown)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _bounded(text: str, characters: int) -> str:
    return plain(text).replace('"', "'").replace("\\", "/")[:characters].strip()
