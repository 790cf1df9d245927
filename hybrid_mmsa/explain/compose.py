"""Numbers → plain English, by fixed rules. Every clause restates a computed value; nothing is invented."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..types import Label, Modality, PictureReading, Prediction, Reason, RouteDecision, Source, WordEffect
from .evidence import Evidence
from .regions import place
from .telling import LEAST_EFFECT, told

__all__ = ["STANDS", "compose", "quote"]

_NAMES: Mapping[Source, str] = {
    "text": "the words",
    "image": "the picture",
    "picture_words": "the words in the picture",
    "faces": "the faces in the picture",
}
_WHY: Mapping[Reason, str] = {
    "low_confidence": "the answer is unsure",
    "sarcasm": "the words may be sarcastic",
    "conflict": "words and picture say different things",
    "novel": "the post is unlike those the model learned from",
    "language": "the words do not look English",
    "requested": "a deep answer was asked for",
}
_HIDDEN = {False: ("word", "words"), True: ("group of words", "groups of words")}
"""What was hidden at a time, one and several of it; by whether neighbours went together."""
STANDS = "; no reasoner is configured, so the fast answer stands"
"""How the account of a deferred post ends where there is nobody to ask."""
MOST_TOLD = 3
LONGEST_QUOTE = 32
_ISOLATE, _END_ISOLATE = "\u2068", "\u2069"


def compose(
    sentiment: Prediction,
    sides: Mapping[Modality, Prediction],
    shares: Mapping[Source, float],
    *,
    sarcasm: float | None,
    route: RouteDecision,
    has_reasoner: bool,
    target: str | None = None,
    evidence: Evidence | None = None,
    picture: PictureReading | None = None,
) -> str:
    """A short account of the fast tier's answer.

    Args:
        sentiment: The fast tier's answer.
        sides: What each side present says by itself.
        shares: Shapley value of each source for the answer's label.
        sarcasm: P(sarcastic), where there are words.
        route: The decision and its reasons.
        has_reasoner: Whether a reasoner is configured.
        target: Whose sentiment was asked for, if anyone's.
        evidence: What hiding words and regions showed, where it was looked for.
        picture: What the senses read in the picture, where any were asked for.
    """
    about = f" about {quote(target)}" if target else ""
    # Where a reasoner speaks too, the reader must know whose answer this is.
    speaker = "The fast tier says " if has_reasoner and route.decision == "defer" else ""
    sentences = [_sentence(f"{speaker}{sentiment.label}{about} ({sentiment.confidence:.0%}).")]
    sentences.append(_sides(sides, shares, about_target=bool(target)))
    if picture is not None:
        sentences += [*_picture_words(picture, shares), *_faces(picture, sides.get("text"), shares)]
    if evidence is not None:
        sentences += [*_words(evidence), *_regions(evidence)]
    if sarcasm is not None and "sarcasm" in route.reasons:
        sentences.append(f"The words may be sarcastic ({sarcasm:.0%}){_mocking(evidence)}.")
    if evidence is not None:
        sentences += _alternatives(sentiment, sides, evidence)
    if route.decision == "defer":
        why = " and ".join(_WHY[reason] for reason in route.reasons)
        if has_reasoner:
            sentences.append(f"This post was deferred to a reasoner, because {why}.")
        else:
            sentences.append(f"This post should be read again, because {why}{STANDS}.")
    return " ".join(sentences)


def quote(words: str) -> str:
    """Words of a post in quotation marks: shortened, with no mark that ends the quotation before its end.

    Words written from right to left are isolated, so that they do not turn the sentence around them.
    """
    excerpt = words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1].rstrip() + "…"
    excerpt = "".join("'" if c in '"“”„‟«»＂' else c for c in excerpt)
    if any(unicodedata.bidirectional(c) in {"R", "AL", "AN"} for c in excerpt):
        excerpt = f"{_ISOLATE}{excerpt}{_END_ISOLATE}"
    return f'"{excerpt}"'


def _sides(sides: Mapping[Modality, Prediction], shares: Mapping[Source, float], *, about_target: bool) -> str:
    clauses = [
        f"{_NAMES[side]} say{'s' if side == 'image' else ''} {p.label} ({p.confidence:.0%})"
        for side, p in sides.items()
    ]
    if len(clauses) == 1:
        only = "there is no picture" if "text" in sides else "there are no words"
        return f"{_sentence(clauses[0])}; {only}."
    labels = {p.label for p in sides.values()}
    join = "and" if len(labels) == 1 else "but"
    return f"{_sentence(clauses[0])}, {join} {clauses[1]}; {_weights(shares, about_target=about_target)}."


def _weights(shares: Mapping[Source, float], *, about_target: bool) -> str:
    """Which of the sources moved the answer most."""
    if about_target:
        return f"only the words count here ({shares['text']:+.2f})"
    strongest = max(shares, key=lambda side: abs(shares[side]))
    against = ", against it" if shares[strongest] < 0 else ""
    return f"{_NAMES[strongest]} weigh{'s' if strongest == 'image' else ''} most{against} ({shares[strongest]:+.2f})"


def _picture_words(picture: PictureReading, shares: Mapping[Source, float]) -> Iterator[str]:
    """What the words in the picture are and say, and by how much they moved the answer."""
    if picture.words:
        words = quote(" ".join(word.text for word in picture.words))
        says = picture.words_sentiment
        meaning = f" and say {says.label} ({says.confidence:.0%})" if says is not None else ""
        weight = f"they count {shares['picture_words']:+.2f}" if "picture_words" in shares else "they do not count"
        yield f"The words in the picture are {words}{meaning}; {weight}."


def _faces(picture: PictureReading, words: Prediction | None, shares: Mapping[Source, float]) -> Iterator[str]:
    """What the faces look like, whether the post's words say the opposite, and by how much they moved the answer."""
    if not picture.faces:
        return
    count, look = len(picture.faces), picture.faces_sentiment
    faces = f"{count} faces in the picture" if count > 1 else "One face in the picture"
    if look is None:
        yield f"There {'are' if count > 1 else 'is'} {faces[0].lower()}{faces[1:]}."
        return
    against = words is not None and {words.label, look.label} == {"negative", "positive"}
    contrary = f", but the words say {words.label}" if words is not None and against else ""
    counts = "it counts" if count == 1 else "they count"
    weight = f"; {counts} {shares['faces']:+.2f}" if "faces" in shares else ""
    yield f"{faces} look{'s' if count == 1 else ''} {look.label} ({look.confidence:.0%}){contrary}{weight}."


