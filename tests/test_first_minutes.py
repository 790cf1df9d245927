"""What people do in their first ten minutes works, step by step, in an empty folder."""

import sys

import pytest

from eval.examples.first_minutes import PEOPLE, follow


@pytest.mark.parametrize("person", PEOPLE)
def test_every_step_works(person, tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(tmp_path / "home"))
    desk = tmp_path / "desk"
    desk.mkdir()
    times = follow(person, sys.executable, desk)
    assert [what for what, _ in times] == [step.what for step in PEOPLE[person]]
    assert all(seconds > 0 for _, seconds in times)
