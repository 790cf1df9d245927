"""The command line: `hybrid-mmsa`. Commands are thin doors onto the rooms; what they share is errors and exit codes.

Exit codes: 0 done; 1 some rows or checks failed (they are counted and listed); 2 bad input or usage, told in one line
on standard error; 130 interrupted by Ctrl-C; 143 terminated (SIGTERM).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated

import typer

from .._version import __version__
from ..errors import HybridError
from ..privacy import forbid_downloads, switch_telemetry_off
from .commands import analyze, batch, demo, doctor, embed
from .commands.adapter import adapter_app
from .commands.evaluate import eval_app
from .commands.explain import explain_app
from .commands.mcp import mcp
from .commands.models import models_app
from .commands.review import review_app
from .commands.route import route_app
from .commands.serve import make_key, serve
from .commands.train import train_app
from .commands.video import video
from .commands.watch import watch_app
from .terminal import console

__all__ = ["app", "main", "run"]

# Typer's errors of usage share this base, which only its newer versions show.
_UsageError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    help="What does a post of text and picture feel, how sure is that, and why?",
    epilog="Begin with: hybrid-mmsa demo\n\nExit codes: 0 done; 1 some rows or checks failed, counted and listed; "
    "2 bad input or usage, told in one line; 130 interrupted; 143 terminated.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command()(analyze.analyze)
app.command()(demo.demo)
app.command()(batch.batch)
app.command()(embed.embed)
app.command()(doctor.doctor)
app.command()(serve)
app.command("new-key")(make_key)
app.command()(mcp)
app.command()(video)
app.add_typer(adapter_app, name="adapter")
app.add_typer(eval_app, name="eval")
app.add_typer(explain_app, name="explain")
app.add_typer(models_app, name="models")
app.add_typer(review_app, name="review")
app.add_typer(route_app, name="route")
app.add_typer(train_app, name="train")
app.add_typer(watch_app, name="watch")


def main() -> None:
    """Run the command line of this process and exit."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows "?"
    switch_telemetry_off()
    if sys.argv[1:3] != ["models", "pull"]:
        forbid_downloads()
    # It warns of each kernel that it lacks, at its import; what cannot do without one raises an error.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    console.heed_termination()
    console.end(run(sys.argv[1:]))


def _open_closed_streams() -> None:
    """Put the null device where a standard stream was closed, as by `>&-`.

    Python has none then, and the next file that is opened would take its number, and what libraries print.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: The words after the program's name; none of them asks for help.

    Returns:
        The exit code. Bad input and bad usage are told in one line on standard error and never raise.
    """
    words, switches = _without_switches(arguments)
    with console.switched(switches):
        return _run(words)


def _without_switches(arguments: Sequence[str]) -> tuple[list[str], set[str]]:
    """The words of a command line without what may stand anywhere; behind `--` all words are posts or files."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    words = [word for word in arguments[:end] if word not in console.SWITCHES]
    return [*words, *arguments[end:]], {word for word in arguments[:end] if word in console.SWITCHES}


def _run(words: Sequence[str]) -> int:
    try:
        code = app(args=list(words) or ["--help"], prog_name=console.PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except (console.ReaderGone, BrokenPipeError):
        # What is still buffered has no reader; without this, Python would complain when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, typer.Abort):
        code = console.INTERRUPTED
    except console.Terminated:
        code = console.TERMINATED
    except console.Stopped as stop:
        console.complain(f"stopped: {stop}")
        return stop.code
    except (HybridError, OSError) as error:
        console.complain(f"error: {error}")
        return 2
    except _UsageError as error:
        _say_usage(error)
        return 2
    if code in {console.INTERRUPTED, console.TERMINATED}:
        console.complain("stopped")
    return int(code or 0)


def _say_usage(error: Exception) -> None:
    message = str(error.format_message()) if hasattr(error, "format_message") else str(error)
    message = message.replace(": Value error, ", ": ")  # as typer quotes pydantic
    if near := getattr(error, "possibilities", None):  # in their order of likeness
        wrong = str(getattr(error, "option_name", ""))
        message = f"No such option: {wrong}. Did you mean {get_close_matches(wrong, near, 1, 0)[0]}?"
    context = getattr(error, "ctx", None)
    if message.strip():  # empty when the help was shown instead
        console.complain(f"error: {message}" + (f" (see {context.command_path} --help)" if context else ""))


def _show_version(asks: bool) -> None:
    if asks:
        typer.echo(f"{console.PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", help="Write answers and errors alone, no remarks and no progress; anywhere on the line."
        ),
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", help="Write no colours, as with NO_COLOR set; anywhere on the line.")
    ] = False,
) -> None:
    pass
