"""Sound → turns and words: Silero's detector of voices finds the turns, a Whisper model hears their words.

Both run by faster-whisper (extra `speech`), whose package carries the detector's weights; a model of words is a folder
on this machine, and nothing is fetched. It knows nothing of films, posts or feelings.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArtefactError, InputError
from ..extras import needs
from ..foreign import translated
from ..inputs import DEFAULT_LIMITS, Limits, writable
from ..inputs.media import Media, open_media
from ..types import FloatArray, Role, SpokenWord, Utterance

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

__all__ = ["RATE", "Speech", "Turn", "turns"]

RATE = 16_000
"""Samples a second that both models hear."""
BLOCK = 60 * RATE
"""Samples that are held at a time, of each channel."""
LONGEST = 30.0
"""Seconds of a turn at most: what Whisper hears at once."""
PAUSE, PAD = 500, 100
"""Milliseconds of silence that end a turn, and of what is kept around one."""
OPEN_END = RATE
"""A turn that ends within so many samples of a block's end may go on in the next."""
GAP = RATE // 5
"""Samples that may be missing before silence takes their place."""
PARTS = ("model.bin", "config.json", "tokenizer.json")
WANTED = "a folder of a Whisper model converted by CTranslate2 (model.bin, config.json, tokenizer.json)"


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """A stretch in which somebody speaks.

    Attributes:
        start: In seconds.
        end: In seconds.
        channel: Of the sound, from 0.
        samples: What is heard, float32 `[n]` at `RATE`.
    """

    start: float
    end: float
    channel: int
    samples: FloatArray


class Speech:
    """Hears what is said in a film or sound file.

    Args:
        model: A Whisper model in CTranslate2's format: its folder, or its name in the local cache of Hugging Face
            (`small` is `Systran/faster-whisper-small`).
        language: What is spoken, as in `en`; None lets the model find out.
        channels: Who is on each channel, as call centres record; None mixes the channels.
        threads: Of the processor.

    Raises:
        ArtefactError: There is no such model on this machine, or it is damaged.
        MissingExtraError: faster-whisper is not installed.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        language: str | None = None,
        channels: Sequence[Role] | None = None,
        threads: int | None = None,
    ) -> None:
        self.model, self.language = str(model), language
        self.channels = None if channels is None else tuple(channels)
        self._whisper = _open(self.model, threads or os.cpu_count() or 1)

    def read(self, path: str | Path, limits: Limits = DEFAULT_LIMITS) -> tuple[Utterance, ...]:
        """What is said in a file, in the order in which it begins, with the times of words.

        Raises:
            InputError: The file cannot be read, or has no sound.
        """
        count = 1 if self.channels is None else len(self.channels)
        heard = [each for turn in turns(path, channels=count, limits=limits) for each in self._words(turn)]
        return tuple(sorted(heard, key=lambda each: (each.start, each.end)))

    def _words(self, turn: Turn) -> Iterator[Utterance]:
        role = None if self.channels is None else self.channels[turn.channel]
        with translated(lambda cause: InputError(f"the words at {turn.start:.1f} s cannot be heard ({cause})")):
            found, _ = self._whisper.transcribe(
                turn.samples,
                language=self.language,
                word_timestamps=True,
                condition_on_previous_text=False,  # a turn that was heard wrongly does not spoil the next
            )
            segments = [segment for segment in found if segment.text.strip()]
        for segment in segments:
            text = " ".join(writable(segment.text).split())
            if text:
                start, end = _inside(turn, segment.start, segment.end)
                # When somebody begins and ends the detector of voices knows better.
                start = turn.start if segment is segments[0] else start
                end = turn.end if segment is segments[-1] else end
                words = tuple(_word(turn, word) for word in segment.words or () if word.word.strip())
                yield Utterance(start=start, end=end, text=text, role=role, words=words)


def turns(path: str | Path, *, channels: int = 1, limits: Limits = DEFAULT_LIMITS) -> Iterator[Turn]:
    """When somebody speaks, and what is heard then; a minute of sound is held at a time.

    Args:
        path: A film or sound file.
        channels: How many to listen to one by one; 1 mixes all there are.
        limits: What reading it may cost.

    Raises:
        InputError: The file cannot be read, or has no sound or too few channels.
        MissingExtraError: faster-whisper is not installed.
    """
    with needs("speech", "hearing speech"):
        from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(max_speech_duration_s=LONGEST, min_silence_duration_ms=PAUSE, speech_pad_ms=PAD)
    with open_media(path, limits, extra="speech") as media:
        heard = [_Channel(number) for number in range(channels)]
        for block in _sound(media, channels):
            for channel, samples in zip(heard, block, strict=True):
                yield from channel.hear(samples, lambda held: get_speech_timestamps(held, options))
        for channel in heard:
            yield from channel.hear(None, lambda held: get_speech_timestamps(held, options))


@dataclass(slots=True, eq=False)
class _Channel:
    """Cuts the turns out of a channel's sound as it comes, and holds no more of it than a block."""

    number: int
    _held: list[FloatArray] = field(default_factory=list)
    _begin: int = 0

    def hear(self, samples: FloatArray | None, detect: Any) -> Iterator[Turn]:
        """The turns that are over; with None, at the end, all that are left."""
        self._held += [] if samples is None else [samples]
        if samples is not None and sum(map(len, self._held)) < BLOCK:
            return
        held = np.concatenate([*self._held, np.zeros(0, np.float32)])
        spans = [(int(span["start"]), int(span["end"])) for span in detect(held)] if len(held) else []
        over = spans if samples is None else [span for span in spans if span[1] < len(held) - OPEN_END]
        for start, end in over:
            yield Turn((self._begin + start) / RATE, (self._begin + end) / RATE, self.number, held[start:end])
        kept = spans[len(over)][0] if len(over) < len(spans) else max(over[-1][1] if over else 0, len(held) - OPEN_END)
        self._begin, self._held = self._begin + kept, [held[kept:].copy()]


