"""Numbers → plain English, by fixed rules. Every clause restates a computed value; nothing is invented."""

from __future__ import annotations

from collections.abc import Mapping

from ..types import Modality, Prediction, Reason, RouteDecision

__all__ = ["compose"]

_NAMES: Mapping[Modality, str] = {"text": "the words", "image": "the picture"}
_WHY: Mapping[Reason, str] = {
    "low_confidence": "the answer is unsure",
    "sarcasm": "the words may be sarcastic",
    "conflict": "words and picture say different things",
    "novel": "the post is unlike those the model learned from",
    "requested": "a deep answer was asked for",
}


def compose(
    sentiment: Prediction,
    sides: Mapping[Modality, Prediction],
    shares: Mapping[Modality, float],
    *,
    sarcasm: float | None,
    route: RouteDecision,
    has_reasoner: bool,
    target: str | None = None,
) -> str:
    """A short account of the fast tier's answer.

    Args:
        sentiment: The fast tier's answer.
        sides: What each side present says by itself.
        shares: Shapley value of each side for the answer's label.
        sarcasm: P(sarcastic), where there are words.
        route: The decision and its reasons.
        has_reasoner: Whether a reasoner is configured.
        target: Whose sentiment was asked for, if anyone's.
    """
    about = f" about {target}" if target else ""
    # Where a reasoner speaks too, the reader must know whose answer this is.
    speaker = "The fast tier says " if has_reasoner and route.decision == "defer" else ""
    sentences = [_sentence(f"{speaker}{sentiment.label}{about} ({sentiment.confidence:.0%}).")]
    sentences.append(_sides(sides, shares))
    if sarcasm is not None and "sarcasm" in route.reasons:
        sentences.append(f"The words may be sarcastic ({sarcasm:.0%}).")
    if route.decision == "defer":
        why = " and ".join(_WHY[reason] for reason in route.reasons)
        if has_reasoner:
            sentences.append(f"This post was deferred to a reasoner, because {why}.")
        else:
            stands = "no reasoner is configured, so the fast answer stands"
            sentences.append(f"This post should be read again, because {why}; {stands}.")
    return " ".join(sentences)


def _sides(sides: Mapping[Modality, Prediction], shares: Mapping[Modality, float]) -> str:
    said = [
        f"{_NAMES[side]} say{'s' if side == 'image' else ''} {p.label} ({p.confidence:.0%})"
        for side, p in sides.items()
    ]
    if len(said) == 1:
        only = "there is no picture" if "text" in sides else "there are no words"
        return f"{_sentence(said[0])}; {only}."
    labels = {p.label for p in sides.values()}
    join = "and" if len(labels) == 1 else "but"
    strongest = max(shares, key=lambda side: abs(shares[side]))
    moved = f"{_NAMES[strongest]} weigh{'s' if strongest == 'image' else ''} most ({shares[strongest]:+.2f})"
    return f"{_sentence(said[0])}, {join} {said[1]}; {moved}."


def _sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:]
