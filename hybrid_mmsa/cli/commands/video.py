"""`hybrid-mmsa video`: a film or a recorded call → what is felt in it, and when. It holds no logic of its own.

What reads films is imported when it is asked for: other commands start without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from ...errors import InputError
from ...inputs import Limits
from ...types import Role
from ..terminal.console import counted, emit, page, say, tell_written
from ..terminal.heap import give_large_blocks_back
from ..terminal.options import AnswerOptions, AsJson, check_file, with_answer_options, with_options
from ..terminal.progress import progress
from ..terminal.whole import whole_file

if TYPE_CHECKING:
    from ...senses.speech import Speech
    from ...video import Timeline

__all__ = ["video"]

BRIEF = AnswerOptions(explain="none")
"""A timeline holds the answers without their evidence, unless asked otherwise."""


@dataclass(frozen=True, slots=True)
class SpokenOptions:
    """Where it is known from who says what."""

    transcript: Annotated[
        Path | None, typer.Option("--transcript", metavar="FILE", help="What is said: .srt, .vtt or .json.")
    ] = None
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="NAME=ROLE", help="Who a speaker is: agent or customer; repeat it."),
    ] = None
    speech: Annotated[
        str | None,
        typer.Option("--speech", metavar="NAME_OR_PATH", help="Hear the words with this Whisper model instead."),
    ] = None
    channels: Annotated[
        str | None,
        typer.Option("--channels", metavar="ROLES", help="Who is heard on which channel, as in agent,customer."),
    ] = None

    def roles(self) -> dict[str, Role]:
        """Speakers' roles by their names."""
        pairs = [[part.strip() for part in written.partition("=")[::2]] for written in self.role or ()]
        return {name: _role(role, "--role") for name, role in pairs}

    def reader(self) -> Speech | None:
        """What hears the words, if something is to."""
        if self.speech is None and self.channels is None:
            return None
        if self.speech is None or self.transcript is not None:
            option = "--channels" if self.speech is None else "--speech"
            raise InputError("words are heard with --speech, where there is no --transcript", field=option)
        from ...senses.speech import Speech

        on = None if self.channels is None else [_role(each.strip(), "--channels") for each in self.channels.split(",")]
        return Speech(self.speech, channels=on)


SPOKEN = SpokenOptions()


@with_options("spoken", SPOKEN)
@with_answer_options
def video(
    film: Annotated[Path, typer.Argument(metavar="FILE", help="A film, or the sound of a call.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Where to write: a page (.html) or .json.")
    ] = None,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.1, help="Look at a frame at least so often.")
    ] = 5.0,
    as_json: AsJson = False,
    spoken: SpokenOptions = SPOKEN,
    options: AnswerOptions = BRIEF,
) -> None:
    """Find the moments of a film or a recorded call that are worth hearing.

    Each utterance is judged with the frame that is shown with it. The page has
    the player, the curve, the moments and what was said. It opens offline, and
    names the film by the way from the page to it: move both together.

    For example:
        hybrid-mmsa video call.mp4 --transcript call.vtt -o call.html
        hybrid-mmsa video call.wav --transcript call.json --json
    """
    from ...video import analyze_video, read_transcript

    give_large_blocks_back()
    _check_out(out, (film, spoken.transcript))
    roles, speech = spoken.roles(), spoken.reader()
    analyzer, adapter = options.open()
    call = options.call(adapter)
    with _seconds(film, analyzer.limits) as reached:
        source = spoken.transcript if speech is None else speech.read(film, analyzer.limits)
        said = None if source is None else read_transcript(source, roles)
        timeline = analyze_video(film, said, analyzer=analyzer, call=call, every=every, reached=reached)
    if out is not None:
        with whole_file(out) as draft:
            draft.write_text(_written(timeline, film, out), encoding="utf-8")
    elif as_json:
        emit(timeline.model_dump_json())
    else:
        page().print("\n".join(_lines(timeline)), soft_wrap=True)
    _sum_up(timeline, out, as_json)


def _check_out(out: Path | None, sources: Sequence[Path | None]) -> None:
    check_file(out, "-o")
    if out is not None and out.suffix.lower() not in (".html", ".htm", ".json"):
        raise InputError(f"found {out.name}; wanted a name that ends in .html or .json", field="-o")
    if out is not None and out.resolve() in {source.resolve() for source in sources if source is not None}:
        raise InputError("the timeline must not replace what it is made from", field="-o")


def _written(timeline: Timeline, film: Path, out: Path) -> str:
    if out.suffix.lower() == ".json":
        return timeline.model_dump_json(indent=1) + "\n"
    from ...video import timeline_page

    return timeline_page(timeline, film, out)


def _role(written: str, option: str) -> Role:
    if written not in get_args(Role):
        raise InputError(f"found {written!r}; wanted agent or customer", field=option)
    return cast(Role, written)


@contextmanager
def _seconds(film: Path, limits: Limits) -> Iterator[Callable[[float], None]]:
    """Shows progress in seconds of the film while the block runs; the block says how far it is."""
    from ...inputs.media import open_media

    with open_media(film, limits) as media:
        duration = int(media.duration or 0)
    told = 0
    with progress("seconds", lambda: duration) as advance:

        def reached(time: float) -> None:
            nonlocal told
            for _ in range(told, min(int(time), duration)):
                advance()
            told = max(told, int(time))

        yield reached


def _lines(timeline: Timeline) -> Iterator[str]:
    """The moments as people read them, in the order of time."""
    from ...video.page import TITLES

    found = [(each, moment) for moment in timeline.moments for each in moment.instances]
    if not found:
        yield "no moment stands out"
    for instance, moment in sorted(found, key=lambda pair: pair[0].start):
        said = [timeline.segments[place].text for place in instance.segments]
        who = f", {moment.role}" if moment.role else ""
        quoted = next((f": {text}" for text in said if text), "")
        yield f"{instance.start:8.1f} – {instance.end:.1f} s  {TITLES[moment.kind]}{who}{quoted}"


def _sum_up(timeline: Timeline, out: Path | None, as_json: bool) -> None:
    failed = sum(segment.error is not None for segment in timeline.segments)
    moments = sum(len(moment.instances) for moment in timeline.moments)
    sentence = f"{counted(len(timeline.segments), 'segment')} and {counted(moments, 'moment')}"
    if out is None:
        say(sentence)
    else:
        counts = {"segments": len(timeline.segments), "moments": moments, "failed": failed}
        tell_written(f"{sentence} in {out}", [out], as_json=as_json, **counts)
    for line in timeline.warnings:
        say(f"warning: {line}")
    for row in timeline.errors:
        say(f"transcript, line {row.line}: {row.error}")
    if failed:
        say(f"{counted(failed, 'segment')} could not be judged")
    if failed or timeline.errors or timeline.warnings:
        raise typer.Exit(1)
