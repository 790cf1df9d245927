"""What commands write where, and how they say how far they have come."""

import io
import json
import re
import subprocess
import sys

import pytest

from hybrid_mmsa.cli.terminal import progress as progress_room
from hybrid_mmsa.cli.terminal.console import ReaderGone, emit, invocation, say
from hybrid_mmsa.cli.terminal.show import bar
from hybrid_mmsa.types import SCHEMA_VERSION


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder with an installed command in it, which is the working folder too."""
    program = tmp_path / "venv" / "bin" / "hybrid-mmsa"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    return program


def test_a_hint_names_the_command_that_was_called(installed, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "argv", ["venv/bin/hybrid-mmsa", "demo"])
    assert invocation() == "venv/bin/hybrid-mmsa"
    monkeypatch.setattr(sys, "argv", [str(installed), "demo"])
    assert invocation() == "venv/bin/hybrid-mmsa"
    monkeypatch.setenv("PATH", str(installed.parent))
    assert invocation() == "hybrid-mmsa"
    monkeypatch.setattr(sys, "argv", ["/site/hybrid_mmsa/__main__.py", "demo"])
    assert invocation().endswith("-m hybrid_mmsa")


def test_a_remark_is_one_line(capsys):
    say("one\ntwo   three [bold]four[/]")
    assert capsys.readouterr() == ("", "one two three [bold]four[/]\n")


def test_json_is_utf_8_whatever_the_terminal(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    emit('"café 😀"')
    assert raw.getvalue() == '"café 😀"\n'.encode()


def test_a_closed_reader_is_told_from_an_error(monkeypatch):
    class Closed(io.RawIOBase):
        def writable(self):
            return True

        def write(self, _):
            raise BrokenPipeError

    raw = Closed()
    stream = io.TextIOWrapper(io.BufferedWriter(raw, 1))
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(ReaderGone):
        emit("{}")
    monkeypatch.undo()
    raw.write = len  # so that nothing is left to write when the stream is closed
    stream.close()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams_end_no_command(closed, tmp_path):
    """What is written to a file is written, and takes the place of no closed stream."""
    (tmp_path / "posts.jsonl").write_text('{"text": "a wonderful day"}\n')
    program = f"{sys.executable} -m hybrid_mmsa"
    for command in ("--version", "batch posts.jsonl -o answers.jsonl", "analyze hello --json"):
        done = subprocess.run(f"{program} {command} {closed}", shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    answers = (tmp_path / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["schema_version"] for line in answers] == [SCHEMA_VERSION]


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, "    "), (1, "████"), (0.5, "██  "), (0.53125, "██▏ "), (0.25, "█   "), (0.999, "████")]
)
def test_bars_are_as_long_as_their_share(share, drawn):
    assert bar(share, 4) == drawn


@pytest.mark.parametrize(("share", "drawn"), [(0, "    "), (1, "####"), (0.5, "##  ")])
def test_bars_in_ascii(share, drawn):
    assert bar(share, 4, ascii_only=True) == drawn


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    asked = []

    def total():
        asked.append("total")
        return 3000

    with progress_room.progress("posts", total, done=1000) as advance:
        advance()
        assert not asked, "nothing is counted before a line is shown"
        monkeypatch.setattr(progress_room, "SECONDS_BETWEEN_LINES", -1.0)
        advance()
        advance()
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"1,002 of 3,000 posts done, [\d,.]+ a second, [\d:]+ left", first)
    assert second.startswith("1,003 of 3,000 posts done, ")
    assert len(asked) == 1


def test_in_a_terminal_progress_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_room.progress("posts", lambda: 3) as advance:
        for _ in range(3):
            advance()
    assert "3/3" in capsys.readouterr().err
