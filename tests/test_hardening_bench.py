"""The hardening run: inputs are the same each time, faults are counted and not fatal, the page is its record's."""

import importlib
import json
from contextlib import suppress
from random import Random

import pytest
from PIL import Image

from eval.bench.hardening import hardening, runs, trials
from eval.bench.hardening.damage import DAMAGES, damaged
from eval.bench.hardening.page import PAGE, page
from eval.bench.hardening.pictures import SIZES, bases, false_size
from eval.bench.keeping import RESULTS
from hybrid_mmsa.errors import HybridError
from hybrid_mmsa.inputs import FORMATS

RECORD = max(RESULTS.glob("hardening-*.json"))


def test_the_page_is_what_the_latest_record_gives():
    assert PAGE.read_text(encoding="utf-8") == page(json.loads(RECORD.read_text(encoding="utf-8")))


def test_the_record_holds_every_part_whole_and_without_a_fault():
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    for family in hardening.FAMILIES:
        assert record[family]["trials"] == importlib.import_module(f"eval.bench.hardening.{family}").COUNT
        assert record[family]["faults"] == []
    assert {"large_pictures", "kills", "many_threads", "soak", "traces"} <= record.keys()


@pytest.mark.parametrize("family", ["pictures", "files", "artefacts"])
def test_a_trial_is_the_same_each_time_and_ends_in_an_answer_or_our_error(family, tmp_path):
    attempts = importlib.import_module(f"eval.bench.hardening.{family}").prepare(tmp_path)
    for number in range(1, 12):
        assert attempts(number).kind == attempts(number).kind
        with suppress(HybridError):
            assert attempts(number).run()


def test_damage_changes_what_it_is_given():
    content = bytes(range(256)) * 4
    for name in DAMAGES:
        changed = [damaged(content, Random(seed), name) for seed in range(20)]
        assert changed == [damaged(content, Random(seed), name) for seed in range(20)]
        assert sum(one != content for one in changed) >= 18


def test_every_format_is_made_and_lies_about_its_size():
    whole = bases(Image.effect_noise((40, 30), 50).convert("RGB"))
    assert {name.split()[0] for name in whole} == set(FORMATS) == set(SIZES)
    for name, content in whole.items():
        kind = name.split()[0]
        assert any(false_size(content, kind, Random(seed)) != content for seed in range(30)), name


FAMILY = """
import os, time
from eval.bench.hardening.trials import Attempt
from hybrid_mmsa.errors import InputError

def raises(error):
    raise error

RUNS = [
    lambda: "fine",
    lambda: raises(InputError("x")),
    lambda: raises(KeyError("x")),
    os.abort,
    lambda: time.sleep(60),
    lambda: str(len(bytearray(50_000_000))),
]

def prepare(folder):
    return lambda number: Attempt("kind", RUNS[number])
"""


def test_errors_of_others_crashes_and_hangs_are_counted_and_the_next_trial_runs(tmp_path, monkeypatch):
    package = tmp_path / "eval" / "bench" / "hardening"  # of the namespace that the others are in
    package.mkdir(parents=True)
    (package / "made_up.py").write_text(FAMILY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(trials, "SILENCE", 3.0)
    found = list(trials.run_trials("made_up", 6))
    outcomes = [trial.outcome for trial in found]
    assert outcomes == ["fine", "InputError", trials.UNTYPED, trials.CRASH, trials.HANG, "50000000"]
    assert found[-1].megabytes > 40
    told = trials.figures(found)
    assert [fault["number"] for fault in told["faults"]] == [2, 3, 4]
    assert told["largest"][0]["number"] == 5


def test_the_posts_of_a_soak_are_the_same_each_time():
    assert list(runs.mixed_posts(12)) == list(runs.mixed_posts(12))
    assert {(text is None, image is None) for text, image in runs.mixed_posts(20)} == {
        (False, False),
        (False, True),
        (True, False),
    }
