"""Adapter folders from elsewhere: whatever their files hold, they load or are an `ArtefactError`."""

import json
import math
import random
import shutil
import warnings

import numpy as np
import pytest
import tiny
from peft import LoraConfig
from safetensors.numpy import load_file, save_file

from hybrid_mmsa.adapters import MANIFEST, Adapter, describe_adapter, resolve_adapter
from hybrid_mmsa.artefacts import LoraFile, read_artefact
from hybrid_mmsa.encoders.compact import WEIGHTS, CompactManifest
from hybrid_mmsa.encoders.tower_lora import _read as read_tower_lora
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.reasoning.backends.transformers.adapters import _read as read_reasoner_lora

DEEP = "[" * 100_000
VALUES = [None, 7, -1, 5.0, 1e308, True, "", "text", [], {}, [[]], {"a": None}, "0" * 64, "../../etc/passwd"]
RAW = ["", "null", "7", "[]", "{}", '"text"', "NaN", DEEP, '{"a":' * 100_000, "\ufeff{}", "\x00", "1" + "0" * 400]
JSON_FILES = ["adapter.json", "router.json", "calibration.json"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefacts") / "made"
    tiny.adapter().save(folder)
    (folder / "card.md").write_text("# A card\n")
    return described(folder)


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def described(folder):
    """The folder with hashes that fit its files, so that what they hold is looked at."""
    manifest = json.loads((folder / MANIFEST).read_text())
    fitted_to = {key: manifest[key] for key in ("encoder", "encoder_hash", "strategy") if key in manifest}
    describe_adapter(folder, name=manifest["name"], made_with=manifest["made_with"], fitted_to=fitted_to)
    return folder


def refused_or_loaded(folder):
    """The error of a folder; None where it loads. Anything but an `ArtefactError` fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            adapter = Adapter.load(folder)
            adapter.check_router()
        except ArtefactError as error:
            return error
    return None


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("content", RAW)
def test_a_file_that_holds_something_else_is_refused(folder, name, content):
    (folder / name).write_text(content)
    if name != MANIFEST:
        described(folder)
    assert refused_or_loaded(folder) is not None


def places(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places(inner, (*path, key))


def changed(document, path, value):
    if not path:
        return value
    return {**document, path[0]: changed(document[path[0]], path[1:], value)}


@pytest.mark.parametrize("name", JSON_FILES)
def test_a_field_of_another_kind_is_a_typed_error(folder, name):
    document = json.loads((folder / name).read_text())
    for path in places(document):
        for value in VALUES:
            (folder / name).write_text(json.dumps(changed(document, path, value)))
            if name != MANIFEST:
                described(folder)
            refused_or_loaded(folder)


@pytest.mark.parametrize("value", ["5", "-1", "1" + "0" * 400, "NaN", "Infinity", '"0.5"', "true"])
def test_a_set_threshold_out_of_its_range_is_refused(folder, value):
    document = json.loads((folder / "router.json").read_text())
    document["set_threshold"] = "HERE"
    (folder / "router.json").write_text(json.dumps(document).replace('"HERE"', value))
    assert "set_threshold" in str(refused_or_loaded(described(folder)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(folder, value):
    arrays = load_file(folder / "fast.safetensors")
    name = sorted(arrays)[0]
    arrays[name].flat[0] = value
    save_file(arrays, folder / "fast.safetensors")
    assert f"not finite, in {name}" in str(refused_or_loaded(described(folder)))


def test_a_card_is_checked_where_it_has_a_hash_and_changes_no_model_hash(folder):
    before = Adapter.load(folder).hash
    (folder / "card.md").write_text("# Another\n")
    assert "card.md" in str(refused_or_loaded(folder))
    assert Adapter.load(described(folder)).hash == before
    bundled = Adapter.load(resolve_adapter("default"))
    assert bundled.card


@pytest.mark.parametrize("name", ["../made/fast.safetensors", "/etc/passwd"])
def test_a_manifest_names_no_file_outside_its_folder(folder, name):
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert "outside of the folder" in str(refused_or_loaded(folder))


def test_mutated_files_are_loaded_or_refused(folder, made):
    """Bytes changed, cut and doubled in every file, with hashes that fit and with those of before."""
    chance = random.Random(7)
    files = sorted(file for file in made.iterdir() if file.is_file())
    for turn in range(300):
        file = chance.choice(files)
        content = bytearray(file.read_bytes())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(content) or 1)
            kind = chance.randrange(4)
            if kind == 0:
                content[at : at + 1] = bytes([chance.randrange(256)])
            elif kind == 1:
                del content[at : at + chance.randint(1, 200)]
            elif kind == 2:
                content[at:at] = content[at : at + 50]
            else:
                content[at:at] = chance.choice([b"null", b"1e999", b"[", b"\xff", b"-"])
        (folder / file.name).write_bytes(bytes(content))
        if turn % 2 and file.name != MANIFEST:
            described(folder)
        refused_or_loaded(folder)
        shutil.copytree(made, folder, dirs_exist_ok=True)


LORA = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": ["q_proj", "v_proj"]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("r", 0),
        ("r", -8),
        ("r", 10**9),
        ("r", 8.5),
        ("r", "8"),
        ("r", None),
        ("lora_alpha", 0),
        ("lora_alpha", -16),
        ("lora_alpha", 10**400),
        ("lora_alpha", "16"),
        ("lora_dropout", 1),
        ("lora_dropout", -0.1),
        ("target_modules", 7),
        ("target_modules", "(a+)+b"),
        ("target_modules", ".*.*.*.*.*x"),
        ("exclude_modules", "(a|a)*b"),
        ("rank_pattern", {"q_proj": 0}),
        ("rank_pattern", {"(a+)+b": 8}),
        ("alpha_pattern", {"q_proj": -1}),
        ("layers_to_transform", [-1]),
        ("use_dora", "yes"),
        ("target_parameters", 7),
    ],
)
def test_a_lora_s_configuration_names_its_field_and_value(tmp_path, field, value):
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**LORA, field: value}))
    with pytest.raises(ArtefactError) as raised:
        read_artefact(file, LoraFile)
    assert f"holds what it may not: {field}" in str(raised.value)
    if isinstance(value, str | int | float) and value != 10**400:
        assert f"found '{value}'" in str(raised.value)


def test_a_lora_that_would_have_a_module_imported_is_refused(tmp_path):
    content = {**LORA, "megatron_config": {"a": 1}, "megatron_core": "antigravity"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(content))
    with pytest.raises(ArtefactError, match="megatron_config"):
        read_artefact(tmp_path / "adapter_config.json", LoraFile)


@pytest.mark.parametrize("value", [0, -1, 1e308, 1e-308, 10**40])
def test_a_temperature_that_no_logits_can_be_divided_by_is_refused(folder, value):
    document = json.loads((folder / "calibration.json").read_text())
    document["temperatures"]["sentiment"] = value
    (folder / "calibration.json").write_text(json.dumps(document))
    assert "temperatures.sentiment" in str(refused_or_loaded(described(folder)))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_lora_s_numbers_are_finite(tmp_path, value):
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps({**LORA, "lora_alpha": value}))
    with pytest.raises(ArtefactError, match="lora_alpha"):
        read_artefact(file, LoraFile)


def test_a_lora_as_peft_writes_it_is_read(tmp_path):
    LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj"], rank_pattern={"layers.0.q_proj": 4}).save_pretrained(
        str(tmp_path)
    )
    assert read_artefact(tmp_path / "adapter_config.json", LoraFile).r == 8
    for pattern in ("all-linear", r".*language_model.*\.(q_proj|v_proj)", None):
        (tmp_path / "adapter_config.json").write_text(json.dumps({**LORA, "target_modules": pattern}))
        assert read_artefact(tmp_path / "adapter_config.json", LoraFile).target_modules == pattern


def test_a_lora_of_a_tower_with_a_rank_out_of_range_is_not_built(tmp_path):
    """Before the library makes matrices of that size."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({**LORA, "r": 10**9}))
    for read in (read_tower_lora, read_reasoner_lora):
        (tmp_path / "adapter_model.safetensors").touch()
        with pytest.raises(ArtefactError, match="r: Input should be less than or equal to 4096, found '1000000000'"):
            read(tmp_path)


def test_a_lora_s_configuration_nested_without_end_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text(DEEP)
    (tmp_path / "adapter_model.safetensors").touch()
    for read in (read_tower_lora, read_reasoner_lora):
        with pytest.raises(ArtefactError, match="cannot be read"):
            read(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 10**9),
        ("image_size", 8),
        ("image_size", 100000),
        ("text_width", -1),
        ("image_width", 10**9),
        ("max_tokens", "128"),
        ("image_size", None),
        ("text_width", 1.5),
    ],
)
def test_the_manifest_of_the_towers_names_its_field_and_value(tmp_path, field, value):
    manifest = json.loads((WEIGHTS / "compact.json").read_text())
    (tmp_path / "compact.json").write_text(json.dumps({**manifest, field: value}))
    with pytest.raises(ArtefactError) as raised:
        CompactManifest.load(tmp_path)
    assert f"{field}: " in str(raised.value)
    assert f"found '{value}'" in str(raised.value)
    assert "\n" not in str(raised.value)
