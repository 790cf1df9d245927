"""What is bundled for `smol`, LoRA and projector: whole, small, in half precision, for the model of its preset."""

import json
import shutil

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from eval.make_smol import write
from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.artefacts import PROJECTOR
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.encoders.compact import PICTURE_TOWER
from hybrid_mmsa.reasoning import load_prompt, presets
from hybrid_mmsa.reasoning.models.llava import open_tower


def test_it_is_an_adapter_of_a_lora_alone_for_the_preset_s_weights():
    preset = presets()["smol"]
    adapter = Adapter.load(bundled_path("adapters", preset.lora))
    config = json.loads((adapter.lora.path / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["base_model_name_or_path"], config["revision"]) == (preset.repository, preset.revision)
    assert load_prompt(adapter.lora.prompt).id == load_prompt("smol").id
    assert adapter.pooling is None, "whether asking helps is fitted to one's own posts"


def test_its_weights_are_halves_and_change_the_model():
    folder = bundled_path("adapters", "smol", "lora")
    weights = load_file(folder / "adapter_model.safetensors")
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float16)}
    assert all(np.isfinite(value).all() and np.abs(value).max() > 0 for value in weights.values())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20e6


def test_the_projector_is_for_the_bundled_tower_and_the_preset_s_language_model():
    path = bundled_path("adapters", presets()["smol"].projector, PROJECTOR)
    with safe_open(path, "numpy") as opened:
        assert opened.metadata()["tower"] == open_tower(PICTURE_TOWER).hash
    weights = load_file(path)
    assert {name: value.shape for name, value in weights.items()} == {
        "linear_1.weight": (576, 1280),
        "linear_1.bias": (576,),
        "linear_2.weight": (576, 576),
        "linear_2.bias": (576,),
    }
    assert all(value.dtype == np.float16 and np.isfinite(value).all() for value in weights.values())


def test_a_share_of_a_stage_s_weights_is_averaged_with_those_it_went_on_from_and_told(tmp_path):
    bundled, trained, out = bundled_path("adapters", "smol"), tmp_path / "trained", tmp_path / "smol"
    for folder in (trained, out):
        shutil.copytree(bundled, folder)
    file = "lora/adapter_model.safetensors"
    before = load_file(out / file)
    save_file({name: 3 * value.astype(np.float32) for name, value in before.items()}, trained / file)
    told = json.loads((trained / "adapter.json").read_text(encoding="utf-8"))
    told["made_with"] |= {"posts_sha256": "0" * 64, "curve": {**told["made_with"]["curve"], "steps": 12_345}}
    (trained / "adapter.json").write_text(json.dumps(told), encoding="utf-8")
    write(trained, out, share=0.25)
    for name, value in load_file(out / file).items():
        np.testing.assert_allclose(value, 1.5 * before[name].astype(np.float32), rtol=2e-3, atol=1e-6)
    made = json.loads((out / "adapter.json").read_text(encoding="utf-8"))["made_with"]
    assert (made["share"], made["curve"]["steps"]) == (0.25, 12_345)
    known = json.loads((bundled / "adapter.json").read_text(encoding="utf-8"))["made_with"]
    assert [stage["curve"] for stage in made["earlier"]] == [s["curve"] for s in (*known["earlier"], known)]
    assert "12345 steps" in (card := (out / "card.md").read_text(encoding="utf-8"))
    assert "25% of the mean are its own" in card
    assert Adapter.load(out).lora is not None
