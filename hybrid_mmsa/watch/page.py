"""What a watch knows, as a page that a browser keeps current: shares by group, alerts, counts. It decides nothing."""

from __future__ import annotations

from html import escape

from ..explain.document import document
from ..explain.svg import Frame, circle, drawing, polyline, text
from ..metrics import wilson
from .alerts import Alert
from .store import Counts, Store
from .watching import ALL, iso

__all__ = ["SHOWN", "watch_page"]

SHOWN = 30
"""Groups on a page, those of most posts."""
WINDOWS = 168
"""Windows that a chart shows."""
_STYLE = """
body{max-width:60rem}table{width:100%}td.n{text-align:right}svg{max-width:22rem;margin:0;font-size:9px}
svg text{fill:var(--soft)}.share{fill:none;stroke:var(--negative);stroke-width:1.5}.axis{stroke:var(--rule)}
.alert{fill:var(--negative)}
"""


def watch_page(store: Store, *, refresh: int = 30, title: str = "Watch") -> str:
    """One HTML document without scripts or foreign files.

    Args:
        store: What was counted.
        refresh: Seconds after which a browser loads it again.
        title: Its heading.
    """
    alerts = store.alerts()
    groups = store.groups()
    rows = "".join(_row(group, list(store.windows(group))[-WINDOWS:], alerts) for group in groups[:SHOWN])
    others = f"<p class=soft>{len(groups) - SHOWN:,} more groups are not shown.</p>" if len(groups) > SHOWN else ""
    lines = "".join(f"<li><b>{escape(alert.time)}</b> {escape(alert.text)}</li>" for alert in alerts)
    counted = "".join(f"<tr><td>{escape(name)}<td class=n>{n:,}" for name, n in store.tallies().items())
    alarms = f"<ul>{lines}</ul>" if alerts else "<p class=soft>None.</p>"
    shown = (
        f"<h1>{escape(title)}</h1><h2>Alerts</h2>{alarms}<h2>Negative posts by group</h2>"
        f"<table><tr><th>group<th>posts<th>last window<th>course</tr>{rows}</table>{others}"
        f"<h2>Counted</h2><table>{counted}</table>"
    )
    return document(title, shown, style=_STYLE, refresh=refresh)


def _row(group: str, windows: list[tuple[str, int, Counts]], alerts: list[Alert]) -> str:
    name = "all posts" if group == ALL else group
    posts = sum(counts.posts for _, _, counts in windows)
    last = windows[-1][2]
    share = wilson(last.negative, last.posts)
    now = f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
    return f"<tr><td>{escape(name)}<td class=n>{posts:,}<td>{now}<td>{_course(name, windows, alerts, group)}</tr>"


def _course(name: str, windows: list[tuple[str, int, Counts]], alerts: list[Alert], group: str) -> str:
    frame = Frame(left=30, top=6, width=320, height=60)
    first, last = windows[0][1], windows[-1][1]
    span = max(last - first, 1)
    marks = [frame.line((0, level), (1, level), "axis") for level in (0, 1)]
    marks += [text(26, frame.y(level) + 3, f"{level:.0%}", anchor="end") for level in (0, 1)]
    points = [(frame.x((start - first) / span), frame.y(c.negative / c.posts)) for _, start, c in windows]
    marks.append(polyline(points, "share"))
    places = {iso(start): point for point, (_, start, _) in zip(points, windows, strict=True)}
    for alert in alerts:
        if (alert.group, alert.measure) == (group, "negative") and alert.since in places:
            marks.append(circle(*places[alert.since], 3.5, "alert", alert.text))
    return drawing(f"Share of negative posts of {name}, from {iso(first)} to {iso(last)}", 72, marks)
