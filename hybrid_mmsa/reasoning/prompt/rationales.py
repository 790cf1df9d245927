"""Facts of a post → a rationale in one or two sentences, and back: what a rationale claims. Knows no corpus, no model.

A rationale is put together from clauses: what the words say, what the picture says, what follows, and whether the
author means it. Every wording stands once, in `wordings`, and serves both ways: filled in to compose, as a pattern
to read. So a composed rationale claims what its facts say and nothing else, and a model's own can be held against them.
Words of the post stand in curly quotes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from ...types import LABELS, Label
from .wordings import (
    AGREEING,
    ALONE,
    APART,
    BOTH,
    FOLLOWING,
    IRONIC,
    JOINS,
    LINKS,
    MOST_CHARACTERS,
    NOT_IRONIC,
    ONLY,
    ONLY_QUOTED,
    PICTURE,
    PICTURE_DECIDES,
    PICTURE_SEEN,
    QUOTED,
    TOGETHER,
    TOGETHER_BOTH,
    WORDS,
    WORDS_DECIDE,
    WORDS_QUOTED,
)

__all__ = ["Claims", "Facts", "claims", "compose"]

MOST_THINGS = 2
"""Things that a rationale names."""
_WORDS: Mapping[Label, str] = {label: label for label in LABELS}
_RESERVED = frozenset({*LABELS, "words", "text", "picture", "post", "ironic", "ironically"})
_QUOTES = "“”"
_THING = re.compile(r"[a-z][a-z'\- ]{1,38}[a-z]")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a post. What is `None` or empty is not known, or not there, and is left out.

    Attributes:
        label: Of the whole post.
        text, picture: What each side says by itself.
        sarcastic: Whether the author means the opposite of what is said.
        things: Things in the picture.
        cues: Words of the post that decide, as they stand in it.
        alone: The post has one side only.
    """

    label: Label
    text: Label | None = None
    picture: Label | None = None
    sarcastic: bool | None = None
    things: tuple[str, ...] = ()
    cues: tuple[str, ...] = ()
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Claims:
    """What a rationale says of a post; `None` where it says nothing.

    Attributes:
        label: Of the whole post.
        text, picture: Of each side by itself.
        sarcastic: Whether the author means the opposite.
        opposed: It says two things of the same, of which one cannot be.
    """

    label: Label | None = None
    text: Label | None = None
    picture: Label | None = None
    sarcastic: bool | None = None
    opposed: bool = False


def compose(facts: Facts, chance: random.Random, words: Mapping[Label, str] = _WORDS) -> str:
    """A rationale of at most `MOST_CHARACTERS` characters: what is known, in one of very many wordings.

    Args:
        facts: What is known; things whose names would be read as something else are left out, and so are cues with
            curly quotes of their own.
        chance: Chooses the wording.
        words: What each label is called. `claims` reads labels by their own names.
    """
    things = [thing for thing in facts.things if _THING.fullmatch(thing) and not _RESERVED & set(thing.split())]
    # Mostly one or two of the things, sometimes none.
    facts = replace(facts, things=tuple(things[: chance.choices((0, 1, MOST_THINGS), (1, 3, 3))[0]]))
    facts = replace(facts, cues=tuple(cue for cue in facts.cues if not set(cue) & set(_QUOTES))[:MOST_THINGS])
    while len(rationale := _sentences(facts, chance, words)) > MOST_CHARACTERS:
        # No wording without any of them is too long.
        facts = replace(facts, things=facts.things[:-1], cues=facts.cues[:-1])
    return rationale


def claims(rationale: str) -> Claims | None:
    """What a rationale claims, `None` where it is not made of known wordings.

    Letter case, white space and a missing last full stop aside, each clause must be one that `compose` could write.
    """
    words = " ".join(rationale.split()).removesuffix(".")
    reading = next(_readings(words), None) if words else None
    if reading is None:
        return None
    values: dict[str, Label | bool] = {}
    opposed = False
    for name, value in reading:
        opposed |= values.setdefault(name, value) != value
    return Claims(**values, opposed=opposed)  # type: ignore[arg-type]


def _sentences(facts: Facts, chance: random.Random, words: Mapping[Label, str]) -> str:
    """The clauses in sentences, each with a capital and a full stop."""
    sentences = list(_clauses(facts, chance, words))
    if facts.sarcastic is not None:
        irony = chance.choice(IRONIC if facts.sarcastic else NOT_IRONIC)
        sentences[-1] = chance.choice((f"{sentences[-1]}; {irony}", f"{irony}: {sentences[-1]}"))
    return " ".join(f"{_capital(sentence)}." for sentence in sentences)


