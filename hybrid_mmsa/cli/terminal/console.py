"""Where commands write: answers to standard output, all else to standard error. Knows nothing of posts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NoReturn

from rich.console import Console

__all__ = [
    "INTERRUPTED",
    "PROGRAM",
    "SWITCHES",
    "TERMINATED",
    "ReaderGone",
    "Stopped",
    "Terminated",
    "complain",
    "counted",
    "emit",
    "end",
    "heed_termination",
    "invocation",
    "notes",
    "page",
    "say",
    "switched",
    "tell_written",
]

PROGRAM = "hybrid-mmsa"
INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the signal's number, as shells count."""
TERMINATED = 143
"""The exit code after SIGTERM."""


SWITCHES = ("--quiet", "--no-color")
"""What may stand anywhere on a command line, before and behind the command."""
_QUIET = ContextVar("quiet", default=False)


class ReaderGone(Exception):  # noqa: N818 - nothing went wrong: the reader has seen enough
    """Whoever read standard output has closed it, as `head` does."""


class Terminated(BaseException):
    """The process was asked to end (SIGTERM). It passes through as `KeyboardInterrupt` does."""


class Stopped(Exception):  # noqa: N818 - the user's wish
    """The user interrupted a command that has something to say about it, in one line.

    Args:
        line: What it says.
        cause: How it was interrupted.
    """

    def __init__(self, line: str, cause: BaseException | None = None) -> None:
        super().__init__(line)
        self.code = TERMINATED if isinstance(cause, Terminated) else INTERRUPTED


def heed_termination() -> None:
    """Let SIGTERM raise `Terminated` from here on, once: a second one ends the process at once."""

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # whoever started this may have it ignored
        signal.signal(signal.SIGTERM, terminate)


def end(code: int) -> NoReturn:
    """End the process; where it was interrupted, without waiting for what its threads have begun."""
    busy = any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate())
    if code in {INTERRUPTED, TERMINATED} and busy:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


class _Page(Console):
    def on_broken_pipe(self) -> None:
        raise ReaderGone


def page() -> Console:
    """Standard output, for what people read."""
    return _Page(highlight=False, markup=False)


def notes() -> Console:
    """Standard error, for progress and remarks; silent under `--quiet`."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, quiet=_QUIET.get())


def say(line: str) -> None:
    """One line on standard error, whatever line breaks the message holds; nothing under `--quiet`."""
    notes().print(" ".join(line.split()))


def complain(line: str) -> None:
    """As `say`, also under `--quiet`: why a command ends without its work, or what is said only once."""
    with switched(()):
        say(line)


@contextmanager
def switched(switches: Collection[str]) -> Iterator[None]:
    """How commands write while the block runs: with `--quiet` no remarks, with `--no-color` no colours."""
    token, before = _QUIET.set("--quiet" in switches), os.environ.get("NO_COLOR")
    if "--no-color" in switches:
        os.environ["NO_COLOR"] = "1"  # what rich, typer and the processes that are started go by
    try:
        yield
    finally:
        _QUIET.reset(token)
        if "--no-color" in switches:
            os.environ.pop("NO_COLOR")
            os.environ.update({} if before is None else {"NO_COLOR": before})


def emit(line: str) -> None:
    """One line of JSON on standard output: UTF-8, whatever the terminal's encoding."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(line.encode() + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise ReaderGone from error


def tell_written(sentence: str, files: Iterable[Path], *, as_json: bool, **facts: object) -> None:
    """What a command wrote: a sentence for people, or one object on standard output for programs.

    Args:
        sentence: For people, on standard error.
        files: All that was written; the object names them in `written`.
        as_json: Whether it is for programs.
        facts: What else the object tells, such as how many posts there were and how many of them failed.
    """
    if as_json:
        emit(json.dumps({"written": [str(file) for file in files], **facts}, ensure_ascii=False))
    else:
        say(sentence)


def counted(number: int, noun: str) -> str:
    """A number and what it counts: `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" + ("s" if number != 1 else "")


def invocation() -> str:
    """How this program was called, so that a hint can be typed as it stands."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{Path(sys.executable).name} -m hybrid_mmsa"
    on_path = shutil.which(PROGRAM)
    if program.stem != PROGRAM or (on_path and Path(on_path).resolve() == program.resolve()):
        return PROGRAM
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
