"""One entry → the plain values the page's script draws, and its line of the CSV export. Knows nothing of HTML.

What can be decided here is: the script only shows, filters and sorts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import ceil, isfinite
from typing import Any

from ...types import LABELS, Analysis, Explanation, Prediction, Verdict, WordEffect
from ..compose import STANDS
from ..regions import place
from ..telling import told
from .entries import Entry
from .periods import moment

__all__ = ["CSV_COLUMNS", "chips", "csv_line", "flags", "pieces", "queue_key", "record"]

MARKED = 0.5
"""P(sarcastic), and conflict, from which a post is marked, whatever the router made of it."""
WEAK = 0.005
"""Words and regions of a smaller effect are not marked: half a point of probability."""
FULL = 0.1
"""The strongest word of a post is shaded in full from this effect; in a post of weak words none is."""
MOST_CHIPS = 3
LEVELS = 4
"""Strengths of shading."""

CSV_COLUMNS = (
    "line",
    "id",
    "time",
    "group",
    "target",
    "text",
    "given_label",
    "label",
    *LABELS,
    "confidence",
    "text_label",
    "image_label",
    "sarcasm",
    "emotion",
    "conflict",
    "decision",
    "answered_by",
    "reasons",
    "p_error",
    "prediction_set",
    "needs_review",
    "explanation",
    "rationale_written_by_model",
    "warnings",
)
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")

Piece = list[Any]
"""`[text]`, or `[text, level, effect]` of a word, level from -LEVELS (speaks against) to LEVELS (speaks for)."""


def record(entry: Entry) -> dict[str, Any]:
    """The values of one post as JSON holds them. A key is missing where there is nothing to show."""
    sample, analysis = entry.sample, entry.analysis
    evidence, route = analysis.explanation, analysis.route
    when = moment(sample.time)
    values = {
        "line": entry.line,
        "id": analysis.id,
        "text": pieces(sample.text, evidence.words if evidence is not None else None),
        "picture": entry.picture,
        "time": sample.time,
        "when": None if when is None else when.timestamp(),
        "group": sample.group,
        "target": sample.target,
        "given": sample.label,
        "label": analysis.sentiment.label,
        "confidence": _short(analysis.sentiment.confidence),
        "bars": _bars(analysis),
        "sarcasm": _short(analysis.sarcasm),
        "emotion": analysis.emotion.label if analysis.emotion is not None else None,
        "conflict": _short(analysis.conflict),
        "flags": flags(entry),
        "chips": chips(entry),
        "decision": route.decision,
        "answered_by": route.answered_by,
        "reasons": list(route.reasons),
        "p_error": _short(route.p_error),
        "queue": _short(queue_key(analysis)),
        "set": analysis.prediction_set,
        "evidence": None if evidence is None else _evidence(evidence),
        "verdict": None if analysis.verdict is None else _verdict(analysis.verdict),
        "rationale": analysis.rationale,
        "warnings": list(analysis.warnings),
        "row": _row(entry),
        "csv": csv_line(_cells(entry)),
    }
    return _filled(values)


def queue_key(analysis: Analysis) -> float:
    """How soon an analyst should read a post: P(error), or what is missing to full confidence where it is unknown."""
    p_error = analysis.route.p_error
    return 1 - analysis.sentiment.confidence if p_error is None else p_error


def flags(entry: Entry) -> list[str]:
    """What a post is marked with: `sarcasm`, `conflict`, `needs review`, `differs` (from the label given with it)."""
    analysis = entry.analysis
    marks = {
        "sarcasm": "sarcasm" in analysis.route.reasons or (analysis.sarcasm or 0) >= MARKED,
        "conflict": "conflict" in analysis.route.reasons or (analysis.conflict or 0) >= MARKED,
        "needs review": bool(analysis.needs_review),
        "differs": entry.sample.label is not None and entry.sample.label != analysis.sentiment.label,
    }
    return [name for name, is_so in marks.items() if is_so]


def chips(entry: Entry) -> list[list[str]]:
    """What stands on a post at first sight, at most three: `[kind, words]`. What a reason says, no flag says again."""
    route, marks = entry.analysis.route, flags(entry)
    figures = {"sarcasm": entry.analysis.sarcasm, "conflict": entry.analysis.conflict}
    found = [["flag", f"given as {entry.sample.label}"]] if "differs" in marks else []
    if route.decision == "defer":
        found.append(["route", f"deferred: {', '.join(route.reasons).replace('_', ' ')}"])
    for name, figure in figures.items():
        if name in marks and name not in route.reasons:
            found.append(["flag", f"{name} {figure or 0:.0%}"])
    return found[:MOST_CHIPS]


def _row(entry: Entry) -> dict[str, Any]:
    """The post as a row to label: what `review import` and `adapter train` read, but for the label."""
    sample = entry.sample
    row = {"id": entry.analysis.id, "text": sample.text, "image": entry.source, "target": sample.target}
    return _filled({**row, "time": sample.time, "group": sample.group, "chosen": "doubt"})


def pieces(text: str | None, words: Sequence[WordEffect] | None) -> list[Piece] | None:
    """A text cut where the words worth telling begin and end (see `telling`): joined pieces are the text.

    None where there is no text. A script counts characters otherwise than Python does, so the cuts are made here. Words
    that overlap an earlier one, or do not stand at their place in the text, are left unshaded.
    """
    if text is None:
        return None
    marked: list[WordEffect] = []
    for word in sorted(told(words or ()), key=lambda word: (word.start, -word.end)):
        stands = word.word and text[word.start : word.end] == word.word
        if stands and (not marked or marked[-1].end <= word.start):
            marked.append(word)
    top = max([FULL, *(abs(word.effect) for word in marked)])
    cut: list[Piece] = []
    place = 0
    for word in marked:
        cut.append([text[place : word.start]])
        excerpt = text[word.start : word.end]
        cut.append([excerpt, _level(word.effect, top), _short(word.effect)])
        place = word.end
    cut.append([text[place:]])
    return [piece for piece in cut if piece[0]]


def csv_line(cells: Sequence[object]) -> str:
    """One line of CSV without its end. A text that a spreadsheet could take for a formula gets an apostrophe before.

    Every text is quoted, since some spreadsheets also cut at semicolons and tabs.
    """
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="").writerow([_guarded(cell) for cell in cells])
    return out.getvalue()


def _guarded(cell: object) -> object:
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        text = "" if cell is None else str(cell)
        return "'" + text if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text
    return cell


def _cells(entry: Entry) -> list[object]:
    sample, analysis = entry.sample, entry.analysis
    sides = [p.label if p is not None else None for p in (analysis.text_sentiment, analysis.image_sentiment)]
    review = None if analysis.needs_review is None else str(analysis.needs_review).lower()
    return [
        entry.line,
        analysis.id,
        sample.time,
        sample.group,
        sample.target,
        sample.text,
        sample.label,
        analysis.sentiment.label,
        *(_short(analysis.sentiment.probabilities[label]) for label in LABELS),
        _short(analysis.sentiment.confidence),
        *sides,
        _short(analysis.sarcasm),
        analysis.emotion.label if analysis.emotion is not None else None,
        _short(analysis.conflict),
        analysis.route.decision,
        analysis.route.answered_by,
        " ".join(analysis.route.reasons),
        _short(analysis.route.p_error),
        " ".join(analysis.prediction_set or ()),
        review,
        analysis.explanation.text if analysis.explanation is not None else None,
        analysis.rationale,
        "; ".join(analysis.warnings),
    ]


def _bars(analysis: Analysis) -> list[dict[str, Any]]:
    """Who says what: the answer, the fast tier, each side by itself, the reasoner; in `LABELS`' order."""
    judgements: list[tuple[str, Prediction | Verdict | None]] = [
        ("answer", analysis.sentiment),
        ("fast tier", analysis.fast if analysis.route.verdict in ("pooled", "alone") else None),
        ("words alone", analysis.text_sentiment),
        ("picture alone", analysis.image_sentiment),
        ("reasoner", analysis.verdict),
    ]
    return [
        {"who": who, "label": p.label, "p": [_short(p.probabilities[label]) for label in LABELS]}
        for who, p in judgements
        if p is not None
    ]


