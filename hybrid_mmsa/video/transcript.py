"""Transcripts as files and callers hold them (SRT, WebVTT, JSON, segments) → utterances. Knows nothing of films.

A cue that cannot be used is a `RowError` of its own; the others go on.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from ..data.rows.encoding import detect_encoding
from ..errors import InputError
from ..inputs import writable
from ..inputs.media import MOST_SECONDS
from ..types import Role, RowError, SpokenWord, Utterance

__all__ = ["ROLES", "Roles", "Transcript", "TranscriptSource", "read_transcript"]

Roles: TypeAlias = Mapping[str, Role]
TranscriptSource: TypeAlias = "str | Path | Iterable[Utterance | Mapping[str, Any]]"
"""A file, or its parts: utterances, or what a JSON transcript has for them."""

ROLES: Roles = {
    "agent": "agent",
    "representative": "agent",
    "support": "agent",
    "operator": "agent",
    "advisor": "agent",
    "customer": "customer",
    "caller": "customer",
    "client": "customer",
}
"""Names of speakers that say which side they are on; others are told by the caller."""
MOST_BYTES = 50 * 2**20
MOST_PARTS = 100_000
"""In the 24 hours of the longest film somebody speaks less often."""
_SUFFIXES = {".srt": "captions", ".vtt": "captions", ".json": "JSON"}
_LISTS = ("segments", "utterances", "Transcript", "transcript")
"""Where JSON holds its parts: ours and Whisper's, others', Contact Lens's."""

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_RANGE = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_INSIDE = re.compile(rf"<{_TIME}>")
# Nothing is given back once it is taken: a caption of a million `<v ` is read in one go.
_VOICE = re.compile(r"<v(?:\.[^\s<>]*+)?\s++([^<>]*+)>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|\{\\[^{}]*\}")
_SPEAKER = re.compile(r"\s*\[?([^\W\d_][\w .'-]{0,39}?)\]?\s*:\s+(?=\S)")


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, in the order in which it begins, and the parts that could not be used."""

    utterances: tuple[Utterance, ...] = ()
    errors: tuple[RowError, ...] = ()


def read_transcript(source: TranscriptSource, roles: Roles | None = None) -> Transcript:
    """A transcript.

    In captions the speaker is the voice of WebVTT (`<v Anna>`), or stands before a colon: a name that is in `roles` or
    says a role (`Agent:`), or one in capitals. WebVTT's times inside a cue become the words' times. JSON is a list of
    objects, or an object that holds one, with `start`, `end`, `text`, and perhaps `speaker`, `role`, `words`: as this
    package and Whisper write it; Contact Lens's `BeginOffsetMillis`, `Content` and `ParticipantId` are known too.

    Args:
        source: A file that ends in .srt, .vtt or .json, or its parts.
        roles: Which side speakers are on, by their names in any case; beside `ROLES`.

    Raises:
        InputError: The file cannot be read, is none of these, or holds no part that can be used.
    """
    known = {name.casefold(): role for name, role in {**ROLES, **(roles or {})}.items()}
    if isinstance(source, str | Path):
        parts = _captions(*_lines(Path(source)), known) if _kind(Path(source)) == "captions" else _json(Path(source))
    else:
        parts = enumerate(source, 1)
    utterances, errors = [], []
    for number, (line, part) in enumerate(parts):
        if number == MOST_PARTS:
            raise InputError(f"found more than {MOST_PARTS:,} parts; wanted fewer", field="transcript")
        try:
            utterances.append(_within(_utterance(part, known)))
        except (TypeError, ValueError, OverflowError) as error:
            errors.append(RowError(line=line, field="transcript", error=_said(error)))
    if errors and not utterances:
        raise InputError(
            f"no part can be used; the first, line {errors[0].line}: {errors[0].error}", field="transcript"
        )
    return Transcript(tuple(sorted(utterances, key=lambda each: (each.start, each.end))), tuple(errors))


def _kind(path: Path) -> str:
    if path.suffix.lower() not in _SUFFIXES:
        raise InputError(f"found {path.name!r}; wanted a file that ends in .srt, .vtt or .json", field="transcript")
    return _SUFFIXES[path.suffix.lower()]


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"found no file {path.name!r}", field="transcript")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path.name} has more than {MOST_BYTES:,} bytes", field="transcript")
    with path.open("rb") as file:
        encoding = detect_encoding(file)
        return file.read().decode(encoding, errors="replace")


def _lines(path: Path) -> tuple[list[str], str]:
    return [*_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""], path.name


def _captions(lines: list[str], name: str, roles: Roles) -> Iterator[tuple[int, Any]]:
    """The cues of SRT and WebVTT, which differ in what stands around them: a line of times, then words to a blank."""
    number, found = 0, False
    while number < len(lines):
        if "-->" not in lines[number]:
            number += 1
            continue
        head, first, found = lines[number], number + 1, True
        words = []
        number += 1
        while number < len(lines) and lines[number].strip() and "-->" not in lines[number]:
            words.append(lines[number])
            number += 1
        if number < len(lines) and "-->" in lines[number] and words and words[-1].strip().isdigit():
            words.pop()  # the number of the next cue, where the blank line is missing
        yield from ((first, cue) for cue in _cue(head, "\n".join(words), roles))
    if not found:
        raise InputError(f"{name} holds no cue (00:00:01,000 --> 00:00:02,000)", field="transcript")


def _cue(head: str, body: str, roles: Roles) -> Iterator[Any]:
    """What each voice of a cue says; several share its time by their letters."""
    times = _RANGE.match(head)
    if times is None:
        yield f"found {head.strip()[:60]!r}; wanted times as in 00:00:01,000 --> 00:00:02,000"
        return
    start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
    voices = _VOICE.split(body)
    said = [(None, voices[0]), *zip(voices[1::2], voices[2::2], strict=True)]
    said = [(voice, words) for voice, words in said if _plain(words).strip()]
    if end < start or not said:
        yield f"it ends at {end:g} s, before it starts ({start:g} s)" if said else "it holds no text"
        return
    letters = [len(_plain(words)) for _, words in said]
    times_between = [start + (end - start) * sum(letters[:n]) / sum(letters) for n in range(len(said))] + [end]
    for (voice, words), begin, until in zip(said, times_between, times_between[1:], strict=False):
        speaker, words = (_plain(voice), words) if voice is not None else _named(words, roles)
        yield {
            "start": begin,
            "end": until,
            "text": _plain(words),
            "speaker": speaker,
            "words": _timed_words(words, begin, until),
        }


def _named(words: str, roles: Roles) -> tuple[str | None, str]:
    """The speaker before a colon, and the rest; not every word before a colon is a speaker."""
    match = _SPEAKER.match(words)
    if match is None or not (match[1].casefold() in roles or match[1].isupper()):
        return None, words
    return match[1], words[match.end() :]


def _timed_words(words: str, start: float, end: float) -> list[dict[str, Any]]:
    """The words between WebVTT's times; none where there are no such times."""
    pieces = _INSIDE.split(words)
    if len(pieces) == 1:
        return []
    times = [start, *(_seconds(pieces[at : at + 4]) for at in range(1, len(pieces), 5)), end]
    texts = [_plain(text).split() for text in pieces[0::5]]
    timed = []
    for begin, until, found in zip(times[:-1], times[1:], texts, strict=True):
        step = (until - begin) / max(len(found), 1)
        timed += [
            {"text": word, "start": begin + n * step, "end": begin + (n + 1) * step} for n, word in enumerate(found)
        ]
    return timed