def _clauses(facts: Facts, chance: random.Random, words: Mapping[Label, str]) -> Iterator[str]:
    """What the sides say and what follows, in one sentence or two."""

    def filled(wordings: Sequence[str]) -> str:
        return _filled(chance.choice(wordings), facts, words)

    text = None if facts.text is None else filled(WORDS_QUOTED if facts.cues else WORDS)
    picture = None if facts.picture is None else filled(PICTURE_SEEN if facts.things else PICTURE)
    if text is None or picture is None:
        side = text or picture
        if facts.alone and facts.text == facts.label:
            yield filled(ONLY_QUOTED if facts.cues else ONLY)
        elif side is None:
            yield filled(TOGETHER)
            if facts.cues:
                yield filled(QUOTED)
        elif facts.alone and facts.label == facts.picture and chance.random() < 0.5:
            yield f"{side}; {filled(ALONE)}"
        else:
            yield side
            yield filled((*TOGETHER, *FOLLOWING))
        return
    if facts.text == facts.picture == facts.label and not facts.cues and chance.random() < 0.3:
        yield filled(BOTH)
        return
    link = chance.choice(LINKS["same" if facts.text == facts.picture else "apart"])
    sides = link.join(chance.sample((text, picture), 2))
    conclusions = _conclusions(facts)
    if chance.random() < 0.2:
        yield f"{filled(conclusions)}: {sides}"
    else:
        yield sides
        yield filled((*conclusions, *FOLLOWING))


def _conclusions(facts: Facts) -> Sequence[str]:
    """How the label of a post with two sides follows from what they say."""
    general = (*TOGETHER, *TOGETHER_BOTH)
    if facts.text == facts.picture:
        return (*AGREEING, *general) if facts.text == facts.label else general
    if facts.label == facts.text and facts.picture == "neutral":
        return (*WORDS_DECIDE, *general)
    if facts.label == facts.picture and facts.text == "neutral":
        return (*PICTURE_DECIDES, *general)
    return (*APART, *general)


def _filled(wording: str, facts: Facts, words: Mapping[Label, str]) -> str:
    things = " and ".join(_article(thing) for thing in facts.things)
    labels = {"label": facts.label, "text": facts.text, "picture": facts.picture}
    labels |= dict.fromkeys(("both", "only"), facts.label)
    names = {slot: "" if label is None else words[label] for slot, label in labels.items()}
    quoted = " and ".join(f"{_QUOTES[0]}{cue}{_QUOTES[1]}" for cue in facts.cues)
    return wording.format(seen=things, quoted=quoted, **names)


def _article(thing: str) -> str:
    """The thing with its article; plurals have none."""
    if thing.endswith("s") and not thing.endswith(("ss", "us", "is")):
        return thing
    return f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}"


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


# What each slot of a wording claims.
_SLOTS = {
    "label": ("label",),
    "text": ("text",),
    "picture": ("picture",),
    "both": ("label", "text", "picture"),
    "only": ("label", "text"),
}
_HELD = {"seen": r"[a-z][a-z'\- ]*?", "quoted": "“[^“”]+”(?: and “[^“”]+”)?"}
"""What stands in the slots that claim nothing."""


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], tuple[tuple[str, bool], ...]], ...]:
    """Every wording as a pattern, with what it claims beyond its slots."""
    sides = (WORDS, WORDS_QUOTED, ONLY, ONLY_QUOTED, QUOTED, PICTURE, PICTURE_SEEN, BOTH)
    whole = (AGREEING, WORDS_DECIDE, PICTURE_DECIDES, APART, TOGETHER, TOGETHER_BOTH, FOLLOWING, ALONE)
    plain = [(_pattern(wording), ()) for wordings in (*sides, *whole) for wording in wordings]
    irony = [(_pattern(w), (("sarcastic", value),)) for ws, value in ((IRONIC, True), (NOT_IRONIC, False)) for w in ws]
    return (*plain, *irony)


def _pattern(wording: str) -> re.Pattern[str]:
    labels = "|".join(LABELS)
    parts = []
    for number, part in enumerate(re.split(r"\{(\w+)\}", wording)):
        if number % 2 == 0:
            parts.append(re.escape(part))
        elif part in _SLOTS:
            parts.append(f"(?P<{part}{number}>{labels})")
        else:
            parts.append(_HELD[part])
    return re.compile("".join(parts), re.IGNORECASE)


def _readings(words: str) -> Iterator[tuple[tuple[str, Label | bool], ...]]:
    """Every way to read the words as clauses: name and value of each claim."""
    for pattern, beyond in _patterns():
        for end in _ends(pattern, words):
            match = pattern.fullmatch(words, 0, end)
            if match is None:
                continue
            here = (*beyond, *_claimed(match))
            if end == len(words):
                yield here
            for join in JOINS:
                if words.startswith(join, end):
                    yield from ((*here, *rest) for rest in _readings(words[end + len(join) :]))


def _ends(pattern: re.Pattern[str], words: str) -> Iterator[int]:
    """Where a clause may end: before a join, or at the end of all."""
    if pattern.match(words) is None:
        return
    ends = {m.start() for join in JOINS for m in re.finditer(re.escape(join), words)}
    yield from sorted({*ends, len(words)})


def _claimed(match: re.Match[str]) -> Iterator[tuple[str, Label | bool]]:
    for slot, value in match.groupdict().items():
        label = next(each for each in LABELS if each == value.lower())
        yield from ((name, label) for name in _SLOTS[slot.rstrip("0123456789")])
