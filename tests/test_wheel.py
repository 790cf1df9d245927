"""The wheel holds all that `analyze()` needs and nothing else, and answers outside the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = {
    "charset-normalizer",
    "clevercsv",
    "emoji",
    "ftfy",
    "ijson",
    "numpy",
    "onnxruntime",
    "openpyxl",
    "pillow",
    "py3langid",
    "pydantic",
    "rich",
    "safetensors",
    "typer",
}
MODELS = {"tune", "clip", "hf", "vlm", "llama", "serve", "client", "server", "train", "tables", "eval"}
EXTRAS = MODELS | {"ray", "index", "sklearn", "pandas", "polars", "spacy", "mcp", "gradio", "ocr", "video", "speech"}
TOWERS_MB = 80
WHEEL_MB = 95


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from the checkout without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("hybrid_mmsa-*-py3-none-any.whl")
    return path


@pytest.fixture(scope="module")
def sizes(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {item.filename: item.file_size for item in archive.infolist()}


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_holds_every_module_and_only_the_package(sizes):
    modules = {str(file.relative_to(ROOT).as_posix()) for file in (ROOT / "hybrid_mmsa").rglob("*.py")}
    assert modules <= set(sizes)
    assert {name.split("/")[0].split("-")[0] for name in sizes} == {"hybrid_mmsa"}
    assert not [name for name in sizes if name.endswith((".pyc", ".pkl", ".pt", ".joblib")) or "__pycache__" in name]


def test_holds_what_the_fast_tier_reads(sizes):
    bundled = [f"hybrid_mmsa/_bundled/{name}" for name in ("adapters/default/adapter.json", "adapters/default/card.md")]
    page = [f"hybrid_mmsa/explain/page/{name}" for name in ("page.html", "page.css", "page.js", "draw.js")]
    page += ["hybrid_mmsa/explain/document.css", *(f"hybrid_mmsa/video/{name}" for name in ("page.html", "page.css"))]
    page += [f"hybrid_mmsa/serving/page/{name}" for name in ("index.html", "page.css", "page.js", "icon.svg")]
    assert {"hybrid_mmsa/py.typed", *bundled, *page} <= set(sizes)
    folders = [f"hybrid_mmsa/_bundled/{name}/" for name in ("prompts", "eval/protocols", "eval/everyday")]
    for folder in (*folders, "hybrid_mmsa/samples/"):
        assert [name for name in sizes if name.startswith(folder)], folder


def test_wheel_and_towers_are_small(wheel, sizes):
    assert wheel.stat().st_size <= WHEEL_MB * 1e6
    towers = {name: size for name, size in sizes.items() if name.startswith("hybrid_mmsa/encoders/weights/compact/")}
    assert [name for name in towers if name.endswith(".onnx")]
    assert sum(towers.values()) <= TOWERS_MB * 1e6


def test_carries_its_licences(sizes):
    carried = {name.rsplit("/", 1)[1] for name in sizes if ".dist-info/licenses/" in name}
    assert carried == {"LICENSE", "NOTICE", "WEIGHTS_LICENSE.md"}


def test_asks_for_the_light_core_only(unpacked):
    (file,) = unpacked.glob("*.dist-info/METADATA")
    metadata = Parser().parsestr(file.read_text(encoding="utf-8"))
    plain = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {line.split(">")[0].strip().lower() for line in plain} == CORE
    assert all("<" not in line and "==" not in line for line in plain), "a library leaves newer versions to its users"
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS
    assert set(metadata["Requires-Python"].split(",")) == {">=3.11", "<3.14"}


def test_answers_outside_the_checkout(unpacked, tmp_path):
    program = (
        "import hybrid_mmsa, hybrid_mmsa.bundled as b;"
        "print(hybrid_mmsa.analyze('What a wonderful evening, thank you all!').model_dump_json());"
        "print(hybrid_mmsa.__file__); print(b.bundled_path('adapters', 'default'))"
    )
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer, package, model = done.stdout.splitlines()
    assert json.loads(answer)["sentiment"]["label"] == "positive"
    assert Path(package).is_relative_to(unpacked)
    assert Path(model).is_relative_to(unpacked)
