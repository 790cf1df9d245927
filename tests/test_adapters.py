"""An adapter folder: what is saved is what is loaded, and what was touched is refused."""

import json

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file, save_file

from hybrid_mmsa.adapters import Adapter, describe_adapter, resolve_adapter
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.types import TASKS, Features, LoraRef

FITTED = ("fast.safetensors", "calibration.json", "router.json", "router.safetensors")


@pytest.fixture
def folder(tmp_path):
    tiny.adapter().save(tmp_path / "tiny")
    return tmp_path / "tiny"


def features(n=5):
    rng = np.random.default_rng(0)
    return Features(
        text_features=rng.normal(size=(n, tiny.TEXT_WIDTH)).astype(np.float32),
        image_features=rng.normal(size=(n, tiny.IMAGE_WIDTH)).astype(np.float32),
        has_text=np.array([True, True, False, True, True]),
        has_image=np.array([True, False, True, True, True]),
        has_target=np.array([False, False, False, True, False]),
        n_tokens=np.full(n, 3),
        truncated=np.zeros(n, bool),
        unknown_share=np.zeros(n, np.float32),
    )


def rewrite(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_what_is_saved_is_what_is_loaded(folder):
    made, loaded = tiny.adapter(), Adapter.load(folder)
    for name in ("name", "encoder", "encoder_hash", "made_with", "card"):
        assert getattr(loaded, name) == getattr(made, name), name
    assert loaded.router.to_dict() == made.router.to_dict()
    assert loaded.calibration.temperatures == made.calibration.temperatures
    before, after = made.posteriors(features()), loaded.posteriors(features())
    assert all(np.array_equal(before[task], after[task], equal_nan=True) for task in TASKS)
    assert np.array_equal(made.prior(), loaded.prior())
    assert loaded.router.decide(after, features()) == made.router.decide(before, features())


def test_posteriors_are_probabilities_for_every_kind_of_post(folder):
    found = Adapter.load(folder).posteriors(features())
    assert not np.isnan(found["sentiment"]).any()
    for task, values in found.items():
        known = ~np.isnan(values[:, 0])
        assert np.allclose(values[known].sum(1), 1, atol=1e-5), task
    assert np.isnan(found["image_sentiment"][:, 0]).tolist() == [False, True, False, False, False]
    assert np.array_equal(found["sentiment"][3], found["target_sentiment"][3])
    assert Adapter.load(folder).prior().sum() == pytest.approx(1, abs=1e-5)


def test_saving_twice_gives_the_same_hash(folder, tmp_path):
    loaded = Adapter.load(folder)
    loaded.save(tmp_path / "copy")
    assert Adapter.load(tmp_path / "copy").hash == loaded.hash
    tiny.adapter(seed=4).save(tmp_path / "other")
    assert Adapter.load(tmp_path / "other").hash != loaded.hash


def test_the_card_may_be_missing_where_the_manifest_has_no_hash_of_it(folder):
    before = Adapter.load(folder).hash
    rewrite(folder / "adapter.json", lambda m: m["files"].pop("card.md"))
    (folder / "card.md").write_text("# A better card\n")
    assert Adapter.load(folder).card == "# A better card\n"
    (folder / "card.md").unlink()
    assert (Adapter.load(folder).card, Adapter.load(folder).hash) == ("", before)


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_file_that_was_changed_is_refused(folder, name):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtefactError, match=name):
        Adapter.load(folder)
    (folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing"):
        Adapter.load(folder)


@pytest.mark.parametrize("name", FITTED)
def test_a_manifest_that_leaves_a_file_unchecked_is_refused(folder, name):
    rewrite(folder / "adapter.json", lambda m: m["files"].pop(name))
    with pytest.raises(ArtefactError, match=name):
        Adapter.load(folder)


@pytest.mark.parametrize("part", ["name", "encoder", "encoder_hash", "files", "format", "made_with"])
def test_a_manifest_that_lacks_a_part_is_refused(folder, part):
    rewrite(folder / "adapter.json", lambda m: m.pop(part))
    with pytest.raises(ArtefactError, match=part):
        Adapter.load(folder)


@pytest.mark.parametrize("content", ["", "[1]", '{"format": 1', '"text"'])
def test_an_unreadable_manifest_is_refused(folder, content):
    (folder / "adapter.json").write_text(content)
    with pytest.raises(ArtefactError):
        Adapter.load(folder)


def test_a_later_format_is_refused(folder):
    rewrite(folder / "adapter.json", lambda m: m.update(format=99))
    with pytest.raises(ArtefactError, match="format 99"):
        Adapter.load(folder)


def rehash(folder):
    """The manifest made to fit files that were changed, so that only their content is wrong."""
    import hashlib

    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FITTED}
    rewrite(folder / "adapter.json", lambda m: m.update(files=hashes))


def test_fitted_parts_that_cannot_be_used_are_refused(folder):
    rewrite(folder / "calibration.json", lambda c: c["temperatures"].update(sarcasm=0))
    rehash(folder)
    with pytest.raises(ArtefactError, match="sarcasm"):
        Adapter.load(folder)


