"""A tiny picture tower in ONNX, and a language model of words alone that it can be joined with."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, PATCH, WIDTH = 32, 16, 6


def write_tower(path, seed=0):
    """A tower that gives the mean colour of each quarter through a random matrix: `pixels` in, `map` out."""
    weights = np.random.default_rng(seed).normal(size=(WIDTH, 3, PATCH, PATCH)).astype(np.float32) / (255 * PATCH)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["map"], strides=[PATCH, PATCH]),
    ]
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", WIDTH, SIDE // PATCH, SIDE // PATCH])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path
