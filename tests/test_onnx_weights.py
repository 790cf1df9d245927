"""A model whose weights stay in their file is the same model."""

import numpy as np
import onnx
import onnxruntime
import pytest

from hybrid_mmsa.encoders.compact import WEIGHTS
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.onnx.session import open_session
from hybrid_mmsa.onnx.weights import LEAST, graph_alone

RNG = np.random.default_rng(0)
WORDS = {
    "ids": RNG.integers(1000, 20_000, (3, 12)),
    "mask": np.array([[1] * 12, [1] * 7 + [0] * 5, [1] * 4 + [0] * 8]),
}


def inputs(session):
    shape = session.get_inputs()[0].shape
    return WORDS if len(shape) == 2 else {"pixels": RNG.integers(0, 256, (2, *shape[1:]), dtype=np.uint8)}


@pytest.mark.parametrize("name", ["text.onnx", "image.onnx"])
def test_features_are_the_same_to_the_bit(name):
    plain = onnxruntime.InferenceSession(str(WEIGHTS / name), providers=["CPUExecutionProvider"])
    given = inputs(plain)
    expected = plain.run(["features"], given)[0]
    assert np.array_equal(open_session(WEIGHTS / name, 1).run(["features"], given)[0], expected)


@pytest.mark.parametrize("name", ["text.onnx", "image.onnx"])
def test_the_graph_is_the_whole_model_but_for_its_large_weights(name):
    whole, graph = onnx.load(WEIGHTS / name), onnx.load_from_string(graph_alone(WEIGHTS / name))
    content = (WEIGHTS / name).read_bytes()
    left = 0
    for before, after in zip(whole.graph.initializer, graph.graph.initializer, strict=True):
        if after.data_location == onnx.TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in after.external_data}
            start, length = int(place["offset"]), int(place["length"])
            assert place["location"] == name
            assert content[start : start + length] == before.raw_data
            assert (after.name, list(after.dims), after.data_type) == (before.name, list(before.dims), before.data_type)
            left += length
        else:
            assert after == before
            assert len(after.raw_data) < LEAST
    assert left > 0.8 * len(content) or name == "image.onnx"
    for model in (whole, graph):
        del model.graph.initializer[:]
    assert graph == whole


def test_what_is_no_whole_model_is_an_artefact_error(tmp_path):
    content, path = (WEIGHTS / "image.onnx").read_bytes(), tmp_path / "model.onnx"
    damaged = [
        b"",
        b"\x00",
        content[:3],
        content[:1000],
        content[:-1],
        content[:-100_000],
        RNG.bytes(5000),
        b"\xff" * 99,
    ]
    damaged += [content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] for at in (0, 1, 2, 3)]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(ArtefactError, match="cannot open the model"):
            open_session(path, 1)
    with pytest.raises(ArtefactError, match="cannot open the model"):
        open_session(tmp_path / "none.onnx", 1)
    with pytest.raises(ArtefactError, match="cannot open the model"):
        open_session(tmp_path, 1)


def test_a_model_is_opened_by_a_link_as_well(tmp_path):
    link = tmp_path / "linked.onnx"
    link.symlink_to(WEIGHTS / "text.onnx")
    found = [open_session(path, 1).run(["features"], WORDS)[0] for path in (link, WEIGHTS / "text.onnx")]
    assert np.array_equal(*found)