def test_a_head_of_another_shape_is_refused(folder):
    arrays = load_file(folder / "fast.safetensors")
    save_file({**arrays, "fusion.bias": np.zeros(4, np.float32)}, folder / "fast.safetensors")
    rehash(folder)
    with pytest.raises(ArtefactError, match=r"fusion\.bias"):
        Adapter.load(folder)


def test_a_file_of_another_kind_in_the_heads_place_is_refused(folder):
    (folder / "fast.safetensors").write_bytes(b"\x80\x04no tensors")
    rehash(folder)
    with pytest.raises(ArtefactError, match="tiny"):
        Adapter.load(folder)


def test_another_encoder_is_refused_with_the_command_that_fits_it_again():
    with pytest.raises(ArtefactError, match=r"'tiny'.*compact:towers 000.*other fff.*hybrid-mmsa train fusion"):
        tiny.adapter().check_encoder("other", "f" * 64)
    tiny.adapter().check_encoder("the same files by another name", "0" * 64)


def test_adapters_are_found_by_path(folder, monkeypatch):
    assert resolve_adapter(folder) == folder
    assert resolve_adapter(str(folder)) == folder
    monkeypatch.chdir(folder.parent)
    assert resolve_adapter("tiny").resolve() == folder.resolve()
    with pytest.raises(ArtefactError, match="is not an adapter folder"):
        resolve_adapter(folder / "deeper")


def test_an_unknown_name_is_refused_and_the_known_ones_named():
    with pytest.raises(ArtefactError, match=r"no adapter 'nobody'; bundled are "):
        resolve_adapter("nobody")


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_a_name_does_not_lead_out_of_the_bundle(name):
    with pytest.raises(ArtefactError):
        resolve_adapter(name)


def test_a_bundled_name_means_the_bundled_adapter_wherever_one_stands(folder, monkeypatch, tmp_path):
    """A folder `default` in the working directory must not answer for the model that came with the package."""
    bundle = tmp_path / "bundle"
    tiny.adapter(name="default").save(bundle / "default")
    monkeypatch.setattr("hybrid_mmsa.adapters.bundled_path", lambda *parts: bundle)
    tiny.adapter(name="stranger").save(tmp_path / "work" / "default")
    monkeypatch.chdir(tmp_path / "work")
    assert Adapter.load(resolve_adapter("default")).name == "default"
    assert Adapter.load(resolve_adapter("./default")).name == "stranger"


@pytest.fixture
def lora(tmp_path):
    """A folder that holds a LoRA adapter and its prompt alone."""
    folder = tmp_path / "memes"
    (folder / "lora").mkdir(parents=True)
    (folder / "lora" / "adapter_config.json").write_text("{}")
    (folder / "lora" / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "prompt.toml").write_text("name = 'x'")
    describe_adapter(folder, name="memes", made_with={"seed": 1})
    return folder


def test_a_lora_adapter_alone_takes_the_fast_parts_of_another(lora, folder):
    base = Adapter.load(folder)
    loaded = Adapter.load(lora, base)
    assert loaded.lora == LoraRef(name="memes", path=lora / "lora", prompt=lora / "prompt.toml")
    assert (loaded.name, loaded.made_with, loaded.card) == ("memes", {"seed": 1}, "")
    assert (loaded.head, loaded.router, loaded.encoder_hash) == (base.head, base.router, base.encoder_hash)
    assert base.lora is None
    assert len({loaded.hash, base.hash, Adapter.load(lora, tiny.adapter()).hash}) == 3, "both halves count"


def test_a_lora_adapter_alone_takes_the_bundled_fast_parts_where_no_other_is_named(lora):
    bundled = Adapter.load(resolve_adapter("default"))
    loaded = Adapter.load(lora)
    assert (loaded.encoder_hash, loaded.name) == (bundled.encoder_hash, "memes")


def test_an_adapter_with_both_halves_is_saved_whole(lora, folder, tmp_path):
    both = Adapter.load(lora, Adapter.load(folder))
    both.save(tmp_path / "both")
    loaded = Adapter.load(tmp_path / "both")
    assert loaded.lora.path == tmp_path / "both" / "lora"
    assert loaded.lora.prompt.read_text() == "name = 'x'"
    assert sorted(p.name for p in loaded.lora.path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    loaded.save(tmp_path / "both")
    assert Adapter.load(tmp_path / "both").hash == loaded.hash


def spoil(path):
    path.write_bytes(b"other")


def add(path):
    (path.parent / "more.safetensors").touch()


@pytest.mark.parametrize("part", ["lora/adapter_model.safetensors", "prompt.toml"])
@pytest.mark.parametrize("harm", [spoil, lambda path: path.unlink(), add])
def test_a_touched_lora_adapter_is_refused(lora, folder, part, harm):
    if harm is add and part == "prompt.toml":
        part = "lora/adapter_config.json"
    harm(lora / part)
    with pytest.raises(ArtefactError, match=r"is missing or not the file that adapter\.json describes"):
        Adapter.load(lora, Adapter.load(folder))


def test_a_folder_with_neither_half_is_no_adapter(tmp_path):
    describe_adapter(tmp_path, name="empty", made_with={})
    with pytest.raises(ArtefactError, match=r"it needs fast\.safetensors"):
        Adapter.load(tmp_path)
