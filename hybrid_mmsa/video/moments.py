"""Segments → the moments worth hearing, and who talks how much. It knows answers and times, and no film.

Rules, with the numbers they go by written once below. What is found is meant to be heard by a person, so each rule asks
for sure answers rather than for many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from ..types import Label, Prediction, Role
from .timeline import Instance, Moment, MomentKind, Segment, Talk

__all__ = ["APART", "FELT", "NON_TALK", "OVERLAP", "SURE", "moments", "talk"]

FELT = 0.8
"""The probability from which a feeling is a moment: plain courtesy ("what can I do for you?") stays below."""
SURE = 0.6
"""The probability from which either side of a contradiction counts as sure."""
APART = 3.0
"""Instances of one kind that are less than so many seconds apart are one."""
NON_TALK = 3.0
"""Seconds from which a pause counts: Contact Lens counts silence of more than three seconds."""
OVERLAP = 0.5
"""Seconds that a speaker must go on while another has begun, so that the other interrupts and does not just answer."""
KINDS: tuple[MomentKind, ...] = get_args(MomentKind)
_OPPOSITE: dict[Label, Label] = {"negative": "positive", "positive": "negative"}
_Found = tuple[MomentKind, "Role | None", Instance]


def moments(segments: Sequence[Segment], duration: float) -> tuple[Moment, ...]:
    """Every kind of moment that there is, by kind and role, its instances in order of time.

    Args:
        segments: In the order in which they begin.
        duration: Of the film, in seconds.
    """
    found: dict[tuple[MomentKind, Role | None], list[Instance]] = defaultdict(list)
    for kind, role, instance in (*_felt(segments), *_interruptions(segments), *_pauses(segments, duration)):
        found[kind, role].append(instance)
    order = sorted(found, key=lambda key: (KINDS.index(key[0]), key[1] or ""))
    return tuple(
        Moment(kind=kind, role=role, instances=tuple(_joined(found[kind, role], kind))) for kind, role in order
    )


def talk(segments: Sequence[Segment], duration: float) -> Talk | None:
    """Who talks for how long, how fast, and who interrupts; None where nobody is heard."""
    seconds: dict[str, float] = defaultdict(float)
    words: dict[str, int] = defaultdict(int)
    spoken = [segment for segment in segments if segment.text is not None]
    for segment in spoken:
        who = segment.role or "unknown"
        seconds[who] += segment.end - segment.start
        words[who] += len((segment.text or "").split())
    interruptions: dict[str, int] = defaultdict(int)
    for _, role, _ in _interruptions(segments):
        interruptions[role or "unknown"] += 1
    if not spoken:
        return None
    return Talk(
        talk_seconds={who: round(time, 3) for who, time in seconds.items()},
        words_per_minute={who: round(60 * words[who] / time, 1) for who, time in seconds.items() if time > 0},
        interruptions=dict(interruptions),
        non_talk_seconds=round(sum(pause.end - pause.start for _, _, pause in _pauses(segments, duration)), 3),
    )


def _felt(segments: Sequence[Segment]) -> Iterator[_Found]:
    """Sure feelings, and sure contradictions of what is said and what is seen."""
    for place, segment in enumerate(segments):
        if segment.analysis is None:
            continue
        answer = segment.analysis
        words, picture = answer.text_sentiment, answer.image_sentiment
        # What is said decides, where something is said; a picture alone is a hint and no moment.
        if words is not None and answer.sentiment.label != "neutral" and answer.sentiment.confidence >= FELT:
            yield answer.sentiment.label, segment.role, _instance(segment, place, answer.sentiment.confidence)
        for kind, seen in (("face", segment.face_sentiment), ("picture", picture)):
            if words is not None and seen is not None and _opposed(words, seen):
                score = min(words.confidence, seen.confidence)
                name: MomentKind = "words_and_face_disagree" if kind == "face" else "words_and_picture_disagree"
                yield name, segment.role, _instance(segment, place, score)


def _opposed(one: Prediction, other: Prediction) -> bool:
    """Whether two predictions are sure of opposite labels."""
    return _OPPOSITE.get(one.label) == other.label and min(one.confidence, other.confidence) >= SURE


def _interruptions(segments: Sequence[Segment]) -> Iterator[_Found]:
    """Where somebody begins while another speaks and goes on speaking; the one who begins later interrupts."""
    speaking: dict[tuple[str | None, Role | None], tuple[int, Segment]] = {}  # of each speaker what ends last
    for place, segment in enumerate(segments):
        if segment.text is None:
            continue
        speaking = {who: (other, before) for who, (other, before) in speaking.items() if before.end > segment.start}
        for other, before in speaking.values():
            until = min(before.end, segment.end)
            if _another(before, segment) and before.start < segment.start and until - segment.start >= OVERLAP:
                yield "interruption", segment.role, Instance(start=segment.start, end=until, segments=(place, other))
                break
        who = (segment.speaker, segment.role)
        if who not in speaking or speaking[who][1].end < segment.end:
            speaking[who] = (place, segment)


def _another(one: Segment, other: Segment) -> bool:
    """Whether two segments are known to be of two speakers."""
    if one.speaker is not None and other.speaker is not None:
        return one.speaker != other.speaker
    return one.role is not None and other.role is not None and one.role != other.role


def _pauses(segments: Sequence[Segment], duration: float) -> Iterator[_Found]:
    """Where nobody speaks for long, in a film in which somebody does."""
    spoken = [segment for segment in segments if segment.text is not None]
    heard = 0.0
    for segment in spoken:
        if segment.start - heard > NON_TALK:
            yield "non_talk", None, Instance(start=heard, end=segment.start)
        heard = max(heard, segment.end)
    if spoken and duration - heard > NON_TALK:
        yield "non_talk", None, Instance(start=heard, end=duration)


def _instance(segment: Segment, place: int, score: float) -> Instance:
    return Instance(start=segment.start, end=segment.end, score=score, segments=(place,))


def _joined(instances: Iterable[Instance], kind: MomentKind) -> Iterator[Instance]:
    """Instances in order of time, those of one feeling that follow on each other as one; its score is the highest."""
    held: Instance | None = None
    for instance in sorted(instances, key=lambda each: each.start):
        apart = kind in ("interruption", "non_talk") or held is None or instance.start - held.end >= APART
        if held is None or apart:
            if held is not None:
                yield held
            held = instance
            continue
        held = Instance(
            start=held.start,
            end=max(held.end, instance.end),
            score=max(held.score or 0.0, instance.score or 0.0),
            segments=(*held.segments, *instance.segments),
        )
    if held is not None:
        yield held
