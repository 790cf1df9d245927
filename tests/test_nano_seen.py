"""What a classifier surely sees in pictures is told by the names that photos give its classes."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from hybrid_mmsa.errors import InputError
from hybrid_mmsa.training.nano import seen as nano_seen
from hybrid_mmsa.training.nano.seen import CLASS_PHOTOS, seen_things

# The corners of the colour cube, and some of its edges' middles.
COLOURS = [(r, g, b) for r in (10, 245) for g in (10, 245) for b in (10, 245)]
COLOURS += [(127, 10, 10), (10, 127, 10), (10, 10, 127), (127, 245, 245)]


def paint(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), colour).save(path)
    return path


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A classifier of a dozen classes and a background, which knows mean colours; blurred ones it is not sure of."""
    monkeypatch.setattr(nano_seen, "CLASSES", len(COLOURS))
    centres = (np.array(COLOURS, np.float32) - 127) / 127.5
    weight = np.concatenate([np.zeros((1, 3), np.float32), 40 * centres]).T
    bias = np.concatenate([[-1e3], -20 * (centres**2).sum(1)]).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Gemm", ["mean", "weight", "bias"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(COLOURS) + 1])],
        [numpy_helper.from_array(weight.copy(), "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "start.onnx")
    return tmp_path / "start.onnx"


def name_classes(data, places, names=None):
    """Photos of some classes, in no order."""
    folder = data / "photos" / CLASS_PHOTOS
    rows = []
    for place in reversed(places):
        paint(folder / f"{place}.png", COLOURS[place])
        name = f"Thing_{place}" if names is None else names[place]
        rows.append({"image": f"{place}.png", "wnid": f"n{place:03}", "label": name})
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize("missing", [(), (0,), (5,), (11,), (3, 4), (0, 7, 11)])
def test_what_is_surely_seen_is_named_though_some_classes_have_no_photo(tmp_path, start, missing):
    name_classes(tmp_path, [n for n in range(len(COLOURS)) if n not in missing])
    pictures = [paint(tmp_path / "posts" / f"{n}.png", colour) for n, colour in enumerate(COLOURS)]
    between = paint(tmp_path / "posts" / "between.png", (127, 127, 127))
    found = seen_things(tmp_path, start, [*pictures, between])
    for number, path in enumerate(pictures):
        assert found[str(path)] == (() if number in missing else (f"thing {number}",))
    assert found[str(between)] == (), "of what it is not sure, nothing is told"


def test_answers_are_kept_and_travel_with_the_data(tmp_path, start):
    name_classes(tmp_path / "data", range(len(COLOURS)))
    pictures = [paint(tmp_path / "data" / f"{n}.png", COLOURS[n]) for n in range(3)]
    told = []
    found = seen_things(tmp_path / "data", start, pictures, kept=tmp_path / "kept.json", advance=told.append)
    assert sum(told) == 3
    (tmp_path / "data").rename(tmp_path / "moved")
    start.unlink()
    moved = [tmp_path / "moved" / path.name for path in pictures]
    again = seen_things(tmp_path / "moved", start, moved, kept=tmp_path / "kept.json")
    assert [*again.values()] == [*found.values()]
    assert list(again) == [str(path) for path in moved]


def test_pictures_that_cannot_be_read_are_left_out(tmp_path, start):
    name_classes(tmp_path, range(len(COLOURS)))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    good = paint(tmp_path / "good.png", COLOURS[0])
    assert list(seen_things(tmp_path, start, [tmp_path / "broken.png", good])) == [str(good)]


def test_names_that_are_not_the_classifiers_are_refused(tmp_path, start):
    picture = paint(tmp_path / "good.png", COLOURS[0])
    with pytest.raises(InputError, match="is not there"):
        seen_things(tmp_path, start, [picture])
    folder = tmp_path / "photos" / CLASS_PHOTOS
    name_classes(tmp_path, range(len(COLOURS)))
    for number in range(len(COLOURS)):
        paint(folder / f"{number}.png", COLOURS[-1 - number])
    with pytest.raises(InputError, match="its order is another"):
        seen_things(tmp_path, start, [picture])
    (folder / "0.png").unlink()
    with pytest.raises(InputError, match=r"1 photos .* cannot be read"):
        seen_things(tmp_path, start, [picture])


def test_too_few_names_are_refused(tmp_path, start, monkeypatch):
    monkeypatch.setattr(nano_seen, "MOST_MISSING", 2)
    name_classes(tmp_path, range(4))
    with pytest.raises(InputError, match="names 4 classes; wanted 12"):
        seen_things(tmp_path, start, [paint(tmp_path / "good.png", COLOURS[0])])