def _evidence(evidence: Explanation) -> dict[str, Any]:
    regions_of_note = [region for region in evidence.regions or () if abs(region.effect) >= WEAK]
    regions = [[*(_short(v) for v in (r.left, r.top, r.right, r.bottom, r.effect)), place(r)] for r in regions_of_note]
    return _filled(
        {
            "text": evidence.text.replace(STANDS, ""),
            "label": evidence.label,
            "baseline": _short(evidence.baseline),
            "shares": {side: _short(share) for side, share in evidence.shares.items()},
            "heat": _heat(evidence.heat_map),
            "regions": regions,
        }
    )


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return _filled(
        {
            "label": verdict.label,
            "reasoner": verdict.reasoner,
            "adapter": verdict.adapter,
            "prompt": verdict.prompt,
            "sarcasm": _short(verdict.sarcasm),
            "text_says": verdict.text_says,
            "picture_says": verdict.picture_says,
            "cues": [[cue.side, cue.text] for cue in verdict.cues],
        }
    )


def _heat(cells: Sequence[Sequence[float]] | None) -> list[list[float]] | None:
    """Cells in [-1, 1], as shares of the strongest one; None where the rows make no rectangle or all cells are 0."""
    top = max((abs(v) for row in cells or () for v in row if isfinite(v)), default=0.0)
    if not cells or not top or any(len(a) != len(b) for a, b in pairwise(cells)):
        return None
    return [[round(v / top, 2) if isfinite(v) else 0.0 for v in row] for row in cells]


def _level(effect: float, top: float) -> int:
    if abs(effect) < WEAK:
        return 0
    return ceil(LEVELS * abs(effect) / top) * (1 if effect > 0 else -1)


def _short(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else round(value, 4)


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != [] and value != ""}
