"""A film → the few pictures of it that are looked at. Knows nothing of what is said or felt in it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..inputs.media import Media

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["LOOK", "SCENE", "Picture", "pictures"]

LOOK = 0.25
"""Seconds between two frames that are compared: a change of scene is found to within so many."""
SCENE = 0.1
"""How much of the range of brightness a picture must change for a new scene; see `_Scenes`."""
SIDE = 640
"""The longer side of a picture that is looked at, in pixels."""
TINY = (32, 18)
"""Pixels, across and down, of the grey pictures that are compared."""
FAST = 1920 * 1080 * 60
"""Pixels a second, up to which all frames that others refer to are decoded; of faster films, key frames alone are."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One frame of a film.

    Attributes:
        time: When it is shown, in seconds.
        image: It, upright, in RGB, at most `SIDE` pixels long.
        new_scene: Whether a scene begins with it.
    """

    time: float
    image: Image.Image
    new_scene: bool


def pictures(media: Media, film: VideoStream, *, every: float, at: Sequence[float]) -> Iterator[Picture]:
    """The first frame, the first of each scene, one at each time asked for, and one whenever none came for long.

    Only one picture is held at a time. Frames that no other refers to are not decoded.

    Args:
        media: The open file.
        film: Its film.
        every: Seconds after which the next picture comes at the latest.
        at: The times that are asked for, in seconds; of each the first frame is taken that is shown from then on.
    """
    film.codec_context.skip_frame = "NONKEY" if is_fast(film) else "NONREF"
    asked, scenes = deque(sorted(at)), _Scenes()
    last = looked = -math.inf
    for time, frame in media.frames(film):
        wanted = bool(asked) and asked[0] <= time
        while asked and asked[0] <= time:
            asked.popleft()
        new_scene = False
        if time - looked >= LOOK:
            looked, new_scene = time, scenes.begins(_tiny(frame))
        if wanted or new_scene or time - last >= every:
            last = time
            yield Picture(time, _image(frame), new_scene)


def is_fast(film: VideoStream) -> bool:
    """Whether a film has too many pixels a second for all of its frames to be decoded."""
    return film.width * film.height * float(film.average_rate or 0) > FAST


@dataclass(slots=True, eq=False)
class _Scenes:
    """Tells where a scene begins, by the score of FFmpeg's filter `select` (libavfilter/f_select.c, `scene`).

    The score is the smaller of two numbers: the mean absolute difference of two pictures, and by how much this differs
    from that of the two before. So neither steady motion nor the end of a motion counts. In shares of the range of
    grey; the threshold is that of PySceneDetect's `ContentDetector` (27 of 255).
    """

    _before: NDArray[np.float32] | None = field(default=None)
    _difference: float = 0.0

    def begins(self, grey: NDArray[np.float32]) -> bool:
        before, self._before = self._before, grey
        if before is None:
            return True
        difference = float(np.abs(grey - before).mean())
        score, self._difference = min(difference, abs(difference - self._difference)), difference
        return score >= SCENE


def _tiny(frame: VideoFrame) -> NDArray[np.float32]:
    """A frame in grey, float32 `[18, 32]` in [0, 1]."""
    width, height = TINY
    grey: Any = frame.reformat(width=width, height=height, format="gray", interpolation="AREA").to_ndarray()
    return np.asarray(grey, dtype=np.float32) / np.float32(255)


def _image(frame: VideoFrame) -> Image.Image:
    scale = min(1.0, SIDE / max(frame.width, frame.height))
    width, height = (max(round(scale * side), 1) for side in (frame.width, frame.height))
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    image = Image.fromarray(small.to_ndarray())
    turned = frame.rotation % 360
    return image.rotate(turned, expand=True) if turned else image
