"""The benchmark compares like with like. Nothing is timed here."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from eval.bench.calibration import calibration
from eval.bench.speed import bench, memory
from hybrid_mmsa.metrics import calibration_error


def test_light_core_is_counted_without_torch():
    names = {found.metadata["Name"].lower() for found in bench.dependencies("hybrid-mmsa", set())}
    assert {"hybrid-mmsa", "numpy", "onnxruntime", "tokenizers"} <= names
    assert "torch" not in names
    assert "torch" in {found.metadata["Name"].lower() for found in bench.dependencies("open-clip-torch", set())}


def test_times_better_points_the_same_way_for_speed_and_size():
    ours = bench.SpeedFigures(10.0, 20.0, 100.0, 0.5, 200.0, 100.0)
    theirs = bench.SpeedFigures(100.0, 100.0, 10.0, 5.0, 1000.0, 4000.0)
    assert list(bench.ratios(ours, theirs).values()) == [10.0, 5.0, 10.0, 10.0, 5.0, 40.0]


def test_posts_have_words_and_a_real_picture():
    batch = bench.posts(bench.BATCH)
    assert len(batch) == bench.BATCH
    assert all(text and picture.startswith(b"\xff\xd8") for text, picture in batch)


def test_turns_are_pooled():
    turns = [
        {"singles_ms": [1.0, 2.0], "posts_per_second": 10.0, "peak_memory_mb": 5.0},
        {"singles_ms": [3.0], "posts_per_second": 30.0, "peak_memory_mb": 7.0},
    ]
    pooled = bench.figures(turns, [0.4, 0.2, 0.3], 80.0)
    assert (pooled.latency_p50_ms, pooled.posts_per_second, pooled.cold_start_s) == (2.0, 20.0, 0.3)
    assert (pooled.peak_memory_mb, pooled.install_mb) == (7.0, 80.0)


def test_every_figure_has_its_row():
    values = {name: 1.0 for name in bench.HEADINGS}
    result = {"machine": {"cpus": 2, "load": 0.0}, "hybrid_mmsa": values, "clip": values, "times_better": values}
    assert bench.table(result).row_count == len(bench.HEADINGS) == len(bench.SpeedFigures.__dataclass_fields__)


def test_a_childs_peak_memory_is_its_own_and_is_not_forgotten():
    """A large program starts a small one, which holds something for a moment."""
    ballast = b"x" * 200_000_000
    program = "import memory; print(memory.peak_memory_mb()); b'x' * 100_000_000; print(memory.peak_memory_mb())"
    command = [sys.executable, "-c", program]
    folder = Path(memory.__file__).parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    before, after = map(float, done.stdout.split())
    assert memory.peak_memory_mb() > len(ballast) / 1e6
    assert before < 100
    assert before + 90 < after < before + 110


def test_the_band_holds_a_model_that_tells_the_truth_and_no_boaster():
    chance = np.random.default_rng(1)
    true = chance.dirichlet((1.0, 1.0, 1.0), 450)
    gold = (chance.random((450, 1)) > true.cumsum(1)[:, :-1]).sum(1)
    low, high = calibration.band(true, draws=200)
    assert low < calibration_error(gold, true) < high
    boasted = true**3 / (true**3).sum(1, keepdims=True)
    assert calibration_error(gold, boasted) > calibration.band(boasted, draws=200)[1]
