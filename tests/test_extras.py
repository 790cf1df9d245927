"""Optional packages: each extra brings what its feature imports, and a missing package is one error at the door."""

import ast
import importlib.metadata
import runpy
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_locks import needed
from test_structure import MODULES, TREES, foreign, reached_by

from hybrid_mmsa import InputError, MissingExtraError
from hybrid_mmsa.encoders import open_encoder
from hybrid_mmsa.extras import needs

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Gradio is in no environment with the others: it wants an older Pillow than the lock holds. It is tried apart.
APART = "gradio"
DISTRIBUTIONS = {APART: [APART], **importlib.metadata.packages_distributions()}

# The modules that the door of each extra imports.
DOORS = {
    "tune": ["hybrid_mmsa.training.heads.adapting", "hybrid_mmsa.training.heads.frozen_posts"],
    "clip": ["hybrid_mmsa.encoders.open_clip"],
    "hf": ["hybrid_mmsa.encoders.hf", "hybrid_mmsa.encoders.tower_lora"],
    "vlm": [
        "hybrid_mmsa.reasoning.backends.transformers",
        "hybrid_mmsa.reasoning.models.converting",
        "hybrid_mmsa.reasoning.models.pull",
    ],
    "llama": ["hybrid_mmsa.reasoning.backends.llama_cpp"],
    "serve": ["hybrid_mmsa.serving.app", "hybrid_mmsa.serving.server"],
    "client": ["hybrid_mmsa.client"],
    "server": ["hybrid_mmsa.reasoning.backends.openai_server"],
    "train": [name for name in MODULES if name.startswith("hybrid_mmsa.training.")],
    "tables": ["hybrid_mmsa.data.rows.sheet_rows", "hybrid_mmsa.cli.commands.embed"],
    "sklearn": ["hybrid_mmsa.integrations.sklearn"],
    "pandas": ["hybrid_mmsa.integrations.frames"],
    "polars": ["hybrid_mmsa.integrations.frames"],
    "spacy": ["hybrid_mmsa.integrations.spacy"],
    "mcp": ["hybrid_mmsa.integrations.mcp"],
    "gradio": ["hybrid_mmsa.integrations.gradio"],
    "ray": ["hybrid_mmsa.engines.ray_engine"],
    "index": ["hybrid_mmsa.search.neighbours"],
    "ocr": ["hybrid_mmsa.senses.word_reader"],
    "video": ["hybrid_mmsa.video", "hybrid_mmsa.inputs.media"],
    "speech": ["hybrid_mmsa.senses.speech"],
    "eval": ["hybrid_mmsa.evaluation.floors"],
}
# Declared, although no line of ours imports them: open_clip and timm need the first, starlette the second for forms,
# and Ray's readers the third, which look at every path as if it were an address.
# A frame is made by the package that the caller's own frame is of.
NOT_IMPORTED = {"torchvision", "python-multipart", "aiohttp", "pandas", "polars"}


@cache
def brought_by(extras):
    """All that an installation with these extras holds."""
    lines = [line for extra in extras for line in requirements_of(extra)]
    return needed([*PROJECT["dependencies"], *lines])


def extras_named(trees):
    """The extras that calls of `needs` spell out."""
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    doors = [call.args[0] for call in calls if ast.unparse(call.func) == "needs"]
    return {extra.value for extra in doors if isinstance(extra, ast.Constant)}


def distributions_of(modules):
    """What brings the packages that these modules import anywhere, in functions too."""
    names = {name for module in modules for name in foreign(MODULES[module], ast.walk(TREES[MODULES[module]]))}
    return {canonicalize_name(DISTRIBUTIONS[name][0]) for name in names}


def requirements_of(extra):
    """Its lines, with those of the extras that it takes in."""
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            for other in requirement.extras:
                yield from requirements_of(other)
        else:
            yield line


def test_each_extra_has_a_door():
    assert DOORS.keys() == EXTRAS.keys()


@pytest.mark.parametrize("extra", sorted(DOORS.keys() - {APART}))
def test_an_extra_brings_all_that_its_feature_imports(extra):
    """Other packages are imported only by modules with a door of their own to the extra that brings them."""
    lacking = {}
    for module in reached_by(DOORS[extra]):
        extras = {extra, *extras_named([TREES[MODULES[module]]])}
        lacking[module] = distributions_of([module]) - brought_by(frozenset(extras))
    assert {module: names for module, names in lacking.items() if names} == {}


def test_every_declared_package_is_imported():
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS for line in requirements_of(extra))]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    assert declared - distributions_of(MODULES) == NOT_IMPORTED


def test_a_missing_package_names_feature_and_install_line():
    with pytest.raises(MissingExtraError) as caught, needs("tune", "training an adapter"):
        import there_is_no_such_package  # noqa: F401
    assert str(caught.value) == "training an adapter needs the extra 'tune': pip install 'hybrid-mmsa[tune]'"
    assert (caught.value.feature, caught.value.extra) == ("training an adapter", "tune")


def test_a_package_that_is_too_old_says_so():
    with (
        pytest.raises(MissingExtraError, match=r"floors \(cannot import name 'no_such'.*extra 'eval'"),
        needs("eval", "floors"),
    ):
        from json import no_such  # noqa: F401


def test_errors_of_our_own_pass_through_the_door():
    with pytest.raises(MissingExtraError, match="extra 'clip'"), needs("train", "training"):
        raise MissingExtraError("an encoder", "clip")
    with pytest.raises(InputError), needs("train", "training"):
        raise InputError("a bad row")
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as caught, needs("train", "training"):
        import hybrid_mmsa.no_such_module  # noqa: F401
    assert not isinstance(caught.value, MissingExtraError)


def test_nobody_raises_it_by_hand():
    by_hand = [
        module
        for module, file in MODULES.items()
        if module not in {"hybrid_mmsa.extras", "hybrid_mmsa.errors"}
        for node in ast.walk(TREES[file])
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("MissingExtraError")
    ]
    assert by_hand == []


def test_every_extra_that_a_door_names_exists():
    """The error prints an install line, which must work."""
    named = extras_named(TREES.values())
    assert {"tune", "train", "eval", "vlm"} <= named <= set(EXTRAS)


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("hf:words+timm:pictures", "timm", "hf"),
        ("hf:words+timm:pictures", "transformers", "hf"),
        ("open_clip:ViT-B-32", "open_clip", "clip"),
    ],
)
def test_an_encoder_names_the_extra_that_opens_it(monkeypatch, tmp_path, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"hybrid_mmsa.encoders.{name.partition(':')[0]}", raising=False)
    with pytest.raises(MissingExtraError) as caught:
        open_encoder(name, tmp_path)
    assert (caught.value.feature, caught.value.extra) == (f"the encoder {name!r}", extra)


def test_every_extra_is_tried_at_its_lowest_and_newest_versions():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "versions.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["smoke"]["strategy"]["matrix"]["extra"]
    smoke = runpy.run_path(str(ROOT / ".ci" / "smoke"))
    assert set(matrix) - {""} == set(EXTRAS) == set(smoke["MODULES"])