def _plain(words: str) -> str:
    return unescape(_TAG.sub("", _INSIDE.sub("", words)))


def _seconds(parts: Iterable[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0) + float(f"0.{fraction}")


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is no JSON ({_said(error)})", field="transcript") from error
    if isinstance(value, dict):
        value = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), None)
    if not isinstance(value, list):
        raise InputError(f"{path.name} holds no list of segments", field="transcript")
    return iter(enumerate(value, 1))


def _utterance(part: Any, roles: Roles) -> Utterance:
    if isinstance(part, Utterance):
        role = part.role or roles.get((part.speaker or "").strip().casefold())
        return part if role == part.role else part.model_copy(update={"role": role})
    if not isinstance(part, Mapping):
        raise ValueError(part if isinstance(part, str) else f"found {type(part).__name__}; wanted an object")
    start, end = _time(part, "start", "BeginOffsetMillis"), _time(part, "end", "EndOffsetMillis")
    text = _first(part, "text", "Content")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("it holds no text")
    speaker = _first(part, "speaker", "speaker_id", "ParticipantId")
    named = _first(part, "role", "ParticipantRole", "speaker", "ParticipantId")
    return Utterance(
        start=start,
        end=end,
        text=" ".join(writable(text).split()),
        speaker=None if speaker is None else " ".join(writable(str(speaker)).split())[:80] or None,
        role=roles.get(str(named).strip().casefold()),
        words=tuple(_words(part.get("words"))),
    )


def _within(utterance: Utterance) -> Utterance:
    if utterance.end > MOST_SECONDS:
        raise ValueError(f"it ends at {utterance.end:g} s; films are read to {MOST_SECONDS:,.0f} s")
    return utterance


def _words(words: Any) -> Iterator[SpokenWord]:
    """The words whose times are known; one without (Whisper has such) is left out of them, not of the text."""
    for word in words if isinstance(words, list | tuple) else ():
        if isinstance(word, SpokenWord):
            yield word
        elif isinstance(word, Mapping) and isinstance(text := _first(word, "text", "word"), str):
            start, end = word.get("start"), word.get("end")
            if isinstance(start, int | float) and isinstance(end, int | float) and 0 <= start <= end < math.inf:
                yield SpokenWord(text=writable(text).strip(), start=start, end=end)


def _time(part: Mapping[str, Any], seconds: str, milliseconds: str) -> float:
    value, scale = (part[seconds], 1.0) if seconds in part else (part.get(milliseconds), 0.001)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{seconds}: found {type(value).__name__}; wanted seconds")
    return float(value) * scale


def _first(part: Mapping[str, Any], *names: str) -> Any:
    return next((part[name] for name in names if part.get(name) is not None), None)


def _said(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
    return " ".join(str(error).split())[:200] or type(error).__name__
