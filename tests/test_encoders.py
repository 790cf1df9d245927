"""The compact encoder on small towers: close to torch, deaf to neighbours, and sure of its files."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import tiny
from onnx import numpy_helper
from PIL import Image

from hybrid_mmsa.encoders import CompactEncoder, open_encoder
from hybrid_mmsa.encoders.compact import WEIGHTS
from hybrid_mmsa.encoders.wordpieces import WordPieces
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.inputs import as_sentence
from hybrid_mmsa.onnx.session import open_session
from hybrid_mmsa.types import Features, Sample

SAME = 1e-5
TEXTS = [
    "great sun",
    "the train was late and the queue was terrible, my day is lost!",
    "i love this city " * 3,
    "monday",
    "so happy we won the match but not very fine with the food in your grey team",
    "it " * 60,
]


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return CompactEncoder(tiny_model / "towers")


@pytest.fixture(scope="module")
def posts():
    images = [Image.fromarray(p) for p in tiny.pictures(len(TEXTS))]
    return [Sample(text=t, image=p) for t, p in zip(TEXTS, images, strict=True)]


@pytest.fixture
def towers(tiny_model, tmp_path):
    """A copy of the tower files that a test may spoil."""
    return shutil.copytree(tiny_model / "towers", tmp_path / "towers")


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def equal(a: Features, b: Features):
    return np.allclose(a.text_features, b.text_features, atol=SAME) and np.allclose(
        a.image_features, b.image_features, atol=SAME
    )


def test_int8_text_tower_says_what_torch_says(encoder, tmp_path):
    import torch

    tower = tiny.text_tower(tmp_path / "start")
    targets = [None, "train", None, None, "the team", None]
    found = encoder.encode([Sample(text=t, target=g) for t, g in zip(TEXTS, targets, strict=True)])
    tokens = encoder._pieces.encode([as_sentence(text) for text in TEXTS], targets)
    with torch.inference_mode():
        exact = tower.features(tokens).numpy()
    assert found.text_features.dtype == np.float32
    assert cosine(found.text_features, exact).min() > 0.99
    assert np.abs(found.text_features - exact).max() < 0.1 * exact.std()
    # The towers of the test are good for something only if posts differ by more than the rounding.
    assert cosine(exact[:1], exact[1:2]).max() < 0.95


def test_channels_that_reach_far_leave_the_others_their_levels(tmp_path, monkeypatch):
    """As in real towers, a layer norm makes one channel many times as large, of which the next layers want little."""
    import torch

    from hybrid_mmsa.training.towers import export, export_text

    start, path = tmp_path / "start", tmp_path / "text.onnx"
    tower = tiny.text_tower(start)
    with torch.no_grad():
        for layer in tower.encoder.encoder.layer:
            layer.attention.LayerNorm.weight[3] *= 60
            layer.intermediate.dense.weight[:, 3] /= 60
    tokens = WordPieces(start / "tokenizer.json", tiny.MAX_TOKENS).encode(TEXTS, [None] * len(TEXTS))
    with torch.inference_mode():
        hidden, mask = tower.hidden(tokens)
        exact = ((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()

    def error():
        export.export_text_tower(tower, start / "tokenizer.json", path, max_tokens=tiny.MAX_TOKENS)
        (found,) = open_session(path, 1).run(["features"], {"ids": tokens.ids, "mask": tokens.mask})
        return np.abs(found - exact).mean()

    known = error()
    monkeypatch.setattr(export_text, "_factors", lambda weight, reach: np.ones_like(reach))
    assert known < error() / 2


def test_weights_leave_sums_room_on_every_processor(tiny_model):
    """Where there is no VNNI, two products of a byte with a weight are added in 16 bits and cut off beyond."""
    for path in (WEIGHTS / "text.onnx", tiny_model / "towers" / "text.onnx"):
        constants = {c.name: numpy_helper.to_array(c) for c in onnx.load(path).graph.initializer}
        products = [n for n in onnx.load(path).graph.node if n.op_type == "MatMulIntegerToFloat"]
        assert len(products) >= 8
        assert all(2 * 255 * int(np.abs(constants[n.input[1]]).max()) < 2**15 for n in products)


def test_int8_image_tower_says_what_torch_says(encoder):
    import torch

    pixels = tiny.pictures(8, seed=4)
    found = encoder.encode([Sample(image=Image.fromarray(p)) for p in pixels]).image_features
    with torch.inference_mode():
        exact = tiny.image_tower().features(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    assert cosine(found, exact).min() > 0.99
    assert np.abs(found - exact).mean() < 0.1 * exact.std()
    assert cosine(exact[:1], exact[1:2]).max() < 0.95


def test_a_post_has_the_same_features_alone_padded_and_in_a_batch(encoder, posts):
    together = encoder.encode(posts)
    for i, post in enumerate(posts):
        assert equal(encoder.encode([post]), together.take([i]))
        assert equal(encoder.encode([posts[5], post]).take([1]), together.take([i]))
    many = encoder.encode([*posts] * 12)  # several buckets and picture batches
    assert equal(many, Features.concatenate([together] * 12))


def test_order_changes_nothing(encoder, posts):
    order = [3, 0, 5, 2, 1, 4]
    assert equal(encoder.encode([posts[i] for i in order]), encoder.encode(posts).take(order))


def test_a_missing_side_is_zero_and_said_to_be_missing(encoder, posts):
    picture = posts[0].image
    found = encoder.encode(
        [
            Sample(text="sun"),
            Sample(image=picture),
            Sample(text="sun", image=picture),
            Sample(image=picture, target="x"),
        ]
    )
    assert found.has_text.tolist() == [True, False, True, False]
    assert found.has_image.tolist() == [False, True, True, True]
    assert not found.has_target.any(), "a target is read with words only"
    assert not found.text_features[[1, 3]].any()
    assert not found.image_features[0].any()
    assert found.n_tokens.tolist() == [2, 0, 2, 0]
    assert np.allclose(found.text_features[0], found.text_features[2], atol=SAME)


def test_no_posts_are_no_rows(encoder):
    found = encoder.encode([])
    assert len(found) == 0
    assert found.text_features.shape == (0, tiny.TEXT_WIDTH)
    assert found.image_features.shape == (0, tiny.IMAGE_WIDTH)


def test_a_target_changes_what_is_read(encoder):
    found = encoder.encode([Sample(text=TEXTS[1]), Sample(text=TEXTS[1], target="train")])
    assert found.has_target.tolist() == [False, True]
    assert cosine(found.text_features[:1], found.text_features[1:])[0] < 0.999


def test_a_target_is_read_in_the_words_the_tower_learned(encoder):
    """Training cleans targets as it cleans texts, so handles and hashtags must not reach the tower raw."""
    raw = encoder.encode([Sample(text="we love it", target=t) for t in ("#MarchMadness", "@bob", "★★★★★")])
    said = encoder.encode(
        [Sample(text="we love it", target=t) for t in ("# March Madness", "@user", "5 out of 5 stars")]
    )
    assert equal(raw, said)


def test_what_was_cut_or_not_known_is_told(encoder):
    found = encoder.encode([Sample(text="sun 雨"), Sample(text=TEXTS[5])])
    assert found.truncated.tolist() == [False, False]
    assert found.unknown_share.tolist() == [0.5, 0]
    assert found.n_tokens.tolist() == [2, 60], "a long text is read in windows"


def test_threads_share_one_encoder(encoder, posts):
    expected = [encoder.encode([post]) for post in posts]
    with ThreadPoolExecutor(8) as pool:
        rounds = list(pool.map(lambda _: [encoder.encode([post]) for post in posts], range(8)))
    assert all(equal(a, b) for found in rounds for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["text.onnx", "image.onnx", "tokenizer.json"])
def test_a_file_that_is_not_the_one_described_is_refused(towers, name):
    (towers / name).write_bytes((towers / name).read_bytes() + b" ")
    with pytest.raises(ArtefactError, match=rf"{name}.*damaged or replaced"):
        CompactEncoder(towers)
    (towers / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} is missing"):
        CompactEncoder(towers)


def test_a_manifest_that_leaves_a_file_unchecked_is_refused(towers):
    values = json.loads((towers / "compact.json").read_text())
    del values["files"]["text.onnx"]
    (towers / "compact.json").write_text(json.dumps(values))
    with pytest.raises(ArtefactError, match=r"text\.onnx"):
        CompactEncoder(towers)


@pytest.mark.parametrize("content", ["", "[]", '{"max_tokens": 3}', '{"surprise": 1}'])
def test_an_unreadable_manifest_is_refused(towers, content):
    (towers / "compact.json").write_text(content)
    with pytest.raises(ArtefactError, match="manifest"):
        CompactEncoder(towers)


def test_a_file_that_is_no_model_is_refused(towers):
    (towers / "image.onnx").write_bytes(b"no model")
    tiny.write_manifest(towers)
    with pytest.raises(ArtefactError, match=r"cannot open the model .*image\.onnx"):
        CompactEncoder(towers)


def test_the_hash_names_the_files(towers, encoder):
    assert CompactEncoder(towers).hash == encoder.hash
    text = (towers / "tokenizer.json").read_text()
    (towers / "tokenizer.json").write_text(text + "\n")
    tiny.write_manifest(towers)
    assert CompactEncoder(towers).hash != encoder.hash


def test_encoders_are_opened_by_name(tiny_model, encoder):
    opened = open_encoder("compact:towers", tiny_model, threads=2)
    assert (opened.name, opened.hash) == ("compact:towers", encoder.hash)
    with pytest.raises(ArtefactError, match="no encoder 'clip'"):
        open_encoder("clip", tiny_model)
    with pytest.raises(ArtefactError, match="nowhere"):
        open_encoder("compact:nowhere", tiny_model)


def test_a_lone_word_is_read_as_a_sentence(encoder):
    bare, ended = (encoder.encode([Sample(text=text)]).text_features for text in ("love", "love."))
    np.testing.assert_array_equal(bare, ended)
