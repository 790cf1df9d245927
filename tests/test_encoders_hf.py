"""Text models of transformers with picture models of timm, from local files: on small random models."""

import numpy as np
import pytest
import tiny_encoders

from hybrid_mmsa.encoders import moved_name, open_encoder
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.types import Sample


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_encoders.write_bert(root / "bert")
    tiny_encoders.write_timm(root / "vit", "vit_tiny_patch16_224")
    tiny_encoders.write_timm(root / "resnet", "resnet10t")
    return root


@pytest.fixture(scope="module")
def encoder(models):
    return open_encoder("hf:bert+timm:vit", models)


@pytest.fixture(scope="module")
def posts():
    return [read_sample(post) for post in tiny_encoders.drawn_posts(40, seed=1)]


@pytest.mark.parametrize("name", ["hf:bert+timm:vit", "hf:bert#cls+timm:resnet"])
def test_features_are_the_same_alone_and_in_any_batch(models, posts, name):
    mixed = [
        *posts[:30],
        Sample(text="sun"),
        Sample(text="we love the sea and the sun and all of it", image=posts[0].image),
    ]
    features = tiny_encoders.check_encoder(open_encoder(name, models), [*mixed, *posts[30:]])
    assert features.text_features.std(0).min() > 0
    assert features.image_features.std(0).max() > 0


def test_words_are_pooled_by_their_mean_without_padding(encoder, models):
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(models / "bert"), AutoTokenizer.from_pretrained(models / "bert")
    with torch.inference_mode():
        hidden = model.eval()(**tokenizer("the sea", return_tensors="pt")).last_hidden_state[0]
    found = encoder.encode([Sample(text="the sea"), Sample(text="the sea and the train and the city")])
    assert np.allclose(found.text_features[0], hidden.mean(0), atol=1e-5)
    first = open_encoder("hf:bert#cls+timm:vit", models).encode([Sample(text="the sea")])
    assert np.allclose(first.text_features[0], hidden[0], atol=1e-5)


def test_what_was_read_is_told(encoder):
    features = encoder.encode([Sample(text="sea " * 40), Sample(text="sea ж"), Sample(text="sea")])
    assert features.truncated.tolist() == [True, False, False]
    assert features.n_tokens.tolist()[0] == 22  # of 24 positions two stay in reserve
    assert features.unknown_share.tolist()[1] > 0
    assert features.unknown_share.tolist()[2] == 0


def test_the_hash_is_of_weights_and_pooling(encoder, models):
    assert open_encoder("hf:bert+timm:vit", models).hash == encoder.hash
    others = {open_encoder(name, models).hash for name in ("hf:bert#cls+timm:vit", "hf:bert+timm:resnet")}
    assert len(others | {encoder.hash}) == 3


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("hf:bert", "wanted hf:TEXT"),
        ("hf:bert#max+timm:vit", "no pooling 'max'"),
        ("hf:roberta-base+timm:vit", "Nothing is fetched: fetch roberta-base"),
        ("hf:bert+timm:vit_base_patch16_224", "Nothing is fetched"),
        ("hf:bert+timm:nonsense", "nonsense"),
        ("other:bert", "known are 'compact'"),
    ],
)
def test_what_is_not_here_is_not_fetched(models, name, told):
    with pytest.raises(ArtefactError, match=told):
        open_encoder(name, models)


def test_half_a_model_is_refused(models, tmp_path):
    from safetensors.torch import load_file, save_file

    half = tiny_encoders.write_bert(tmp_path / "half")
    weights = load_file(half / "model.safetensors")
    del weights["encoder.layer.0.output.dense.weight"]
    save_file(weights, half / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtefactError, match="lacks 1 weights"):
        open_encoder(f"hf:half+timm:{models / 'vit'}", tmp_path)


def test_paths_in_a_name_move_with_the_adapter(models):
    assert moved_name("hf:bert#cls+timm:vit", models, models / "mine") == "hf:../bert#cls+timm:../vit"
    assert moved_name("hf:roberta-base+timm:vit", models, models / "mine") == "hf:roberta-base+timm:../vit"


def test_trained_saved_and_loaded_it_beats_both_sides(models, tmp_path, monkeypatch):
    tiny_encoders.check_family("hf:bert+timm:resnet", models, tmp_path, monkeypatch)
