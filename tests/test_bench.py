"""The benchmark compares like with like. Nothing is timed here."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.bench import keeping
from eval.bench.calibration import calibration
from eval.bench.speed import avx2_only, bench, growth, memory, plots, quick
from hybrid_mmsa.metrics import calibration_error


def test_light_core_is_counted_without_torch():
    names = {found.metadata["Name"].lower() for found in bench.dependencies("hybrid-mmsa", set())}
    assert {"hybrid-mmsa", "numpy", "onnxruntime", "typer"} <= names
    assert "torch" not in names
    assert "torch" in {found.metadata["Name"].lower() for found in bench.dependencies("open-clip-torch", set())}


def test_times_better_points_the_same_way_for_speed_and_size():
    ours = bench.SpeedFigures(10.0, 20.0, 100.0, 200.0, 0.5, 100.0)
    theirs = bench.SpeedFigures(100.0, 100.0, 10.0, 1000.0, 5.0, 4000.0)
    assert list(bench.ratios(ours, theirs).values()) == [10.0, 5.0, 10.0, 5.0, 10.0, 40.0]


def test_posts_have_words_and_a_real_picture():
    batch = bench.posts(bench.BATCH)
    assert len(batch) == bench.BATCH
    assert all(text and picture.startswith(b"\xff\xd8") for text, picture in batch)


def test_turns_are_pooled_and_compared_with_who_reads_as_much():
    def turns(*medians):
        common = {"posts_per_second": 10.0, "peak_memory_mb": 5.0, "cold_start_s": 0.3}
        parts = {"floors_ms": {"decoding": 0.5, "text tower": 0.5}}
        return [{"singles_ms": [m], **common, **parts} for m in medians]

    options = argparse.Namespace(rounds=2, repeats=1)
    sides = {bench.OURS: turns(2.0, 4.0), "clip": turns(20.0, 20.0), "hybrid_mmsa_words": turns(1.0, 1.0)}
    found = bench.record(sides | {"vader": turns(0.5, 0.5)}, options)
    assert found["sides"]["clip"]["latency_p50_ms"] == 20.0
    assert found["times_better"]["clip"]["latency_p50_rounds"] == [5.0, 10.0]
    assert found["times_better"]["vader"]["latency_p50_ms"] == 0.5
    assert found["whole_over_floors"] == 3.0
    assert bench.table(found).row_count == 4


def test_small_rivals_answer_every_post():
    batch = bench.posts(4)
    for name in ("tfidf", "vader"):
        assert len(bench.RIVALS[name].opened()(batch)) == 4


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


def test_growth_is_told_as_a_power_of_the_size():
    sizes = [{"size": size, "seconds": 2e-3 * size, "peak_memory_mb": 100.0} for size in (10.0, 100.0, 1000.0)]
    assert growth.exponent(sizes, 10) == pytest.approx(1)
    assert growth.exponent([{**each, "seconds": 0.5} for each in sizes], 10) == pytest.approx(0)
    assert growth.exponent(sizes, 1000) is None
    machine = {"system": "here", "cpus": 1, "load": 0.0}
    values = {"title": "posts & <words>", "sizes": sizes, "left_out": [10_000.0], "exponent": 1.0}
    record = {"date": "2026-01-01", "machine": machine, "growth": {"posts": values}}
    page = plots.speed_page(record)
    assert page.count("<svg") == 2
    assert "posts &amp; &lt;words&gt;" in page
    assert "size^1.00" in page
    assert growth.table(record).row_count == 1


@pytest.mark.parametrize(("kind", "size"), [("posts", 3), ("characters", 10), ("adapters", 2), ("threads", 2)])
def test_what_grows_can_be_done(kind, size, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "posts", lambda count: bench.posts(2))
    growth.KINDS[kind].prepared(size, tmp_path)()


def test_a_ratio_has_an_interval_and_only_a_sure_change_counts():
    ratio = quick.ratio_of([(2.0 + number / 100, 1.0) for number in range(15)])
    assert ratio.low < ratio.value == 2.07 < ratio.high
    assert quick.paired(lambda: sum(range(20_000)), lambda: sum(range(2_000)), 15).low > 1
    before = {"post": {"high": 1.8}, "explain": {"high": 1.7}}
    now = {"post": ratio, "explain": ratio, "start": ratio}
    assert quick.slower(now, before) == ["explain"]
    assert quick.table({"ratios": {"post": vars_of(ratio)}}, {}).row_count == 1


def vars_of(ratio):
    return {"value": ratio.value, "low": ratio.low, "high": ratio.high}


def test_records_of_fewer_instructions_say_so_and_replace_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "RESULTS", tmp_path)
    monkeypatch.setattr(keeping, "ROOT", tmp_path)
    for instructions in (None, "AVX2"):
        if instructions:
            monkeypatch.setenv(keeping.INSTRUCTIONS, instructions)
        keeping.keep("speed", keeping.circumstances([], threads=1))
    date = keeping.today()
    kept = {path.name: json.loads(path.read_text()).get("instructions") for path in tmp_path.iterdir()}
    assert kept == {f"speed-{date}.json": None, f"avx2-speed-{date}.json": "AVX2"}


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("objdump")), reason="needs gcc and objdump")
def test_every_question_to_the_processor_becomes_a_trap(tmp_path):
    source, library = tmp_path / "asks.c", tmp_path / "asks.so"
    source.write_text('int asks(void) { __asm__ volatile("cpuid" ::: "eax", "ebx", "ecx", "edx"); return 0; }')
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    before = library.read_bytes()
    avx2_only.trap(library)
    assert before.count(avx2_only.CPUID) - library.read_bytes().count(avx2_only.CPUID) == 1
    with pytest.raises(SystemExit, match="found no cpuid"):
        avx2_only.trap(library)
