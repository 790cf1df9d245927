"""The way of a film, top to bottom: transcript → pictures → segments → analyses → curve, moments → `Timeline`.

Knows nothing of codecs, of captions or of pages.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ..analyzer import Analyzer, default_analyzer
from ..engines import Call
from ..errors import InputError
from ..foreign import translated
from ..inputs import NumberedRow
from ..inputs.media import Media, open_media
from ..types import Analysis, PixelBox, Prediction, RowError, Sample, Utterance, box_area
from .curve import curves
from .frames import Picture, is_fast, pictures
from .moments import moments, talk
from .timeline import Film, Segment, Timeline
from .transcript import Transcript, TranscriptSource, read_transcript

__all__ = ["FaceReader", "SeenFace", "analyze_video"]

QUIET = 1.0
"""Seconds from which a pause is a segment of its own, judged by what is shown."""
END_LACKING = 2.0
"""Seconds of pictures that may be missing at the end of a film before it is said."""
BATCH = 8
"""Segments that are answered together; so many pictures are held at a time."""
BRIEFLY = Call(explain="none")
"""A timeline holds the answers without their evidence, unless asked otherwise."""


class SeenFace(Protocol):
    """What is used of a face in a picture."""

    @property
    def box(self) -> PixelBox:
        """Left, top, right and bottom, in pixels."""

    @property
    def sentiment(self) -> Prediction | None:
        """What it looks like; None where that was not judged."""


class FaceReader(Protocol):
    """Finds faces, as `hybrid_mmsa.senses.FaceReader` does."""

    def read(self, image: Image.Image, /) -> Sequence[SeenFace]:
        """The faces in a picture of mode RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class _Post:
    """What is judged together: an utterance, a picture, or both."""

    utterance: Utterance | None
    picture: Picture | None


def analyze_video(
    path: str | Path,
    transcript: Transcript | TranscriptSource | None = None,
    *,
    analyzer: Analyzer | None = None,
    call: Call = BRIEFLY,
    every: float = 5.0,
    faces: FaceReader | None = None,
    reached: Callable[[float], None] | None = None,
) -> Timeline:
    """What is said, shown and felt in a film or a recorded call, and when.

    Each utterance is judged with the frame of its middle; where nobody speaks, the frames that begin a scene, and one
    every so often, are judged alone. The film is read once, a frame at a time.

    Args:
        path: A film or sound file.
        transcript: What is said in it: a file (.srt, .vtt, .json), its parts, as `Speech.read` hears them too, or what
            `read_transcript` made of either.
        analyzer: Answers, and says what reading the film may cost (its `limits`); the default model otherwise.
        call: How posts are answered.
        every: Seconds after which a frame is looked at where nothing else asks for one.
        faces: Finds faces in the frames, where the analyzer's own `senses` do not.
        reached: Is told how far the film was read, in seconds.

    Raises:
        InputError: The film or the transcript cannot be read, or there is nothing in them to judge.
        MissingExtraError: PyAV is not installed.
    """
    _check_positive("every", every)
    answers = analyzer or default_analyzer()
    with open_media(path, answers.limits) as media:
        said = _said(transcript)
        scenes: list[float] = []
        posts = _posts(_pictures(media, said.utterances, every, scenes, reached), said.utterances)
        ask = partial(answers.stream, adapter=call.adapter, mode=call.mode, explain=call.explain, batch=BATCH)
        judged = [*_judged(posts, faces, ask)]
        duration = _duration(media, said.utterances)
        segments = _bounded(judged, duration)
        if not segments:
            raise InputError("there is nothing to judge: no frame and no word", field="video")
        return Timeline(
            film=_film(media, duration),
            segments=segments,
            scenes=tuple(scenes),
            curves=curves(segments, duration),
            moments=moments(segments, duration),
            talk=talk(segments, duration),
            warnings=tuple(_warnings(media, said.utterances, duration)),
            errors=said.errors,
        )


def _check_positive(field: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"found {value!r}; wanted seconds above 0", field=field)


def _said(transcript: Transcript | TranscriptSource | None) -> Transcript:
    if transcript is None:
        return Transcript()
    return transcript if isinstance(transcript, Transcript) else read_transcript(transcript)


def _pictures(
    media: Media,
    utterances: Sequence[Utterance],
    every: float,
    scenes: list[float],
    reached: Callable[[float], None] | None,
) -> Iterator[Picture]:
    """The pictures to look at: in the middle of utterances, as pauses and scenes begin, and every so often."""
    film = media.video()
    if film is None:
        if not utterances:
            raise InputError("this is sound alone: a transcript is wanted, written or heard", field="video")
        return
    at = [*(each.middle for each in utterances), *(start for start, _ in _pauses(utterances))]
    for picture in pictures(media, film, every=every, at=at):
        if picture.new_scene:
            scenes.append(round(picture.time, 3))
        if reached is not None:
            reached(picture.time)
        yield picture


