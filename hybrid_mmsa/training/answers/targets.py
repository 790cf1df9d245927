"""One labelled post → the answer that a reasoner is to learn, and which characters of it are known. Knows no tokens.

The answer is the product's own JSON. Where nobody wrote a rationale, it is composed from what each side says; what is
not known of a post (a side's own label, its sarcasm, its cues) stands in the answer and is not taught.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ...reasoning.prompt.answer import answer_keys, write_answer
from ...reasoning.prompt.question import Prompt
from ...reasoning.prompt.rationales import Facts, compose
from ...types import Label, Sample, Verdict

__all__ = ["Known", "Target", "known_target", "label_target", "reasoned_target"]


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be learnt of one post.

    Attributes:
        answer: The whole answer, as the product writes it.
        label: The label it gives.
        taught: Spans of its characters that are known and taught, in order.
        closes: Whether the end of the answer is taught too.
        tells: Whether anything but the label is known.
    """

    answer: str
    label: Label
    taught: tuple[tuple[int, int], ...]
    closes: bool
    tells: bool = False

    @property
    def words(self) -> str:
        """What is taught, without what stands between."""
        return "".join(self.answer[start:end] for start, end in self.taught)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a post's answer; `None` where it is not.

    Attributes:
        label: Of the whole post.
        text, picture: What each side says by itself.
        sarcastic: Whether the author means the opposite.
        text_cues, picture_cues: What of each side decides; empty where it is known that nothing stands out.
        rationale: Why.
    """

    label: Label | None = None
    text: Label | None = None
    picture: Label | None = None
    sarcastic: bool | None = None
    text_cues: Sequence[str] | None = None
    picture_cues: Sequence[str] | None = None
    rationale: str | None = None


def label_target(sample: Sample, prompt: Prompt) -> Target:
    """The label alone: the answer up to the end of its word, or, where answers are brief, the word.

    Args:
        sample: A post with a label.
        prompt: Gives the label's word.
    """
    label = _label_of(sample)
    answer = write_answer(prompt, label=label, keys=answer_keys(prompt))
    begin, end = _value(answer, answer_keys(prompt), "label")
    return Target(answer, label, ((begin if prompt.brief else 0, end),), closes=False)


def reasoned_target(sample: Sample, prompt: Prompt, *, verdict: Verdict | None = None, variant: int = 0) -> Target:
    """The label and all that is known beyond it.

    What the post's own columns say comes first, then a teacher's verdict if it gives the post's label, then what
    follows: a post of one side says with that side what it says as a whole.

    Args:
        sample: A post with a label.
        prompt: Gives the label words.
        verdict: A teacher's verdict on the post.
        variant: Chooses among the wordings of a composed rationale.
    """
    label = _label_of(sample)
    teacher = verdict if verdict is not None and verdict.label == label else None
    has_text, has_image = bool(sample.text), sample.image is not None
    text = _side(sample.text_label, teacher.text_says if teacher else None, label if not has_image else None)
    picture = _side(sample.image_label, teacher.picture_says if teacher else None, label if not has_text else None)
    mocking = sample.sarcastic
    if mocking is None and teacher is not None and teacher.sarcasm is not None:
        mocking = teacher.sarcasm >= 0.5
    rationale = sample.rationale or (teacher.rationale if teacher else None)
    if not rationale and has_text == (text is not None) and has_image == (picture is not None):
        facts = Facts(label, text, picture, mocking, alone=has_text != has_image)
        rationale = compose(facts, random.Random(variant), prompt.labels)
    cues = {
        side: [cue.text for cue in teacher.cues if cue.side == side] if teacher else None for side in ("text", "image")
    }
    known = Known(label, text, picture, mocking, cues["text"], cues["image"], rationale)
    return known_target(sample, prompt, known, stand_in=label)


def known_target(sample: Sample, prompt: Prompt, known: Known, *, stand_in: Label) -> Target:
    """All that is known of a post; a side that it does not have is known to say nothing.

    Args:
        sample: The post.
        prompt: Gives the label words.
        known: What is known of it.
        stand_in: Stands in the answer, untaught, for labels that are not known.
    """
    label = known.label or stand_in
    has_text, has_image = bool(sample.text), sample.image is not None
    keys = answer_keys(prompt)
    answer = write_answer(
        prompt,
        label=label,
        text_says=(known.text or label) if has_text else None,
        picture_says=(known.picture or label) if has_image else None,
        sarcastic=bool(known.sarcastic),
        text_cues=known.text_cues or (),
        picture_cues=known.picture_cues or (),
        rationale=known.rationale or "",
        keys=keys,
    )
    unknown = {
        "label": known.label is None,
        "text_says": has_text and known.text is None,
        "picture_says": has_image and known.picture is None,
        "sarcastic": known.sarcastic is None,
        "text_cues": known.text_cues is None,
        "picture_cues": known.picture_cues is None,
        "rationale": not known.rationale,
    }
    tells = not all(unknown[key] for key in keys if key != "label")
    if prompt.brief:  # such a model writes nothing: only what is read from its logits is taught
        values = [_value(answer, keys, key) for key in keys if not unknown[key]]
        return Target(answer, label, tuple(values), closes=False, tells=tells)
    return Target(
        answer, label, _without(answer, keys, [key for key in keys if unknown[key]]), closes=True, tells=tells
    )


def _label_of(sample: Sample) -> Label:
    if sample.label is None:
        raise ValueError("a post to learn from has a label")
    return sample.label


def _side(*known: Label | None) -> Label | None:
    """The first that is known."""
    return next((label for label in known if label is not None), None)


def _without(answer: str, keys: Sequence[str], left_out: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The answer's spans without the values of some of its keys. No string in it holds a quote, so keys are found."""
    spans, start = [], 0
    for key in left_out:
        begin, end = _value(answer, keys, key)
        spans.append((start, begin))
        start = end
    return (*spans, (start, len(answer)))


def _value(answer: str, keys: Sequence[str], key: str) -> tuple[int, int]:
    """Where in the answer the value of a key stands, without its quotes."""
    begin = answer.index(f'"{key}": ') + len(f'"{key}": ')
    following = keys[keys.index(key) + 1 :]
    end = answer.index(f', "{following[0]}": ', begin) if following else len(answer) - 1
    quoted = answer[begin] == '"'
    return begin + quoted, end - quoted
