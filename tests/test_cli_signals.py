"""Commands that are told to end: what is done is kept, no half file stays, and the exit code says how it ended."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.terminal.console import Terminated, heed_termination
from hybrid_mmsa.cli.terminal.whole import whole_file

ROWS = 20_000
COMMAND = [sys.executable, "-m", "hybrid_mmsa"]


def posts(folder, rows):
    (folder / "posts.jsonl").write_text("".join(f'{{"text": "we love the sun {n}"}}\n' for n in range(rows)))


def started(folder, *arguments):
    def listen():
        """Programs in the background of a shell are started deaf to Ctrl-C, and so are theirs."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen([*COMMAND, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def wait_for(ready, child):
    until = time.monotonic() + 60
    while not ready():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_batch_that_is_told_to_end_keeps_what_is_done(tiny_model, tmp_path, monkeypatch, number, code):
    posts(tmp_path, ROWS)
    partial = tmp_path / "out.jsonl.partial"
    child = started(tmp_path, "batch", "posts.jsonl", "-o", "out.jsonl", "--model", tiny_model, "--explain", "none")
    wait_for(lambda: partial.exists() and partial.stat().st_size > 0, child)
    child.send_signal(number)
    _, said = child.communicate(timeout=20)
    assert child.returncode == code
    lines = partial.read_bytes().splitlines(keepends=True)
    assert 0 < len(lines) < ROWS
    done = "1 row" if len(lines) == 1 else f"{len(lines):,} rows"  # how many depends on the machine
    assert f"stopped: {done} done; go on with --resume\n" in said
    assert "Traceback" not in said
    assert lines[-1].endswith(b"\n")
    assert not (tmp_path / "out.jsonl").exists()
    # Of a run over fewer rows, so that the test need not wait for all of them.
    monkeypatch.chdir(tmp_path)
    posts(tmp_path, len(lines) + 10)
    assert (
        run(["batch", "posts.jsonl", "-o", "out.jsonl", "--model", str(tiny_model), "--explain", "none", "--resume"])
        == 0
    )
    answers = (tmp_path / "out.jsonl").read_bytes().splitlines(keepends=True)
    assert answers[: len(lines)] == lines
    assert len(answers) == len(lines) + 10


def test_an_end_does_not_wait_for_posts_in_work(tiny_model, tmp_path):
    """A reasoner may work on a chunk for minutes; whoever stops containers gives them 10 s."""
    posts(tmp_path, 40)
    program = tmp_path / "slow.py"
    program.write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "from hybrid_mmsa import Analyzer\n"
        "from hybrid_mmsa.cli import main\n"
        "def stream(self, rows, **options):\n"
        "    Path('begun').touch()\n"
        "    time.sleep(60)\n"
        "Analyzer.stream = stream\n"
        "main()\n"
    )
    arguments = ["batch", "posts.jsonl", "-o", "out.jsonl", "--model", str(tiny_model)]
    child = subprocess.Popen([sys.executable, program, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_for((tmp_path / "begun").exists, child)
    child.terminate()
    _, said = child.communicate(timeout=20)
    assert (child.returncode, said) == (143, "stopped: 0 rows done; go on with --resume\n")
    assert {file.name for file in tmp_path.iterdir()} == {"posts.jsonl", "slow.py", "begun"}


def test_a_command_without_a_journal_ends_as_well(tiny_model, tmp_path):
    posts(tmp_path, ROWS)
    child = started(tmp_path, "explain", "page", "posts.jsonl", "-o", "page.html", "--model", tiny_model)
    time.sleep(2)
    child.terminate()
    _, said = child.communicate(timeout=20)
    assert child.returncode in {143, -signal.SIGTERM}, said  # the latter while it still imports
    assert "Traceback" not in said
    assert {file.name for file in tmp_path.iterdir()} == {"posts.jsonl"}


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        heed_termination()
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("end", [Terminated, KeyboardInterrupt, ValueError])
def test_a_file_is_whole_or_as_it_was(tmp_path, end):
    out = tmp_path / "out.txt"
    out.write_text("before")

    def write_half():
        with whole_file(out) as draft:
            Path(draft).write_text("half")
            raise end

    with pytest.raises(end):
        write_half()
    assert out.read_text() == "before"
    with whole_file(out) as draft:
        draft.write_text("whole")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.txt", "whole")]