def _words(evidence: Evidence) -> list[str]:
    """Which words speak for the answer, and which against it."""
    strong = told(evidence.words or ())
    speaking = [word for word in strong if word.effect > 0]
    opposed = [word for word in strong if word.effect < 0]
    clauses = [f"most for it: {_listed(speaking)}"] if speaking else []
    clauses += [f"most against it: {_listed(opposed)}"] if opposed else []
    if clauses:
        return [_sentence(f"{'; '.join(clauses)}.")]
    return [f"No {_HIDDEN[evidence.grouped][0]} makes much of a difference by itself."] if evidence.words else []


def _listed(effects: Iterable[WordEffect]) -> str:
    """Words with their effects, each word once."""
    first: dict[str, float] = {}
    for word in effects:
        first.setdefault(quote(word.word), word.effect)
    return _joined([f"{quoted} ({effect:+.2f})" for quoted, effect in list(first.items())[:MOST_TOLD]])


def _regions(evidence: Evidence) -> list[str]:
    strong = [region for region in evidence.regions or () if region.effect >= LEAST_EFFECT]
    if not strong:
        return []
    return [f"In the picture, {place(strong[0])} speaks most for it ({strong[0].effect:+.2f})."]


def _mocking(evidence: Evidence | None) -> str:
    effects = evidence.sarcasm_words if evidence is not None else None
    words = told(effects or (), LEAST_EFFECT)
    alone = len({word.word for word in words}) == 1
    return f"; {_listed(words)} raise{'s' if alone else ''} that most" if words else ""


def _alternatives(sentiment: Prediction, sides: Mapping[Modality, Prediction], evidence: Evidence) -> list[str]:
    """Why not the runner-up, and what would change the answer."""
    ranked = sorted(sentiment.probabilities, key=lambda label: -sentiment.probabilities[label])
    second = next(label for label in ranked if label != sentiment.label)
    runner_up = f"{_sentence(second)} came second ({sentiment.probabilities[second]:.0%})"
    agreeing = [f"{_NAMES[side]} say{'s' if side == 'image' else ''}" for side, p in sides.items() if p.label == second]
    runner_up += f"; it is what {' and '.join(agreeing)}." if agreeing else "."
    if not evidence.changes:
        tried = [*[_HIDDEN[evidence.grouped][1]] * bool(evidence.words), *["regions"] * bool(evidence.regions)]
        return [runner_up, f"None of the {' or '.join(tried)} tried decides it alone."] if tried else [runner_up]
    without: dict[Label, list[str]] = {}
    for change in evidence.changes:
        parts = without.setdefault(change.label, [])
        what = quote(change.what) if change.side == "text" else change.what
        parts += [] if what in parts else [what]
    labels_by_picture = {change.label for change in evidence.changes if change.side == "image"}
    clauses = [
        # Regions come behind the words.
        f"without {_joined(parts, 'or')}{' of the picture' * (label in labels_by_picture)} the answer would be {label}"
        for label, parts in without.items()
    ]
    return [runner_up, _sentence(f"{'; '.join(clauses)}.")]


def _joined(parts: Sequence[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}" if parts else ""


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:]
