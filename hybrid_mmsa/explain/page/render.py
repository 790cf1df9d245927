"""Entries → the page as one file. Knows nothing of where it goes.

What posts hold reaches the script as JSON and is shown as text, never as HTML.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from ...types import LABELS, Provenance, RowError
from ..document import document
from .entries import Entry
from .overview import FAILURES_LISTED, failures, summary, trends
from .record import CSV_COLUMNS, csv_line, queue_key, record
from .tally import Tally

__all__ = ["PICTURE_BUDGET", "POSTS_SHOWN", "Page", "render_page", "script_json"]

POSTS_SHOWN = 2000
"""Posts a page lists unless asked otherwise."""
PICTURE_BUDGET = 24_000_000
"""Characters of all thumbnails together; posts further down the queue go without, and the page says so."""

_FOLDER = Path(__file__).parent
_SCRIPTS = ("draw.js", "page.js")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A finished page.

    Attributes:
        html: All of it.
        answered: Posts it counts.
        listed: Posts it lists.
        failed: Rows that could not be analysed.
        failures: The first of those.
    """

    html: str
    answered: int
    listed: int
    failed: int
    failures: tuple[RowError, ...]


def render_page(entries: Iterable[Entry | RowError], title: str, most: int = POSTS_SHOWN) -> Page:
    """The page. All posts are counted; those listed are the `most` that most need to be read, by P(error).

    Args:
        entries: Posts and failed rows; taken one by one, so that only the listed ones are held.
        title: What the posts are, such as the name of their file.
        most: Posts to list, at least 1.
    """
    tally, failed, first_failures = Tally(), 0, []
    queue: list[tuple[float, int, dict[str, Any]]] = []
    provenance: Provenance | None = None
    for number, entry in enumerate(entries):
        if isinstance(entry, RowError):
            failed += 1
            if failed <= FAILURES_LISTED:
                first_failures.append(entry)
            continue
        tally.add(entry)
        provenance = provenance or entry.analysis.provenance
        # The unique number keeps earlier posts first among equals and the values out of the comparison.
        item = (queue_key(entry.analysis), -number, record(entry))
        (heapq.heappush if len(queue) < most else heapq.heappushpop)(queue, item)
    listed = [values for _, _, values in sorted(queue, key=lambda item: item[:2], reverse=True)]
    without = _within_budget(listed)
    trend = trends(tally)
    parts = {
        "title": escape(title),
        "about": escape(" ".join(_about(tally, listed, without, provenance))),
        "summary": summary(tally, failed),
        "trends": trend,
        "jumps": _jumps(bool(trend), failed),
        "failed": failures(first_failures, failed),
        "posts": script_json({"labels": LABELS, "csv": csv_line(CSV_COLUMNS), "posts": listed}),
    }
    return Page(
        html=_filled(title, parts),
        answered=tally.n,
        listed=len(listed),
        failed=failed,
        failures=tuple(first_failures),
    )


def script_json(values: object) -> str:
    """JSON in ASCII that can stand inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _filled(title: str, parts: dict[str, str]) -> str:
    script = "(() => {\n" + "\n".join(_read(name) for name in _SCRIPTS) + "})();\n"
    body = Template(_read("page.html")).substitute(parts)
    return document(title, body, style=_read("page.css"), script=script, sources=["img-src data:"])


def _within_budget(listed: Sequence[dict[str, Any]]) -> int:
    """Drop the pictures that the page has no room for; returns how many."""
    size = without = 0
    for values in listed:
        size += len(values.get("picture", ""))
        if size > PICTURE_BUDGET and values.pop("picture", None):
            values["picture_left_out"] = True
            without += 1
    return without


def _about(
    tally: Tally, listed: Sequence[dict[str, Any]], without: int, provenance: Provenance | None
) -> Iterator[str]:
    """What holds for all posts, each sentence once."""
    if len(listed) < tally.n:
        yield f"The list holds the {len(listed):,} of {tally.n:,} posts that are most likely judged wrongly."
    if tally.marks["nobody asked"]:
        yield "No reasoner was configured: deferred posts keep the fast answer, and a person should read them."
    if without:
        yield f"{without:,} pictures are left out to keep the page small."
    if tally.microseconds["explain"]:
        each, rest = (us / tally.n / 1000 for us in _cost(tally))
        yield f"Finding words and regions took {each:.0f} ms a post, the answers themselves {rest:.0f} ms."
    if provenance is not None:
        model = f"{provenance.model} {provenance.model_hash[:12]}".strip()
        yield f"Answered by hybrid-mmsa {provenance.package}, model {model}."


def _jumps(has_trends: bool, failed: int) -> str:
    """Links to what stands below the list."""
    links = ['<a href="#trends">Trends</a>'] * has_trends + ['<a href="#failed">Failed rows</a>'] * bool(failed)
    return f'<nav class="jumps" aria-label="Below the list">{" ".join(links)}</nav>' if links else ""


def _cost(tally: Tally) -> tuple[int, int]:
    """Microseconds spent on evidence, and on all else."""
    explaining = tally.microseconds["explain"]
    return explaining, tally.microseconds.total() - explaining


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