def _sound(media: Media, channels: int) -> Iterator[FloatArray]:
    """The sound in blocks, float32 `[channels, n]` at `RATE`; silence stands where some of it is missing."""
    from av import AudioResampler

    stream = media.audio()
    if stream is None:
        raise InputError(f"{media.name} has no sound", field="video")
    if channels > stream.channels:
        raise InputError(f"found {stream.channels} channels of sound; wanted {channels}", field="channels")
    layout = "mono" if channels == 1 else stream.layout.name
    resampler, told = AudioResampler(format="fltp", layout=layout, rate=RATE), 0
    for time, frame in media.frames(stream):
        missing = round(time * RATE) - told
        while missing > GAP:
            silent = min(missing, BLOCK)
            yield np.zeros((channels, silent), np.float32)
            told, missing = told + silent, missing - silent
        for part in resampler.resample(frame):
            samples: FloatArray = np.asarray(part.to_ndarray()[:channels], dtype=np.float32)
            told += samples.shape[1]
            yield samples
    for part in resampler.resample(None):
        yield np.asarray(part.to_ndarray()[:channels], dtype=np.float32)


def _open(model: str, threads: int) -> WhisperModel:
    with needs("speech", "hearing speech"):
        from faster_whisper import WhisperModel
        from faster_whisper.utils import download_model

    folder = Path(model)
    if not folder.is_dir():
        try:
            folder = Path(download_model(model, local_files_only=True))
        except Exception as error:  # the hub's client has many, none of which says more than this
            raise ArtefactError(f"found no model of speech {model!r} on this machine; wanted {WANTED}") from error
    lacking = [name for name in PARTS if not (folder / name).is_file()]
    if lacking:
        raise ArtefactError(f"the model of speech {folder.name!r} lacks {', '.join(lacking)}; wanted {WANTED}")
    with translated(lambda cause: ArtefactError(f"the model of speech {folder.name!r} cannot be opened ({cause})")):
        return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)


def _inside(turn: Turn, start: float, end: float) -> tuple[float, float]:
    """Times in a turn as times in the file; Whisper's may lie outside of the turn."""
    first = min(max(turn.start + start, turn.start), turn.end)
    return round(first, 3), round(min(max(turn.start + end, first), turn.end), 3)


def _word(turn: Turn, word: Any) -> SpokenWord:
    start, end = _inside(turn, word.start, word.end)
    return SpokenWord(text=writable(word.word).strip(), start=start, end=end)
