"""What makes a command line pleasant: completion, hints, silence, no colours, examples, a manual page."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from hybrid_mmsa.cli import app, run

ROOT = Path(__file__).resolve().parent.parent
QUIETLY = {**os.environ, "PYTHONWARNINGS": "ignore"}


def leaves(command, words=()):
    """Every command that does something, by the words that call it."""
    found = {words: command} if not hasattr(command, "commands") or (words and command.invoke_without_command) else {}
    for name, child in getattr(command, "commands", {}).items():
        found |= leaves(child, (*words, name))
    return found


LEAVES = leaves(typer.main.get_command(app))


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_shows_examples_of_itself(words):
    _, _, examples = LEAVES[words].help.partition("For example:")
    assert f"hybrid-mmsa {' '.join(words)}" in examples


@pytest.mark.parametrize(
    ("typed", "place", "wanted"), [("hybrid-mmsa ana", 1, "analyze"), ("hybrid-mmsa analyze --ima", 2, "--image")]
)
def test_the_shell_completes_commands_and_options(typed, place, wanted):
    asked = {"_HYBRID_MMSA_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(place)}
    command = [sys.executable, "-m", "hybrid_mmsa"]
    done = subprocess.run(command, env={**QUIETLY, **asked}, capture_output=True, text=True, check=False)
    assert wanted in done.stdout.split()


@pytest.mark.parametrize(("typed", "meant"), [("--imge", "--image"), ("--explian", "--explain"), ("--jsn", "--json")])
def test_a_mistyped_option_is_answered_by_the_one_that_was_meant(typed, meant, capsys):
    assert run(["analyze", "fine", typed, "x"]) == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_quiet_leaves_answers_and_errors(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("posts.jsonl").write_text('{"text": "fine"}\n{"text": " "}\n', encoding="utf-8")
    assert run(["--quiet", "batch", "posts.jsonl", "-o", "a.jsonl"]) == 1
    assert capsys.readouterr() == ("", "")
    assert run(["batch", "posts.jsonl", "-o", "b.jsonl"]) == 1
    assert "1 row failed" in capsys.readouterr().err
    assert run(["batch", "posts.jsonl", "-o", "a.jsonl", "--quiet"]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_switches_behind_two_dashes_are_words_of_a_post(capsys):
    assert run(["analyze", "--json", "--", "--quiet"]) == 0
    assert '"sentiment"' in capsys.readouterr().out


def test_no_color_writes_none_whatever_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert run(["analyze", "fine"]) == 0
    assert "\x1b[3" in capsys.readouterr().out
    assert run(["analyze", "fine", "--no-color"]) == 0
    assert "\x1b[3" not in capsys.readouterr().out
    assert "NO_COLOR" not in os.environ


def test_the_help_says_the_exit_codes(capsys):
    assert run(["--help"]) == 0
    assert "Exit codes: 0 done" in " ".join(capsys.readouterr().out.split())


def test_the_manual_page_holds_every_command_and_renders():
    done = subprocess.run([sys.executable, ".ci/manpage"], cwd=ROOT, capture_output=True, text=True, check=True)
    page = done.stdout.replace("\\-", "-")
    assert {" ".join(words) for words in LEAVES if f".SS {' '.join(words)}\n" not in page} == set()
    assert "hybrid-mmsa batch reviews.xlsx" in page
    requests = {line.split()[0] for line in done.stdout.splitlines() if line.startswith(".")}
    assert requests <= {".TH", ".SH", ".SS", ".PP", ".TP", ".nf", ".fi"}
    if groff := shutil.which("groff"):
        rendered = subprocess.run(
            [groff, "-man", "-Tutf8", "-ww"], input=done.stdout, capture_output=True, text=True, check=True
        )
        assert rendered.stderr == ""
