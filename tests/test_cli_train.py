"""`train`: settings of a recipe by name, a missing extra named, and what reaches the training room."""

import dataclasses
import subprocess
import sys

import pytest
import tiny_encoders
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.terminal.settings import with_settings
from hybrid_mmsa.errors import InputError


@dataclasses.dataclass(frozen=True)
class Stage:
    epochs: int = 1
    rate: float = 0.5
    frozen: bool = False


@dataclasses.dataclass(frozen=True)
class Recipe:
    first: Stage = Stage()
    second: Stage = Stage(epochs=3)
    name: str = "plain"


@given(st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_settings_change_what_they_name_and_no_more(epochs, rate, frozen):
    settings = [f"second.epochs={epochs}", f"first.rate={rate!r}", f"first.frozen={str(frozen).lower()}", "name=odd"]
    changed = with_settings(Recipe(), settings)
    assert changed == Recipe(Stage(rate=rate, frozen=frozen), Stage(epochs=epochs), "odd")


def test_no_settings_change_nothing():
    assert with_settings(Recipe(), []) == Recipe()


def test_a_whole_number_may_stand_for_a_float():
    rate = with_settings(Recipe(), ["first.rate=2"]).first.rate
    assert (rate, type(rate)) == (2.0, float)


@pytest.mark.parametrize("name", ["epoch", "first", "first.epochs.x", "third.epochs", "", "__class__"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(InputError, match=r"first\.epochs, first\.rate, first\.frozen, second\.epochs"):
        with_settings(Recipe(), [f"{name}=1"])


@pytest.mark.parametrize(
    "setting", ["first.epochs=1.5", "first.epochs=true", "first.epochs=many", "first.frozen=1", "first.rate=", "name=3"]
)
def test_a_value_of_another_kind_is_refused(setting):
    with pytest.raises(InputError, match="wanted a value like"):
        with_settings(Recipe(), [setting])


def test_a_setting_needs_a_value():
    with pytest.raises(InputError, match="NAME=VALUE"):
        with_settings(Recipe(), ["first.epochs"])


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from hybrid_mmsa.cli import run
(here,) = sys.argv[1:]
commands = (
    ["text", "--runs", here, "--start", here],
    ["image", "--runs", here, "--start", here + "/oof.json"],
    ["fusion", "--text-runs", here, "--image-runs", here, "-o", here],
)
sys.exit({run(["train", *command, "--data", here]) for command in commands} != {2})
"""


def test_a_missing_extra_is_named(tmp_path):
    """Where torch is not installed, training says in one line what to install."""
    for name in ("oof.json", "config.json", "tokenizer.json", "student/tower.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)], capture_output=True, text=True)
    line = "error: training needs the extra 'train': pip install 'hybrid-mmsa[train]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", 3 * line)


WITHOUT_SCIPY = """
import sys
sys.modules["scipy.optimize"] = sys.modules["torch"] = None
from hybrid_mmsa.cli import run
(here,) = sys.argv[1:]
sys.exit(run(["train", "fusion", "--data", here, "--encoder", "compact", "-o", here + "/out"]))
"""


def test_heads_on_a_frozen_encoder_need_the_small_extra_alone(tmp_path):
    done = subprocess.run([sys.executable, "-c", WITHOUT_SCIPY, str(tmp_path)], capture_output=True, text=True)
    line = "error: training needs the extra 'tune': pip install 'hybrid-mmsa[tune]'\n"
    assert (done.returncode, done.stderr) == (2, line)


def test_a_frozen_encoder_becomes_a_model_and_strategies_are_compared(tiny_model, tmp_path, monkeypatch, capsys):
    from hybrid_mmsa import Analyzer

    tiny_encoders.write_posts(tmp_path / "data", tiny_encoders.drawn_posts(160, seed=7))
    monkeypatch.chdir(tiny_model)
    command = ["train", "fusion", "--data", str(tmp_path / "data"), "--encoder", "compact:towers"]
    command += ["-o", str(tmp_path / "mine"), "--set", "least=10"]
    assert run([*command, "--strategy", "all"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("early", "late", "attention", "gated"))
    assert not (tmp_path / "mine").exists()
    assert run([*command, "--strategy", "late"]) == 0
    analyzer = Analyzer.from_pretrained(tmp_path / "mine")
    assert analyzer.adapters["mine"].head.strategy == "late"
    unseen = tiny_encoders.drawn_posts(40, seed=8)
    answers = analyzer.analyze_batch(unseen)
    assert sum(a.sentiment.label == p.label for a, p in zip(answers, unseen, strict=True)) > 28


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "wanted --text-runs and --image-runs, or --encoder"),
        (["--encoder", "compact", "--text-runs", "here"], "not both"),
        (["--encoder", "nonsense"], "no encoder 'nonsense'"),
        (["--text-runs", "here", "--image-runs", "here"], "no finished run"),
    ],
)
def test_fusion_says_what_it_needs(tmp_path, capsys, options, told):
    tiny_encoders.write_posts(tmp_path, tiny_encoders.drawn_posts(3))
    assert run(["train", "fusion", "--data", str(tmp_path), "-o", str(tmp_path / "x"), *options]) == 2
    assert told in capsys.readouterr().err
