"""Captions and class names of photos → short notes of what is to be seen in them. Knows no posts and no models."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ...data import Photo
from ...reasoning.prompt.answer import CUE_CHARACTERS, MOST_CUES

__all__ = ["things_of"]

_NAMED = "a photo of a "
# Class names that say how or by whom a set was made, or that nobody would write, as what is to be seen.
_PLAINLY: dict[str, tuple[str, ...]] = {
    "faces": ("face",),
    "leopards": ("leopard",),
    "motorbikes": ("motorbike",),
    "car side": ("car",),
    "cougar body": ("cougar",),
    "cougar face": ("cougar",),
    "crocodile head": ("crocodile",),
    "flamingo head": ("flamingo",),
    "water lilly": ("water lily",),
    "frontal": ("house",),
    "longsleeve": ("shirt",),
    "outwear": ("jacket",),
    "shine": ("sunshine",),
    "cloudy": ("clouds",),
}


def _words(spaced: str) -> frozenset[str]:
    return frozenset(spaced.split())


_NOT_SEEN = _words(
    "front side back top middle group couple pair lot bunch way air kind body piece other one two three many some it "
    "something someone each another day background distance view shot picture photo image runs stands watches looks "
    "jumps walks sits plays"
)
_WORD = re.compile(r"[a-z]+")
_ARTICLE = _words("a an the his her their its")
_ENDING = {""} | _words(
    "is are with in on at of by near while that who from to through over under into next as has for behind down up "
    "along beside off outside around inside wearing holding sitting standing"
)
"""What stands behind a phrase; the empty one is the end of the caption."""
# A word counts as a noun if it ends phrases in so large a share of its places, and so often.
_LEAST_SHARE = 0.35
_LEAST_PHRASES = 3


def things_of(photos: Sequence[Photo]) -> list[tuple[str, ...]]:
    """Up to three things per photo: its class name, or nouns that several of its captions share, or a short caption.

    Nouns are told from other words by all captions together: they stand behind articles and end phrases.
    """
    nouns = _nouns(caption for photo in photos if not photo.named for caption in photo.captions)
    return [_of_class(photo) if photo.named else _of_captions(photo, nouns) for photo in photos]


def _of_class(photo: Photo) -> tuple[str, ...]:
    name = photo.captions[0].removeprefix(_NAMED)
    return _PLAINLY.get(name, (name,))


def _of_captions(photo: Photo, nouns: frozenset[str]) -> tuple[str, ...]:
    told = Counter(word for caption in photo.captions for word in set(_WORD.findall(caption.lower())) & nouns)
    first = " ".join(photo.captions).lower()
    shared = [word for word, n in told.items() if n >= max(2, len(photo.captions) // 2)]
    shared.sort(key=lambda word: (-told[word], first.index(word)))
    if shared:
        return tuple(shared[:MOST_CUES])
    short = min(photo.captions, key=len).lower().rstrip(" .")
    return (short,) if len(short) <= CUE_CHARACTERS else ()


def _nouns(captions: Iterator[str]) -> frozenset[str]:
    """Words that often end a phrase such as "a black dog": an article before, a verb, preposition or nothing behind."""
    seen: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for caption in captions:
        words = _WORD.findall(caption.lower())
        seen.update(words)
        for place, word in enumerate(words):
            before = words[max(0, place - 3) : place]
            behind = words[place + 1] if place + 1 < len(words) else ""
            if _ARTICLE & set(before) and behind in _ENDING:
                ends[word] += 1
    barred = _NOT_SEEN | _ENDING | _ARTICLE
    return frozenset(
        word
        for word, n in ends.items()
        if n >= _LEAST_PHRASES and n >= _LEAST_SHARE * seen[word] and word not in barred and not word.endswith("ing")
    )
