"""Films drawn by programs: frames and sound in arrays → a file, by PyAV. Knows nothing of what is shown in them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["SOUND_RATE", "write_film"]

SOUND_RATE = 16_000


def write_film(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    rate: int,
    *,
    codec: str = "mpeg4",
    key_every: int = 60,
    bits: int | None = None,
    sound: NDArray[np.float32] | None = None,
    sound_codec: str = "aac",
) -> None:
    """Write a film; what its file is called decides the container.

    Args:
        path: The file.
        frames: Pictures, uint8 `[height, width, 3]` in RGB, all of one size, sides even; none for sound alone.
        rate: Frames a second.
        codec: FFmpeg's name of the encoder.
        key_every: Frames from one key frame to the next.
        bits: A second, of the pictures; the encoder's own otherwise.
        sound: Samples in [-1, 1], float32 `[channels, n]` at `SOUND_RATE`.
        sound_codec: FFmpeg's name of its encoder.
    """
    with av.open(str(path), "w") as out:
        film: Any = None
        voice: Any = None
        if sound is not None:
            voice = out.add_stream(sound_codec, rate=SOUND_RATE, layout="mono" if len(sound) == 1 else "stereo")
        for pixels in frames:
            if film is None:
                film = out.add_stream(codec, rate=rate)
                film.height, film.width = pixels.shape[:2]
                film.pix_fmt, film.gop_size, film.thread_count = "yuv420p", key_every, 1
                if bits is not None:
                    film.bit_rate = bits
            out.mux(film.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        if film is not None:
            out.mux(film.encode(None))
        if sound is not None:
            _write_sound(out, voice, sound)


def _write_sound(out: Any, voice: Any, sound: NDArray[np.float32]) -> None:
    for start in range(0, sound.shape[1], 1024):
        samples = np.ascontiguousarray((np.clip(sound[:, start : start + 1024].T, -1, 1) * 32767).astype(np.int16))
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=voice.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        out.mux(voice.encode(frame))
    out.mux(voice.encode(None))
