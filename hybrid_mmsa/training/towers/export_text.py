"""The trained text tower → one int8 ONNX file, built node by node. Knows nothing of heads, corpora or training.

Weights are int8 in blocks along the input dimension; ONNX Runtime's `MatMulNBits` quantises each token's activations
in the same blocks when it multiplies, so no scale is shared between tokens, and a post's features do not depend on
padding or neighbours. Embedding tables are int8 with one scale per row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .onnx_graph import ORT_DOMAIN, Graph

__all__ = ["export_text"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
BLOCK = 64
EXACT = 4  # MatMulNBits accuracy_level: int8 activations, one scale per token and block
MASKED = -1e4


def export_text(weights: Arrays, branch: Arrays, heads: int, path: Path) -> None:
    """Write `path`: `ids`, `mask`, `segments` int64 `[n, length]` in, `features` float32 `[n, 2 · width]` out.

    Args:
        weights: float32 tensors by their Hugging Face BERT names, without a prefix.
        branch: Those of the branch, a copy of the last layers, by layer number from 0 and name: `0.attention…`.
        heads: Attention heads per layer.
        path: The `.onnx` file to write.
    """
    graph = Graph()
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    copied = 1 + max(int(name.partition(".")[0]) for name in branch)
    hidden = _embeddings(graph, weights)
    bias = _attention_bias(graph)
    trunk = hidden
    for number in range(layers):
        hidden = _layer(graph, weights, f"encoder.layer.{number}", hidden, bias, heads)
        trunk = hidden if number < layers - copied else trunk
    branched = trunk
    for number in range(copied):
        branched = _layer(graph, branch, str(number), branched, bias, heads)
    means = [_mean_over_tokens(graph, states) for states in (hidden, branched)]
    graph.node("Concat", means, output="features", axis=1)
    width = len(weights["embeddings.LayerNorm.weight"])
    inputs: dict[str, tuple[str, list[str | int]]] = {
        name: ("int64", ["n", "length"]) for name in ("ids", "mask", "segments")
    }
    graph.save(path, inputs, {"features": ["n", 2 * width]})


def _linear(graph: Graph, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
    """`x @ weight.T + bias` with int8 weights; weight is `[out, in]`, as torch stores it."""
    out, width = weight.shape
    packed, scales = _blocks(weight)
    inputs = [x, graph.constant(packed), graph.constant(scales), "", "", graph.constant(bias)]
    sizes = {"K": width, "N": out, "bits": 8, "block_size": BLOCK, "accuracy_level": EXACT}
    return graph.node("MatMulNBits", inputs, domain=ORT_DOMAIN, **sizes)


def _norm(graph: Graph, x: str, weights: Arrays, prefix: str) -> str:
    scale, shift = (graph.constant(weights[f"{prefix}.{part}"]) for part in ("weight", "bias"))
    return graph.node("LayerNormalization", [x, scale, shift], axis=-1, epsilon=1e-12)


def _blocks(weight: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Symmetric int8 per block of `BLOCK` inputs.

    Returns:
        uint8 `[out, blocks, BLOCK]` around 128, and float32 scales `[out * blocks]`.
    """
    out, width = weight.shape
    if width % BLOCK:
        raise ValueError(f"the tower's width {width} is no multiple of the block size {BLOCK}")
    blocks = weight.astype(np.float32).reshape(out, width // BLOCK, BLOCK)
    scales = np.maximum(np.abs(blocks).max(-1), 1e-8) / 127
    levels = np.clip(np.rint(blocks / scales[..., None]), -127, 127) + 128
    return levels.astype(np.uint8), scales.reshape(-1).astype(np.float32)


def _embeddings(graph: Graph, weights: Arrays) -> str:
    words = _table(graph, weights["embeddings.word_embeddings.weight"], "ids")
    kinds = graph.node("Gather", [graph.constant(weights["embeddings.token_type_embeddings.weight"]), "segments"])
    length = graph.node("Gather", [graph.node("Shape", ["ids"]), graph.constant(np.int64(1))])
    steps = graph.node("Range", [graph.constant(np.int64(0)), length, graph.constant(np.int64(1))])
    places = graph.node("Gather", [graph.constant(weights["embeddings.position_embeddings.weight"]), steps])
    total = graph.node("Add", [graph.node("Add", [words, kinds]), places])
    return _norm(graph, total, weights, "embeddings.LayerNorm")


def _table(graph: Graph, table: NDArray[Any], rows: str) -> str:
    """Rows of an embedding table kept as int8 with one scale per row."""
    scales = np.maximum(np.abs(table).max(1, keepdims=True), 1e-8) / 127
    levels = np.clip(np.rint(table / scales), -127, 127).astype(np.int8)
    values = graph.node("Cast", [graph.node("Gather", [graph.constant(levels), rows])], to=TensorProto.FLOAT)
    return graph.node("Mul", [values, graph.node("Gather", [graph.constant(scales.astype(np.float32)), rows])])


def _attention_bias(graph: Graph) -> str:
    """0 for real tokens and a large negative number for padding, `[n, 1, 1, length]`."""
    wide = graph.node("Unsqueeze", [graph.node("Cast", ["mask"], to=TensorProto.FLOAT), graph.ints(1, 2)])
    hidden = graph.node("Sub", [graph.constant(np.float32(1)), wide])
    return graph.node("Mul", [hidden, graph.constant(np.float32(MASKED))])


def _layer(graph: Graph, weights: Arrays, prefix: str, x: str, bias: str, heads: int) -> str:
    parts = [f"{prefix}.attention.self.{name}" for name in ("query", "key", "value")]
    width = len(weights[f"{parts[0]}.bias"])
    size = width // heads
    joined = [np.concatenate([weights[f"{p}.{kind}"] for p in parts]) for kind in ("weight", "bias")]
    # The 1/sqrt(size) of attention is folded into the query's weights.
    joined = [np.concatenate([both[:width] / np.sqrt(size), both[width:]]).astype(np.float32) for both in joined]
    mixed = graph.node("Reshape", [_linear(graph, x, joined[0], joined[1]), graph.ints(0, 0, 3, heads, size)])
    mixed = graph.node("Transpose", [mixed], perm=[2, 0, 3, 1, 4])
    query, key, value = (graph.node("Gather", [mixed, graph.constant(np.int64(i))], axis=0) for i in range(3))
    scores = graph.node("MatMul", [query, graph.node("Transpose", [key], perm=[0, 1, 3, 2])])
    shares = graph.node("Softmax", [graph.node("Add", [scores, bias])], axis=-1)
    seen = graph.node("Transpose", [graph.node("MatMul", [shares, value])], perm=[0, 2, 1, 3])
    seen = graph.node("Reshape", [seen, graph.ints(0, 0, width)])
    seen = _dense(graph, weights, f"{prefix}.attention.output.dense", seen)
    x = _norm(graph, graph.node("Add", [seen, x]), weights, f"{prefix}.attention.output.LayerNorm")
    inner = graph.node("Gelu", [_dense(graph, weights, f"{prefix}.intermediate.dense", x)])
    outer = _dense(graph, weights, f"{prefix}.output.dense", inner)
    return _norm(graph, graph.node("Add", [outer, x]), weights, f"{prefix}.output.LayerNorm")


def _dense(graph: Graph, weights: Arrays, prefix: str, x: str) -> str:
    return _linear(graph, x, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"])


def _mean_over_tokens(graph: Graph, hidden: str) -> str:
    mask = graph.node("Cast", [graph.node("Unsqueeze", ["mask", graph.ints(2)])], to=TensorProto.FLOAT)
    total = graph.node("ReduceSum", [graph.node("Mul", [hidden, mask]), graph.ints(1)], keepdims=0)
    count = graph.node("ReduceSum", [mask, graph.ints(1)], keepdims=0)
    return graph.node("Div", [total, count])
