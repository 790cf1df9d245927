"""Labelled texts → how much each word speaks for each label, and the words of a post that speak most. Knows no corpora.

The evidence is naive Bayes': log-odds of a word or pair of words standing in a text of the label, less their standard
error, so that names that happened to stand in a few texts of one label speak for nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...reasoning.prompt.answer import CUE_CHARACTERS, MOST_CUES
from ...types import LABELS, Label

__all__ = ["WordEvidence"]

LEAST_TEXTS = 8
"""Texts that a term must stand in."""
LEAST_EVIDENCE = math.log(2)
"""A cue doubles the odds of its label, surely."""

# Links and handles come first, so that no part of one is taken for a word.
_TOKEN = re.compile(
    r"(?P<masked>(?:https?|www\.|pic\.twitter)\S*|@\s?\w+|<user>|\brt\b)"
    r"|(?P<word>(?<!\w)[^\W\d_]+(?:['’][^\W\d_]+)*(?!\w))",
    re.IGNORECASE,
)
_LITTLE_WORDS = (
    "a an and are as at be been but by do for from had has have he her him his i i'm if in is it it's its me my of on "
    "or our she so that the their them there they this to was we were what when where which who will with you your u "
    "ur im amp s t m re ll rt"
)
_LITTLE = frozenset(_LITTLE_WORDS.split())


@dataclass(frozen=True, slots=True)
class _Term:
    """A word, or two neighbours, as they stand in a text."""

    start: int
    end: int
    key: str


class WordEvidence:
    """How surely each term of the texts it was fitted on speaks for each label."""

    def __init__(self) -> None:
        self.odds_: dict[str, tuple[float, ...]] = {}

    def fit(self, texts: Iterable[tuple[str, Label]]) -> WordEvidence:
        """Count each term once a text.

        Args:
            texts: Texts with what their words say.
        """
        held: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
        sizes: Counter[str] = Counter()
        for text, label in texts:
            sizes[label] += 1
            held[label].update({term.key for term in _terms(text)})
        whole = sum(held.values(), Counter())
        for key, n in whole.items():
            if n >= LEAST_TEXTS:
                self.odds_[key] = tuple(
                    _log_odds(held[c][key], sizes[c], n - held[c][key], sizes.total() - sizes[c]) for c in LABELS
                )
        return self

    def cues(self, text: str, label: Label, most: int = MOST_CUES) -> tuple[str, ...]:
        """The words and pairs of words in a text that speak most for a label, as they stand there, strongest first.

        None overlap; handles, links and words that speak for little are none. Neutral words have none: in them, nothing
        stands out.

        Args:
            text: A post's words.
            label: What they say.
            most: How many there are at the most.
        """
        if label == "neutral":
            return ()
        place = LABELS.index(label)
        found = [(self.odds_[term.key][place], term) for term in _terms(text) if term.key in self.odds_]
        taken: list[_Term] = []
        for odds, term in sorted(found, key=lambda each: (-each[0], each[1].start)):
            if odds < LEAST_EVIDENCE or len(taken) == most:
                break
            apart = all(term.end <= other.start or other.end <= term.start for other in taken)
            new = all(term.key != other.key for other in taken)
            if apart and new and term.end - term.start <= CUE_CHARACTERS:
                taken.append(term)
        return tuple(text[term.start : term.end] for term in taken)


def _terms(text: str) -> Iterator[_Term]:
    """Words that are no little ones, and pairs of words that stand side by side."""
    last: re.Match[str] | None = None
    for match in _TOKEN.finditer(text):
        if match["masked"]:
            last = None
            continue
        here = match[0].lower()
        if here not in _LITTLE:
            yield _Term(match.start(), match.end(), here)
        if last is not None and text[last.end() : match.start()] == " ":
            before = last[0].lower()
            if before not in _LITTLE and here not in _LITTLE:
                yield _Term(last.start(), match.end(), f"{before} {here}")
        last = match


def _log_odds(inside: int, size: int, outside: int, rest: int) -> float:
    """How surely a term speaks for a label: log of its odds in the label's texts over those in the others.

    A standard error is taken off it. Half a text is added to each count (Haldane 1956, Anscombe 1956).
    """
    cells = [n + 0.5 for n in (inside, size - inside, outside, rest - outside)]
    odds = math.log(cells[0] / cells[1]) - math.log(cells[2] / cells[3])
    return odds - math.sqrt(sum(1 / n for n in cells))
