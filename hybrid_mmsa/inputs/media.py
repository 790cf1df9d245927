"""A film or sound file of unknown origin, read by FFmpeg (PyAV): no other file, known formats, within limits.

It knows nothing of scenes, speech or posts. FFmpeg is never given a name: it reads an open file and may open no other,
so that a playlist, a reference inside a film or a name like `http:` or `concat:` leads nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import InputError
from ..extras import needs
from ..foreign import cause, translated
from .limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["FORMATS", "MOST_SECONDS", "Media", "open_media"]

FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,wav,w64,mp3,flac,aac,amr,aiff,caf"
"""FFmpeg's names of the formats that are read: each keeps all that it holds in one file."""
MOST_SECONDS = 24 * 3600.0
"""What lies behind it is not read."""
FRAME_MEMORY = 32
"""Bytes for each pixel of a film while it is decoded: some twenty frames that others refer to, 1.5 bytes a pixel."""
THREADS = 2
CLOCK = 60.0
"""Seconds by which a frame may be shown after the end that the file declares."""
_BUFFER = 1 << 18
WANTED = "a film or sound file such as MP4, WebM, MKV, AVI, WAV or MP3"


@dataclass(slots=True, eq=False)
class Media:
    """An open file; `open_media` makes it.

    Attributes:
        name: The file's name, without its folder.
        container: As PyAV has it.
        limits: What reading it may cost.
        damaged: Packets that could not be decoded so far.
        cut: Why reading ended before the end of the file; None where it did not.
        reached: The time of the last frame that was decoded.
    """

    name: str
    container: InputContainer
    limits: Limits
    damaged: int = 0
    cut: str | None = None
    reached: float = 0.0

    @property
    def duration(self) -> float | None:
        """Seconds, as the file declares them; None where it does not."""
        duration = self.container.duration
        return None if duration is None or duration <= 0 else duration / 1_000_000

    @property
    def start(self) -> float:
        """The time that the file calls its beginning, in seconds; players count from it."""
        return (self.container.start_time or 0) / 1_000_000

    def video(self) -> VideoStream | None:
        """The film; None in a file of sound, whose cover is a picture and no film.

        Raises:
            InputError: Its frames are larger than the limits allow.
        """
        streams = [each for each in self.container.streams.video if not _is_cover(each)]
        if not streams:
            return None
        stream = streams[0]
        self._check_codec(stream)
        if stream.width * stream.height > self._most_pixels:
            message = (
                f"found frames of {stream.width} x {stream.height} pixels; wanted at most {self._most_pixels:,} pixels "
                f"(max_image_pixels, and a {FRAME_MEMORY}nd of max_image_memory)"
            )
            raise InputError(message, field="video")
        return stream

    def audio(self) -> AudioStream | None:
        """The sound; None in a silent film."""
        streams = self.container.streams.audio
        if not streams:
            return None
        self._check_codec(streams[0])
        return streams[0]

    def frames(self, stream: VideoStream | AudioStream) -> Iterator[tuple[float, Any]]:
        """The frames of a stream in order, each with its time in seconds; what is damaged is left out and counted.

        Args:
            stream: What `video` or `audio` gave.

        Raises:
            InputError: Nothing of the stream can be decoded.
        """
        # A film may change its size on the way.
        stream.codec_context.options = {"max_pixels": str(self._most_pixels)}
        stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", THREADS
        latest = MOST_SECONDS if self.duration is None else self.duration + CLOCK
        last, found = -math.inf, False
        for packet in self._packets(stream):
            try:
                decoded = packet.decode()
            except Exception:  # whatever FFmpeg and PyAV make of damage
                self.damaged += 1
                continue
            for frame in decoded:
                time = max(last, 0.0) if frame.time is None else frame.time - self.start
                if time > MOST_SECONDS and latest > MOST_SECONDS:
                    self.cut = f"it is longer than {MOST_SECONDS / 3600:.0f} hours"
                    return
                if not last <= time <= latest:
                    continue  # a broken clock: time does not run backwards, nor past the end
                last, found, self.reached = time, True, max(time, 0.0)
                yield self.reached, frame
        if not found:
            raise InputError(
                f"found a {stream.type} stream of which nothing can be decoded; wanted {WANTED}", field="video"
            )

    def _check_codec(self, stream: VideoStream | AudioStream) -> None:
        if stream.codec_context is None:
            raise InputError(f"found a {stream.type} stream of an unknown codec; wanted {WANTED}", field="video")

    @property
    def _most_pixels(self) -> int:
        return min(self.limits.max_image_pixels, self.limits.max_image_memory // FRAME_MEMORY)

    def _packets(self, stream: VideoStream | AudioStream) -> Iterator[Any]:
        packets = self.container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except Exception as error:
                self.cut = f"its rest cannot be read ({cause(error)})"
                return
            yield packet


@contextmanager
def open_media(path: str | Path, limits: Limits = DEFAULT_LIMITS, *, extra: str = "video") -> Iterator[Media]:
    """A film or sound file, open while the block runs.

    Args:
        path: A file on this machine.
        limits: What reading it may cost.
        extra: The extra that a missing PyAV is to be installed with.

    Raises:
        InputError: There is no such file, or it is not one that can be read.
        MissingExtraError: PyAV is not installed.
    """
    with needs(extra, "reading films and sound"):
        import av  # noqa: F401

    with _file(Path(path)) as file, _container(file, Path(path).name) as container:
        if not (container.streams.video or container.streams.audio):
            raise InputError(f"{Path(path).name} holds neither film nor sound; wanted {WANTED}", field="video")
        yield Media(Path(path).name, container, limits)


def _file(path: Path) -> BinaryIO:
    if not path.is_file():
        raise InputError(f"found no file {path.name!r}; wanted {WANTED}", field="video")
    if path.stat().st_size == 0:
        raise InputError(f"{path.name} is empty; wanted {WANTED}", field="video")
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror})", field="video") from error


def _container(file: BinaryIO, name: str) -> InputContainer:
    import av

    options = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
    with translated(
        lambda why: InputError(f"{name} is damaged or of no known format ({why}); wanted {WANTED}", field="video")
    ):
        return av.open(
            file, "r", container_options=options, metadata_errors="replace", io_open=_refuse, buffer_size=_BUFFER
        )


def _refuse(url: str, flags: int, options: dict[str, str]) -> BinaryIO:
    raise InputError("a file that refers to other files is not read", field="video")


def _is_cover(stream: VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)
