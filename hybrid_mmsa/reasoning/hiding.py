"""Which of a post's words decide a reasoner's label: those whose hiding takes most from it. Knows no model.

For reasoners that give labels and write nothing (`Prompt.brief`): what they would say of themselves is measured
instead, and the rationale is put together from it. Hiding is occlusion, as in Zeiler and Fergus (2014), of words.
"""

from __future__ import annotations

import random
import re
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..explain.telling import noise, told
from ..explain.words import Span, groups, hide
from ..types import Cue, Label, Sample, Verdict, WordEffect
from .base import Reasoner, unseen_by, without_pictures, words_of
from .prompt.answer import CUE_CHARACTERS
from .prompt.question import Prompt
from .prompt.rationales import Facts, compose

__all__ = ["IRONY_TOLD", "verdicts_of", "with_reasons"]

MOST_HIDDEN = 32
"""Questions about one post: in longer ones several words are hidden together."""
MOST_CUES = 2
LEAST_EFFECT = 0.05
"""What hiding must take from the probability of the label for the words to be told."""
IRONY_TOLD = 0.85
"""P(sarcastic) from which irony is told. A model that is taught on as many ironic as sincere texts takes most plain
complaints for ironic at 0.5; here none of 60, and a quarter of ironic texts (dev posts, `eval/LOG.md`)."""
_WORD = re.compile(r"\S+")
_AROUND = " .,;:!?…\"'“”‘’()[]{}*~"


def verdicts_of(
    reasoner: Reasoner,
    prompt: Prompt,
    samples: Sequence[Sample],
    judge: Callable[[Sequence[Sample], bool], list[Verdict]],
    *,
    rationale: bool,
) -> list[Verdict]:
    """A backend's verdicts, and, with a rationale asked for, what `with_reasons` makes of the brief ones.

    A reasoner that is not shown pictures is asked about the words, and its verdicts say so.

    Args:
        reasoner: The backend.
        prompt: What is asked with.
        samples: Read posts.
        judge: What the model itself says of some posts, with or without a rationale.
        rationale: Whether one is asked for.

    Raises:
        PostError: A post has no words, and the reasoner is shown no pictures.
    """
    of_words = "image" in unseen_by(reasoner)
    shown = [words_of(sample, reasoner.id) for sample in samples] if of_words else samples
    verdicts = judge(shown, rationale)
    if rationale:
        verdicts = with_reasons(prompt, shown, verdicts, lambda parts: judge(parts, False))
    return without_pictures(samples, verdicts) if of_words else verdicts


def with_reasons(
    prompt: Prompt,
    samples: Sequence[Sample],
    verdicts: Sequence[Verdict],
    ask: Callable[[Sequence[Sample]], Sequence[Verdict]],
) -> list[Verdict]:
    """Brief verdicts with the words that decide them as cues, what each side says, and a rationale that claims this.

    What a side says is the label of the post without the other side. Of a neutral verdict no words are told: it says
    that none speaks. `Verdict.timings` gain a post's share of the time, `hiding`, in milliseconds.

    Args:
        prompt: What was asked with; verdicts on posts that it does not ask briefly come back as they are.
        samples: Read posts.
        verdicts: One each, with P(sarcastic) where it is known.
        ask: Gives label probabilities of some posts, as the verdicts were given.
    """
    began = time.perf_counter()
    brief = [row for row, sample in enumerate(samples) if prompt.for_sample(sample).brief]
    hidden = [(row, part) for row in brief for part in _parts(samples[row], verdicts[row])]
    versions = [replace(samples[row], text=hide(samples[row].text or "", part)) for row, part in hidden]
    both = [row for row in brief if samples[row].text and samples[row].image is not None]
    versions += [replace(samples[row], image=None) for row in both]
    versions += [replace(samples[row], text=None) for row in both]
    answers = ask(versions) if versions else []
    effects: dict[int, list[WordEffect]] = {row: [] for row in brief}
    for (row, part), answer in zip(hidden, answers, strict=False):
        label, start, end = verdicts[row].label, part[0][0], part[-1][1]
        effect = verdicts[row].probabilities[label] - answer.probabilities[label]
        words = (samples[row].text or "")[start:end]
        effects[row].append(WordEffect(word=words, start=start, end=end, effect=effect))
    took = 1000 * (time.perf_counter() - began) / max(1, len(brief))
    alone = [answer.label for answer in answers[len(hidden) :]]
    sides = dict(zip(both, zip(alone[: len(both)], alone[len(both) :], strict=True), strict=True))
    told_now = list(verdicts)
    for row, found in effects.items():
        cues = _cues(samples[row].text or "", found)
        verdict = _told(samples[row], verdicts[row], cues, sides.get(row))
        told_now[row] = verdict.model_copy(update={"timings": {**verdict.timings, "hiding": took}})
    return told_now


def _parts(sample: Sample, verdict: Verdict) -> list[tuple[Span, ...]]:
    """The words that are hidden in turn: all but those of the target, and none where they are all."""
    text = sample.text or ""
    words = [match.span() for match in _WORD.finditer(text)]
    if verdict.label == "neutral" or len(words) < 2:
        return []
    named = {_bare(word) for word in (sample.target or "").split()}  # without it nothing could be asked
    return [part for part in groups(words, MOST_HIDDEN) if not named & {_bare(text[slice(*span)]) for span in part}]


def _bare(word: str) -> str:
    return word.strip(_AROUND).casefold()


def _cues(text: str, words: Sequence[WordEffect]) -> tuple[str, ...]:
    """The words that speak most for the label, in the order of the post; neighbours are quoted together."""
    speaking = [word for word in told(words, max(LEAST_EFFECT, noise(words))) if word.effect > 0][:MOST_CUES]
    spans: list[tuple[int, int]] = []
    for word in sorted(speaking, key=lambda each: each.start):
        if spans and not text[spans[-1][1] : word.start].strip():
            spans[-1] = (spans[-1][0], word.end)
        else:
            spans.append((word.start, word.end))
    quoted = (text[start:end].strip(_AROUND)[:CUE_CHARACTERS] for start, end in spans)
    return tuple(words for words in quoted if words)


def _told(sample: Sample, verdict: Verdict, cues: Sequence[str], sides: tuple[Label, Label] | None) -> Verdict:
    """The verdict with its reasons; one post is told in the same words every time.

    Args:
        sample: The post.
        verdict: On it.
        cues: The words that decide.
        sides: What words and picture say alone, of a post that has both. What a post of one side says with that side is
            what it says as a whole, unless it is ironic.
    """
    ironic = verdict.sarcasm is not None and verdict.sarcasm >= IRONY_TOLD
    only = None if ironic else verdict.label
    text, picture = sides or (only if sample.text else None, only if sample.image is not None else None)
    # Words are quoted with what they say, so not where what they decide is something else.
    quoted = cues if sides is None or text == verdict.label else ()
    facts = Facts(
        label=verdict.label,
        text=text,
        picture=picture,
        sarcastic=ironic or None,
        cues=tuple(quoted),
        alone=sides is None,
    )
    chance = random.Random(zlib.crc32((sample.text or "").encode()))
    said = tuple(Cue(side="text", text=words) for words in cues)
    says = {"text_says": facts.text, "picture_says": facts.picture}
    return verdict.model_copy(update={"cues": said, "rationale": compose(facts, chance), **says})