def _posts(shown: Iterable[Picture], utterances: Sequence[Utterance]) -> Iterator[_Post]:
    """Each utterance with the picture of its middle, and the pictures of the pauses; no others."""
    waiting, pauses = deque(sorted(utterances, key=lambda each: each.middle)), deque(_pauses(utterances))
    for picture in shown:
        while waiting and waiting[0].middle <= picture.time:
            yield _Post(waiting.popleft(), picture)
        while pauses and pauses[0][1] <= picture.time:
            pauses.popleft()
        if pauses and pauses[0][0] <= picture.time:
            yield _Post(None, picture)
    yield from (_Post(utterance, None) for utterance in waiting)


def _pauses(utterances: Sequence[Utterance]) -> Iterator[tuple[float, float]]:
    """When nobody speaks for `QUIET` seconds or more, from the beginning to no end."""
    heard = 0.0
    for utterance in utterances:
        if utterance.start - heard >= QUIET:
            yield heard, utterance.start
        heard = max(heard, utterance.end)
    yield heard, math.inf


def _judged(
    posts: Iterable[_Post],
    faces: FaceReader | None,
    answer: Callable[[Iterable[NumberedRow]], Iterable[Analysis | RowError]],
) -> Iterator[Segment]:
    """A segment for each post, with its answer; those of pictures alone have no end yet."""
    waiting: deque[Segment] = deque()

    def rows() -> Iterator[NumberedRow]:
        for number, post in enumerate(posts, 1):
            segment = _segment(post, faces)
            waiting.append(segment)
            image = None if post.picture is None else post.picture.image
            yield number, Sample(text=segment.text, image=image)

    for found in answer(rows()):
        segment = waiting.popleft()
        if isinstance(found, RowError):
            yield segment.model_copy(update={"error": found.error})
            continue
        read = None if found.picture is None or segment.faces is not None else found.picture.faces
        faces_read = {} if read is None else _faces(read)
        yield segment.model_copy(update={"analysis": found, **faces_read})


def _segment(post: _Post, faces: FaceReader | None) -> Segment:
    said, shown = post.utterance, post.picture
    start = said.start if said is not None else round(shown.time, 3) if shown is not None else 0.0
    segment = Segment(start=start, end=start, frame=None if shown is None else round(shown.time, 3))
    if said is not None:
        fields = ("end", "text", "speaker", "role", "words")
        segment = segment.model_copy(update={name: getattr(said, name) for name in fields})
    if faces is None or shown is None:
        return segment
    with translated(lambda cause: InputError(f"faces cannot be read ({cause})", field="faces")):
        return segment.model_copy(update=_faces(faces.read(shown.image)))


def _faces(found: Sequence[SeenFace]) -> dict[str, Any]:
    """What a segment keeps of faces."""
    largest = max(found, key=lambda face: box_area(face.box), default=None)
    return {"faces": len(found), "face_sentiment": None if largest is None else largest.sentiment}


def _bounded(segments: Iterable[Segment], duration: float) -> tuple[Segment, ...]:
    """In the order in which they begin; a picture alone is judged to stand until the next segment."""
    ordered = sorted(segments, key=lambda each: (each.start, each.end))
    starts = [each.start for each in ordered[1:]] + [duration]
    return tuple(
        each if each.text is not None else each.model_copy(update={"end": max(until, each.start)})
        for each, until in zip(ordered, starts, strict=True)
    )


def _duration(media: Media, utterances: Sequence[Utterance]) -> float:
    """As the file declares it; where it does not, to the last that was seen or heard."""
    if media.duration is not None:
        return round(media.duration, 3)
    return max([media.reached, *(each.end for each in utterances)])


def _film(media: Media, duration: float) -> Film:
    film = media.video()
    size = {} if film is None else {"width": film.width, "height": film.height}
    return Film(name=media.name, duration=duration, **size)


def _warnings(media: Media, utterances: Sequence[Utterance], duration: float) -> Iterator[str]:
    film = media.video()
    if media.damaged:
        yield f"{media.damaged:,} packets of the film are damaged and were left out"
    if media.cut:
        yield f"the film was read to {media.reached:.1f} s: {media.cut}"
    elif film is not None and duration - media.reached > END_LACKING:
        yield f"the pictures end at {media.reached:.1f} s, and the film at {duration:.1f} s: its end may be cut off"
    if film is not None and is_fast(film):
        yield "so many pixels a second are decoded at key frames only: scenes are found less exactly"
    late = sum(each.start > duration for each in utterances)
    if late:
        yield f"{late:,} utterances begin after the end of the film ({duration:.1f} s): is this its transcript?"
