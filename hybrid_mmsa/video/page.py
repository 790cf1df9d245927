"""A timeline → a page with the player, the curve and what was said. It finds nothing out.

Nothing on the page comes from elsewhere but the film, which lies beside it. What was said is shown as text, never as
HTML.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate
from pathlib import Path
from string import Template
from urllib.parse import quote

from ..explain.document import document
from ..explain.svg import WIDTH, Frame, drawing, polyline, rectangle, text
from ..types import SpokenWord
from .timeline import Curve, Instance, Moment, Segment, Timeline

__all__ = ["TITLES", "timeline_page"]

TITLES = {
    "negative": "negative",
    "positive": "positive",
    "words_and_face_disagree": "words and face disagree",
    "words_and_picture_disagree": "words and picture disagree",
    "interruption": "interruption",
    "non_talk": "nobody speaks",
}
"""Kinds of moments as people read them."""
HEIGHT, ROW = 110, 9
AREA = Frame(left=30, top=6, width=WIDTH - 36, height=HEIGHT - 24)
_FOLDER = Path(__file__).parent


def timeline_page(timeline: Timeline, film: str | Path, page: str | Path) -> str:
    """One HTML document, to be saved as `page`; it names the film by the way that leads there from it.

    Args:
        timeline: What is shown.
        film: The film's file.
        page: Where the document is going to lie.
    """
    parts = {
        "title": escape(timeline.film.name),
        "player": _player(timeline, film, page),
        "duration": f"{timeline.film.duration:.3f}",
        "chart": _chart(timeline),
        "left": f"{AREA.left / WIDTH:.5f}",
        "width": f"{AREA.width / WIDTH:.5f}",
        "moments": "".join(_moment(moment) for moment in timeline.moments) or "<p class=soft>None.</p>",
        "talk": _talk(timeline),
        "notes": "".join(f"<p class=warning>{escape(note)}</p>" for note in _notes(timeline)),
        "segments": "".join(_segment(place, segment) for place, segment in enumerate(timeline.segments)),
    }
    body = Template(_read("page.html")).substitute(parts)
    films = ["media-src 'self' file:"]
    return document(timeline.film.name, body, style=_read("page.css"), script=_read("page.js"), sources=films)


def _player(timeline: Timeline, film: str | Path, page: str | Path) -> str:
    way = os.path.relpath(Path(film).resolve(), Path(page).resolve().parent)
    source = escape(quote(Path(way).as_posix()))
    tag = "audio" if timeline.film.width is None else "video"
    return f'<{tag} id="player" controls preload="metadata" src="{source}"></{tag}>'


def _chart(timeline: Timeline) -> str:
    """The curves, with the moments as bars below them."""
    end = max(timeline.film.duration, 1e-3)
    rows = HEIGHT + ROW * len(timeline.moments)
    marks = [AREA.line((0, level), (1, level), "axis") for level in (0, 0.5, 1)]
    marks += [
        text(AREA.left - 4, AREA.y(level) + 3, sign, anchor="end") for level, sign in ((0, "−1"), (0.5, "0"), (1, "+1"))
    ]
    marks += [AREA.line((scene / end, 0), (scene / end, 0.04), "scene") for scene in timeline.scenes if scene <= end]
    marks += [_curve(curve, end) for curve in timeline.curves]
    for row, moment in enumerate(timeline.moments):
        y = HEIGHT - 14 + ROW * row
        marks += [_bar(instance, moment, y, end) for instance in moment.instances]
    anchors = ("start", "middle", "middle", "middle", "end")
    marks += [
        text(AREA.x(tick / 4), rows - 2, _clock(tick / 4 * end), anchor=anchor) for tick, anchor in enumerate(anchors)
    ]
    return drawing(f"Valence over time, from 0 to {_clock(end)}, and the moments below", rows, marks)


def _curve(curve: Curve, end: float) -> str:
    points = [(AREA.x(min(point.time / end, 1)), AREA.y((point.valence + 1) / 2)) for point in curve.points]
    return polyline(points, f"curve {curve.role or 'all'}", curve.role or "all together")


def _bar(instance: Instance, moment: Moment, y: float, end: float) -> str:
    left, right = (AREA.x(min(time / end, 1)) for time in (instance.start, instance.end))
    tip = f"{_title(moment)}, {_clock(instance.start)} to {_clock(instance.end)}"
    return rectangle(left, y, max(right - left, 1.5), ROW - 3, f"bar {moment.kind}", tip)


def _moment(moment: Moment) -> str:
    times = "".join(
        f'<li><button type="button" data-time="{each.start:.3f}">{_clock(each.start)} – {_clock(each.end)}'
        f"{'' if each.score is None else f' <span class=soft>{each.score:.0%}</span>'}</button></li>"
        for each in moment.instances
    )
    return f'<section class="moment {moment.kind}"><h3>{escape(_title(moment))}</h3><ul>{times}</ul></section>'


def _title(moment: Moment) -> str:
    return TITLES[moment.kind] + (f", {moment.role}" if moment.role else "")


def _talk(timeline: Timeline) -> str:
    """Who talks for how long, as a table; nothing without a transcript."""
    known = timeline.talk
    if known is None:
        return ""
    rows = "".join(
        f"<tr><th scope=row>{escape(who)}<td>{_clock(seconds)}<td>{known.words_per_minute.get(who, 0):.0f}"
        f"<td>{known.interruptions.get(who, 0)}</tr>"
        for who, seconds in known.talk_seconds.items()
    )
    return (
        "<table><caption>Who talks; nobody for "
        f"{_clock(known.non_talk_seconds)}</caption><thead><tr><th scope=col>speaker<th scope=col>talks"
        f"<th scope=col>words a minute<th scope=col>interrupts</tr></thead><tbody>{rows}</tbody></table>"
    )


def _notes(timeline: Timeline) -> Iterator[str]:
    yield from timeline.warnings
    if timeline.errors:
        first = timeline.errors[0]
        many = len(timeline.errors)
        unused = f"{many:,} parts of the transcript were" if many > 1 else "1 part of the transcript was"
        yield f"{unused} not used; line {first.line}: {first.error}"


def _segment(place: int, segment: Segment) -> str:
    """A segment; its button moves the player to it, its words to themselves."""
    label = "" if segment.analysis is None else segment.analysis.sentiment.label
    sure = "" if segment.analysis is None else f" {segment.analysis.sentiment.confidence:.0%}"
    who = segment.speaker or segment.role or ("" if segment.text is None else "unknown")
    face = "" if segment.face_sentiment is None else f' <span class="chip">face: {segment.face_sentiment.label}</span>'
    body = '<span class="soft">(nobody speaks)</span>' if segment.text is None else _words(segment)
    failed = f'<p class="warning">{escape(segment.error)}</p>' if segment.error else ""
    time = f"{segment.start:.3f}"
    chip = f'<span class="chip {label}">{label or "no answer"}{sure}</span>'
    return (
        f'<li class="segment {label}" data-start="{time}" data-end="{segment.end:.3f}">'
        f'<button type="button" data-time="{time}" aria-describedby="s{place}">{_clock(segment.start)}</button>'
        f'<div><p class="soft"><bdi>{escape(who)}</bdi> {chip}{face}</p>'
        f'<p class="said" id="s{place}" dir="auto">{body}</p>{failed}</div></li>'
    )


def _words(segment: Segment) -> str:
    words = segment.words or _spread(segment)
    return " ".join(f'<span data-time="{word.start:.3f}">{escape(word.text)}</span>' for word in words)


def _spread(segment: Segment) -> Sequence[SpokenWord]:
    """Words whose times are not known, spread over their segment by their letters."""
    words = (segment.text or "").split()
    ends = [*accumulate(len(word) + 1 for word in words)]
    length = segment.end - segment.start
    times = [segment.start, *(segment.start + length * end / ends[-1] for end in ends)]
    return [
        SpokenWord(text=word, start=begin, end=max(until, begin))
        for word, begin, until in zip(words, times, times[1:], strict=False)
    ]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
