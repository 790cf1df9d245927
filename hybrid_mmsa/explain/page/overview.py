"""The part of the page that stands still: summary, trends, rows that failed. As HTML, without a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

from ...metrics import Interval, wilson
from ...types import LABELS, Label, RowError
from .charts import group_chart, time_chart
from .tally import Part, Tally, Trend

__all__ = ["FAILURES_LISTED", "failures", "summary", "trends"]

FAILURES_LISTED = 200
MANY = 100
"""Posts from which charts are open at first sight."""


def summary(tally: Tally, failed: int) -> str:
    """Cards: how many posts, of which label, and with which marks."""
    cards = [_card("posts", f"{tally.n:,}", _failed(failed) if failed else "no row failed")]
    if not tally.n:
        return cards[0]
    for label in LABELS:
        share = wilson(tally.labels[label], tally.n)
        cards.append(
            _card(label, _percent(share.value), f"{_counted(tally.labels[label], 'post')} {_interval(share)}", label)
        )
    marks = {"deferred": "deferred", "sarcasm": "sarcastic", "conflict": "in conflict"}
    if tally.marks["asked for review"]:
        marks["needs review"] = "to be reviewed"
    if tally.marks["differs"]:
        marks["differs"] = "unlike their label"
    for mark, title in marks.items():
        share = wilson(tally.marks[mark], tally.n)
        cards.append(_card(title, f"{tally.marks[mark]:,}", f"{_percent(share.value)} {_interval(share)}"))
    return "".join(cards)


def trends(tally: Tally) -> str:
    """Charts over time and by group, each with its table; nothing where posts carry neither.

    Folded where posts are few: a share of a handful says little.
    """
    time, groups = tally.over_time(), tally.over_groups()
    blocks = []
    if time.parts:
        blocks.append(_trend(f"Over time, by {time.unit}", time, time_chart, "earlier", "time that can be read"))
    if groups.parts:
        blocks.append(_trend("By group", groups, group_chart, "in smaller groups", "group"))
    if not blocks:
        return ""
    unfolded = " open" if tally.n >= MANY else ""
    return f"<details{unfolded}><summary><h2>Trends</h2></summary>{''.join(blocks)}</details>"


def failures(rows: Sequence[RowError], failed: int) -> str:
    """The rows that could not be analysed; nothing where there are none."""
    if not failed:
        return ""
    lines = [[f"{row.line:,}", row.id or "", row.field or "", row.error] for row in rows]
    more = f'<p class="soft">and {failed - len(rows):,} more</p>' if failed > len(rows) else ""
    table = _table("Rows that could not be analysed", ["line", "id", "field", "cause"], lines)
    return f'<section id="failed"><details><summary>{_failed(failed)}</summary>{table}{more}</details></section>'


def _failed(failed: int) -> str:
    return f"{_counted(failed, 'row')} failed"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("s" if number != 1 else "")


def _card(name: str, figure: str, note: str, kind: str = "") -> str:
    return f'<div class="card {kind}">{escape(name)}<b>{figure}</b><span class="soft">{note}</span></div>'


def _trend(title: str, trend: Trend, draw: Callable[[Label, int, Sequence[Part]], str], rest: str, what: str) -> str:
    figures = "".join(
        f"<figure><figcaption>{label}</figcaption>{draw(label, k, trend.parts)}</figure>"
        for k, label in enumerate(LABELS)
    )
    full = [part for part in trend.parts if part.n]
    rows = [[part.name, f"{part.n:,}", *(_cell(part.share(k)) for k in range(len(LABELS)))] for part in full]
    notes = []
    if trend.left_out:
        notes.append(f"{trend.left_out:,} posts are {rest} and not drawn")
    if trend.unknown:
        notes.append(f"{trend.unknown:,} posts have no {what}")
    note = f'<p class="soft">{"; ".join(notes)}.</p>' if notes else ""
    table = _table(f"Share of each label, {title.lower()}", [trend.unit or "group", "posts", *LABELS], rows)
    return (
        f'<h3>{escape(title)}</h3>{note}<div class="charts">{figures}</div>'
        f"<details><summary>The same as a table</summary>{table}</details>"
    )


def _cell(share: Interval | None) -> str:
    return "–" if share is None else f"{_percent(share.value)} {_interval(share)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(share: Interval) -> str:
    return f"[{100 * share.low:.1f},\u00a0{100 * share.high:.1f}]"


def _table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    name = escape(caption)
    titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td><bdi>{escape(cell)}</bdi></td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" role="region" aria-label="{name}" tabindex="0"><table><caption>{name}</caption>'
        f"<thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
