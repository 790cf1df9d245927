"""An answer as one row of plain values: what tables and data frames hold of it. It knows no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from .results import Analysis
from .words import LABELS

__all__ = ["ANSWER_COLUMNS", "NUMBERS", "Cell", "flat_answer"]

Cell: TypeAlias = "str | float | bool | None"

ANSWER_COLUMNS: Mapping[str, type[str] | type[float] | type[bool]] = {
    "id": str,
    "label": str,
    "confidence": float,
    **dict.fromkeys(LABELS, float),
    "sarcasm": float,
    "emotion": str,
    "emotion_confidence": float,
    "text_label": str,
    "image_label": str,
    "conflict": float,
    "decision": str,
    "reasons": str,
    "p_error": float,
    "needs_review": bool,
    "answered_by": str,
    "rationale": str,
    "model": str,
    "warnings": str,
}
"""The columns of a flat answer in their order, and what they hold where they are not empty."""
NUMBERS = tuple(column for column, kind in ANSWER_COLUMNS.items() if kind is float)
"""Those of them that hold numbers."""


def flat_answer(answer: Analysis) -> dict[str, Cell]:
    """An answer in flat columns; several values of one column are joined by `; `."""
    row: dict[str, Cell] = {"id": answer.id, "label": answer.sentiment.label, "confidence": answer.sentiment.confidence}
    row |= {label: answer.sentiment.probabilities[label] for label in LABELS}
    emotion, words, picture = answer.emotion, answer.text_sentiment, answer.image_sentiment
    return row | {
        "sarcasm": answer.sarcasm,
        "emotion": None if emotion is None else emotion.label,
        "emotion_confidence": None if emotion is None else emotion.confidence,
        "text_label": None if words is None else words.label,
        "image_label": None if picture is None else picture.label,
        "conflict": answer.conflict,
        "decision": answer.route.decision,
        "reasons": "; ".join(answer.route.reasons),
        "p_error": answer.route.p_error,
        "needs_review": answer.needs_review,
        "answered_by": answer.route.answered_by,
        "rationale": answer.rationale,
        "model": answer.provenance.model,
        "warnings": "; ".join(answer.warnings),
    }
