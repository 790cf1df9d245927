"""The inputs that `make fuzz` begins with are met by every door without a fault; the program runs without atheris."""

import subprocess
import sys

import pytest
from fuzz import targets
from fuzz.targets import CORPUS, TARGETS, meet

from hybrid_mmsa import errors

FILES = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("name", TARGETS)
def test_every_file_is_answered_or_refused_by_every_target(name):
    for path in FILES:
        outcome = meet(name, path.read_bytes())
        assert outcome == "answered" or outcome in errors.__all__, path


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_begins_with_small_files_and_something_is_answered(name):
    own = [path for path in FILES if path.parent.name == name]
    assert "answered" in {meet(name, path.read_bytes()) for path in own}
    assert max(path.stat().st_size for path in own) <= min(4_000, TARGETS[name].longest)


def test_the_corpus_is_small():
    assert {path.parent.name for path in FILES} == set(TARGETS)
    assert sum(path.stat().st_size for path in FILES) < 40_000


@pytest.mark.parametrize("content", [b"", b"0", b"\xff", b"\xff\n{}"])
def test_next_to_nothing_is_met_as_well(content):
    assert {meet(name, content) for name in TARGETS} <= {"answered", *errors.__all__}


def test_a_fault_is_raised_as_it_is(monkeypatch):
    monkeypatch.setattr(targets, "normalise", lambda words: {}[words])
    with pytest.raises(KeyError, match="so good"):
        meet("text", b"so good")


def test_an_input_is_met_again_by_the_line_that_is_printed():
    program, path = CORPUS.parent / "fuzz.py", CORPUS / "data_uri" / "no_comma"
    done = subprocess.run([sys.executable, program, "again", "data_uri", path], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "InputError"), done.stderr
