"""CLIP-like encoders through open_clip, from local files: on a small random model."""

import threading

import numpy as np
import pytest
import tiny_encoders
from safetensors.torch import load_file, save_file

from hybrid_mmsa.encoders import moved_name, open_encoder
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.types import Sample


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_encoders.write_open_clip(root / "clip")
    return root


@pytest.fixture(scope="module")
def encoder(models):
    return open_encoder("open_clip:clip", models)


@pytest.fixture(scope="module")
def posts():
    return [read_sample(post) for post in tiny_encoders.drawn_posts(40, seed=1)]


def test_features_are_the_same_alone_and_in_any_batch(encoder, posts):
    features = tiny_encoders.check_encoder(encoder, posts)
    assert features.text_features.shape == (40, encoder.text_width)
    for side in (features.text_features, features.image_features):
        assert np.allclose(np.linalg.norm(side, axis=1), 1, atol=1e-5)
    assert not features.has_target.any()


def test_the_matching_model_of_the_library_says_the_same(encoder, models, posts):
    import open_clip
    import torch

    from hybrid_mmsa.inputs import reword

    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{models / 'clip'}")
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{models / 'clip'}")
    with torch.inference_mode():
        text = model.encode_text(tokenizer([reword(posts[0].text)]), normalize=True)
        image = model.encode_image(prepare(posts[0].image)[None], normalize=True)
    found = encoder.encode(posts[:1])
    assert np.allclose(found.text_features, text, atol=1e-5)
    assert np.allclose(found.image_features, image, atol=1e-5)


def test_what_is_missing_or_too_long_is_told(encoder, posts):
    long = Sample(text="sea " * 30)
    features = encoder.encode([Sample(image=posts[0].image), Sample(text="the sea"), long])
    assert features.has_text.tolist() == [False, True, True]
    assert features.has_image.tolist() == [True, False, False]
    assert not features.text_features[0].any()
    assert not features.image_features[1].any()
    assert features.n_tokens.tolist() == [0, 2, 14]
    assert features.truncated.tolist() == [False, False, True]


def test_an_architecture_with_a_checkpoint_file(encoder, models, posts, tmp_path):
    import json

    import open_clip

    model = json.loads((models / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "tiny-clip.json").write_text(json.dumps(model))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    same = open_encoder("open_clip:tiny-clip/clip/open_clip_model.safetensors", models)
    assert np.allclose(same.encode(posts[:3]).text_features, encoder.encode(posts[:3]).text_features, atol=1e-6)
    with pytest.raises(ArtefactError, match="cannot open the encoder"):
        open_encoder("open_clip:tiny-clip/clip/open_clip_config.json", models)


def test_threads_share_it(encoder, posts):
    wanted, found = encoder.encode(posts), []
    threads = [threading.Thread(target=lambda: found.append(encoder.encode(posts))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.allclose(f.text_features, wanted.text_features, atol=1e-5) for f in found)


def test_the_hash_is_of_the_weights(encoder, models, tmp_path):
    again = tiny_encoders.write_open_clip(tmp_path / "again")
    assert open_encoder("open_clip:again", tmp_path).hash == encoder.hash
    weights = load_file(again / "open_clip_model.safetensors")
    weights["text_projection"] = weights["text_projection"] * 1.001
    save_file(weights, again / "open_clip_model.safetensors")
    assert open_encoder("open_clip:again", tmp_path).hash != encoder.hash


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "Nothing is fetched: .*create_model"),
        ("open_clip:ViT-B-32/nonsense", "its tags are openai"),
        ("open_clip:ViT-B-32", "names no weights"),
        ("open_clip:nonsense/nonsense", "no such architecture"),
    ],
)
def test_what_is_not_here_is_not_fetched(models, name, told):
    with pytest.raises(ArtefactError, match=told):
        open_encoder(name, models)


def test_paths_in_a_name_move_with_the_adapter(models):
    assert moved_name("open_clip:clip", models, models / "adapters" / "mine") == "open_clip:../../clip"
    named = "open_clip:ViT-B-32/clip/open_clip_model.safetensors"
    assert moved_name(named, models, models / "mine") == "open_clip:ViT-B-32/../clip/open_clip_model.safetensors"
    for name in ("open_clip:ViT-B-32/openai", "compact"):
        assert moved_name(name, models, models / "mine") == name


def test_trained_saved_and_loaded_it_beats_both_sides(models, tmp_path, monkeypatch):
    tiny_encoders.check_family("open_clip:clip", models, tmp_path, monkeypatch)
