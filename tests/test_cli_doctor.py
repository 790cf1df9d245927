"""`doctor`: it tells the truth about what is there, and its exit code says whether all is well."""

import importlib.metadata
import importlib.util
import json

import pytest

from hybrid_mmsa.cli import doctor, run
from hybrid_mmsa.errors import ArtefactError


@pytest.fixture
def only_the_core(monkeypatch):
    """An installation without extras: nothing heavy is imported."""
    monkeypatch.setattr(doctor, "requirements", lambda: {"": ["numpy", "pillow"]})


def looked_at(capsys):
    return {check["name"]: check for check in map(json.loads, capsys.readouterr().out.splitlines())}


@pytest.mark.usefixtures("only_the_core")
def test_all_is_well(capsys):
    assert run(["doctor", "--json"]) == 0
    seen = looked_at(capsys)
    assert list(seen) == ["python", "cores", "hybrid-mmsa", "core", "model", "test post"]
    assert {check["state"] for check in seen.values()} == {"ok"}
    assert f"numpy {importlib.metadata.version('numpy')}" in seen["core"]["found"]
    assert "positive" in seen["test post"]["found"]


@pytest.mark.usefixtures("only_the_core")
def test_people_read_the_same(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert len(lines) == 6


@pytest.mark.usefixtures("only_the_core")
def test_a_damaged_model_is_told(capsys, monkeypatch):
    def damaged():
        raise ArtefactError("text.onnx has another hash: damaged or replaced")

    monkeypatch.setattr(doctor.Analyzer, "from_pretrained", damaged)
    assert run(["doctor", "--json"]) == 1
    model = looked_at(capsys)["model"]
    assert model["state"] == "failed"
    assert "damaged" in model["found"]


def test_extras_are_imported_for_real(monkeypatch, tmp_path):
    """A package that is installed and breaks when imported is found out; one that is not installed is no fault."""
    (tmp_path / "breaks_at_once.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    versions = {"breaks-at-once": "1.0", "numpy": "2.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    needed = {
        "broken": ["numpy", "breaks-at-once"],
        "there": ["numpy"],
        "gone": ["no-such-thing"],
        "half": ["numpy", "no"],
    }
    monkeypatch.setattr(doctor, "requirements", lambda: {"": ["numpy"]} | needed)
    seen = {check.name: check for check in doctor.checks()}
    assert seen["extra broken"].state == "failed"
    assert "operator nms does not exist" in seen["extra broken"].found
    assert (seen["extra there"].state, seen["extra there"].found) == ("ok", "numpy 2.0")
    assert (seen["extra gone"].state, seen["extra gone"].found) == ("absent", "pip install 'hybrid-mmsa[gone]'")
    assert "lacks no" in seen["extra half"].found


def test_requirements_are_those_of_the_package():
    needed = doctor.requirements()
    assert needed is not None
    assert {"numpy", "onnxruntime", "pillow"} <= set(needed[""])
    assert {"tune", "clip", "vlm", "llama", "train", "eval"} <= set(needed)
    assert "torch" in needed["clip"]
    assert "torch" not in needed[""]


def test_every_extra_s_module_has_its_name():
    """Everything is installed where the tests run, so a distribution whose module has another name is noticed here."""
    for distributions in (doctor.requirements() or {}).values():
        for name in distributions:
            assert importlib.util.find_spec(doctor.MODULES.get(name, name.replace("-", "_"))) is not None, name


def test_sources_that_are_not_installed(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert doctor.requirements() is None
