"""`doctor`: it tells the truth about what is there, and its exit code says whether all is well."""

import importlib.metadata
import importlib.util
import json

import pytest

from hybrid_mmsa.cli import run
from hybrid_mmsa.cli.commands import doctor
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.reasoning import presets
from hybrid_mmsa.reasoning.models.store import Pulled, file_hashes, model_folder, write_manifest


@pytest.fixture
def only_the_core(monkeypatch):
    """An installation without extras: nothing heavy is imported."""
    monkeypatch.setattr(doctor, "requirements", lambda: {"": ["numpy", "pillow"]})


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A machine without pulled models."""
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(tmp_path / "home"))


def looked_at(capsys):
    return {check["name"]: check for check in map(json.loads, capsys.readouterr().out.splitlines())}


@pytest.mark.usefixtures("only_the_core")
def test_all_is_well(capsys):
    assert run(["doctor", "--json"]) == 0
    seen = looked_at(capsys)
    assert list(seen) == ["python", "cores", "hybrid-mmsa", "core", "model", "test post", "reasoner"]
    assert seen.pop("reasoner")["state"] == "absent"
    assert {check["state"] for check in seen.values()} == {"ok"}
    assert f"numpy {importlib.metadata.version('numpy')}" in seen["core"]["found"]
    assert "positive" in seen["test post"]["found"]


@pytest.mark.usefixtures("only_the_core")
def test_people_read_the_same(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1].startswith("absent  reasoner        no preset is pulled, see `hybrid-mmsa models list`")
    assert len(lines) == 7


@pytest.mark.usefixtures("only_the_core")
def test_pulled_models_are_told_and_checked(capsys):
    preset = presets()["smolvlm-500m"]
    folder = model_folder(preset.name)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    files = file_hashes(folder)
    manifest = Pulled(name=preset.name, repository=preset.repository, revision=preset.revision, files=files)
    write_manifest(folder, manifest)
    assert run(["doctor", "--json"]) == 0
    found = looked_at(capsys)["reasoner"]
    assert found["state"] == "ok"
    assert found["found"].startswith(f"smolvlm-500m {preset.revision[:12]}, all files as they should be")
    (folder / "model.safetensors").write_bytes(b"weight5")
    assert run(["doctor", "--json"]) == 1
    assert "is not as it was pulled" in looked_at(capsys)["reasoner"]["found"]


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
    """Nearly all is installed where the tests run, so a distribution whose module has another name is noticed here."""
    for extra, distributions in (doctor.requirements() or {}).items():
        for name in distributions if extra != "gradio" else ():  # it wants an older Pillow than the others
            assert importlib.util.find_spec(doctor.MODULES.get(name, name.replace("-", "_"))) is not None, name


def test_sources_that_are_not_installed(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert doctor.requirements() is None


@pytest.mark.usefixtures("only_the_core")
def test_the_report_holds_no_paths_and_no_names(capsys, monkeypatch):
    monkeypatch.setattr(doctor.getpass, "getuser", lambda: "mary")
    monkeypatch.setattr(doctor.platform, "node", lambda: "marys-laptop")
    private = [
        doctor.Check(
            "extra vlm", "failed", "torch 2.12 does not import: /home/mary/env/lib/torch.so: bad, on marys-laptop"
        ),
        doctor.Check("reasoner", "failed", "smol: C:\\Users\\mary\\models is damaged"),
        doctor.Check("plugin", "ok", "the encoder 'secret' of secret-project 1.0"),
    ]
    monkeypatch.setattr(doctor, "checks", lambda: iter([doctor.Check("python", "ok", "3.11 on Linux"), *private]))
    assert run(["doctor", "--report"]) == 1
    out = capsys.readouterr().out
    assert "3.11 on Linux" in out
    assert "torch 2.12 does not import: …" in out
    for word in ("mary", "/home", "Users", "secret", "laptop"):
        assert word not in out
