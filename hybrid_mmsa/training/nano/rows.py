"""Posts and photos → the rows nano is trained on: each with the answer wanted, and which of its characters are known.

Knows no tokens. What is not known of a post stands in its answer and is not taught; no text here is held out by any
corpus.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ...data import PHOTOS
from ...inputs import normalise
from ...reasoning.prompt.prompts import load_prompt
from ...reasoning.prompt.question import Prompt
from ...types import LABELS, Sample
from ..answers.rationales import Facts, compose
from ..answers.targets import Known, Target, known_target
from .corpora import POSTS, SAID, NanoPost, nano_posts
from .cues import WordEvidence
from .joined import JOINED, joined_posts

__all__ = ["NanoRow", "nano_rows", "rows_of", "word_evidence"]

PROMPT = "nano"
WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        POSTS: 3.0,
        "mvsa_multiple": 1.0,
        "semeval2017": 0.6,
        "mmsd2": 0.3,
        "tweeteval_irony": 1.0,
        "twitter2015": 1.0,
        "twitter2017": 1.0,
        "memotion": 1.5,
        "twitter1269": 2.0,
        PHOTOS: 0.7,
        JOINED: 0.6,
    }
)
"""How often a row of each corpus is drawn per epoch."""
TOLD = 0.4
"""Share of the judged rows whose cues and rationale are taught as well: they are most of an answer's tokens, and how to
write them is learnt sooner than how to judge. Those with a rationale that somebody wrote are all taught whole."""
ONE_SIDE = 0.5
"""A post's words alone and its picture alone are drawn so much less often than the whole post."""
_SEEN_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class NanoRow:
    """A post to learn from, and what is to be learnt of it.

    Attributes:
        sample: Text, picture (a path, not decoded) and target, as its corpus gives them.
        target: The answer wanted, and which of its characters are known.
        corpus: Where it is from.
        weight: How often it is drawn per epoch.
    """

    sample: Sample
    target: Target
    corpus: str
    weight: float = 1.0


def nano_rows(
    data: Path, *, seed: int = 0, seen: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[NanoRow], list[NanoRow]]:
    """Rows to learn from and rows to choose by; the same for the same seed.

    A post of MVSA-Single comes three times: whole, as its words alone and as its picture alone. Texts whose words have
    a label, or whose sarcasm is known, come once more beside another post's picture (`joined`).

    Args:
        data: Folder holding the corpora (see `corpora`).
        seed: Chooses wordings.
        seen: What is surely seen in a picture, by its path, see `seen`; of the others nothing is told.

    Raises:
        InputError: There are no posts to train on.
    """
    train, dev = nano_posts(data)
    prompt = load_prompt(PROMPT)
    evidence = word_evidence(train, prompt)
    found = seen or _SEEN_NOTHING

    def rows(posts: Iterable[NanoPost]) -> list[NanoRow]:
        return [row for post in posts for row in rows_of(post, prompt, evidence, found, seed)]

    return rows([*train, *joined_posts(train, seed)]), rows(dev)


def word_evidence(train: Iterable[NanoPost], prompt: Prompt) -> WordEvidence:
    """How words, as a prompt shows them, speak for labels, from posts whose words have a label of their own."""
    said = ((p.sample.text, p.sample.text_label or p.sample.label) for p in train if p.corpus in SAID)
    return WordEvidence().fit((prompt.rewritten(normalise(text)), label) for text, label in said if text and label)


def rows_of(
    post: NanoPost,
    prompt: Prompt,
    evidence: WordEvidence,
    seen: Mapping[str, Sequence[str]] = _SEEN_NOTHING,
    seed: int = 0,
) -> Iterator[NanoRow]:
    """The rows of one post: itself, and where each side has a label of its own, its sides alone.

    Args:
        post: The post.
        prompt: Gives the label words; its partner is for posts with a target.
        evidence: Finds the words that speak.
        seen: What is surely seen in a picture, by its path.
        seed: Chooses wordings.
    """
    weight = WEIGHTS[post.corpus]
    for sample, share in _views(post):
        side = f"{bool(sample.text)}/{sample.image is not None}"
        chance = random.Random(f"{seed}/{post.corpus}/{sample.id}/{side}")
        things = post.things if sample.image is not None else None
        if things is None and sample.image is not None and str(sample.image) in seen:
            things = tuple(seen[str(sample.image)])
        target = _target(sample, prompt.for_sample(sample), evidence, things, chance)
        yield NanoRow(sample, target, post.corpus, weight * share)


def _views(post: NanoPost) -> Iterator[tuple[Sample, float]]:
    """The post, and its sides alone; how often each is drawn, as a share of the corpus's weight."""
    sample = post.sample
    yield sample, 1.0
    if post.corpus != POSTS or not sample.text or sample.image is None:
        return
    # Whether the author means it, and why, is known of both sides together only.
    bare = replace(sample, sarcastic=None, rationale=None)
    if sample.text_label is not None:
        yield replace(bare, image=None, label=sample.text_label, image_label=None), ONE_SIDE
    if sample.image_label is not None:
        yield replace(bare, text=None, label=sample.image_label, text_label=None), ONE_SIDE


def _target(
    sample: Sample, prompt: Prompt, evidence: WordEvidence, things: tuple[str, ...] | None, chance: random.Random
) -> Target:
    has_text, has_image = bool(sample.text), sample.image is not None
    text = sample.text_label if has_text else None
    picture = sample.image_label if has_image else None
    if has_text != has_image:  # the one side says what the post says
        text, picture = (text or sample.label, None) if has_text else (None, picture or sample.label)
    # What is quoted is what is read: hashtags in words, emoji by their names.
    quoted = evidence.cues(prompt.rewritten(normalise(sample.text)), text) if sample.text and text else None
    rationale = sample.rationale
    if rationale is None and sample.label is not None:
        alone = has_text != has_image
        facts = Facts(sample.label, text, picture, sample.sarcastic, tuple(things or ()), alone=alone)
        rationale = compose(facts, chance)
    known = Known(
        label=sample.label,
        text=text,
        picture=picture,
        sarcastic=sample.sarcastic,
        text_cues=quoted if has_text else (),
        picture_cues=things if has_image else (),
        rationale=rationale,
    )
    target = known_target(sample, prompt, known, stand_in=chance.choice(LABELS))
    judged = any(label is not None for label in (sample.label, text, picture))
    if judged and sample.rationale is None and chance.random() >= TOLD:
        return _taught_until(target, '"text_cues": ')
    return target if rationale else _taught_until(target, '"rationale": "')  # an empty one is nothing to learn


def _taught_until(target: Target, last: str) -> Target:
    """The same answer, of which nothing is taught behind its last key."""
    end = target.answer.rindex(last) + len(last)
    taught = tuple((start, min(stop, end)) for start, stop in target.taught if start < end)
    return replace(target, taught=taught, closes=False)
