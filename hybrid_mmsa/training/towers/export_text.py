"""The trained text tower → one ONNX file, built node by node. Knows nothing of heads, corpora or training.

The tower is an MPNet (Song et al. 2020, arXiv 2004.09297): a BERT whose attention adds a learnt bias by the distance
of two tokens. Weights are int8 or int4 in blocks along the input dimension; ONNX Runtime's `MatMulNBits` quantises each
token's activations in the same blocks when it multiplies, so no scale is shared between tokens, and a post's features
do not depend on padding or neighbours. The embedding table is int8 with one scale per row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .onnx_graph import ORT_DOMAIN, Graph

__all__ = ["TextShape", "export_text", "relative_buckets"]

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
LARGEST_BLOCK = {8: 256, 4: 64}
"""Inputs that share a scale, by bits. At 8 bits large blocks multiply a quarter faster, and cost a tenth more error."""
SMALLEST_BLOCK = 16
INT8_ACTIVATIONS = 4  # MatMulNBits accuracy_level: int8 activations, one scale per token and block
MASKED = -1e4
MOST_DISTANCE = 128
"""Distances from here on share a bucket; MPNet's own constant."""


@dataclass(frozen=True, slots=True)
class TextShape:
    """What a tower's tensors do not say of it.

    Attributes:
        heads: Attention heads per layer.
        epsilon: Of its layer norms.
        first_position: Row of the position table that the first token reads.
        max_tokens: Longest sequence it reads, special tokens included.
    """

    heads: int
    epsilon: float
    first_position: int
    max_tokens: int


def relative_buckets(length: int, buckets: int) -> NDArray[np.int64]:
    """Bucket of the distance from token i (row) to token j (column), `[length, length]`.

    Half of the buckets are for tokens behind, half for tokens ahead; of each half the first are exact distances and
    the others grow by logarithm up to `MOST_DISTANCE` (Raffel et al. 2020, arXiv 1910.10683, as MPNet uses it).
    """
    places = np.arange(length)
    ahead = places[None, :] - places[:, None]
    half, exact = buckets // 2, buckets // 4
    distance = np.abs(ahead)
    grown = np.log(np.maximum(distance, 1) / exact) / math.log(MOST_DISTANCE / exact) * (half - exact)
    far = np.minimum(exact + grown.astype(np.int64), half - 1)
    result: NDArray[np.int64] = np.where(ahead > 0, half, 0) + np.where(distance < exact, distance, far)
    return result


def export_text(weights: Arrays, shape: TextShape, path: Path, *, bits: int = 8) -> None:
    """Write `path`: `ids`, `mask` int64 `[m, length]` in, `features` float32 `[m, width]` out.

    Args:
        weights: float32 tensors by their Hugging Face MPNet names, without a prefix.
        shape: What the tensors do not say.
        path: The `.onnx` file to write.
        bits: 8 or 4 per weight of a layer.
    """
    graph = Graph()
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    tower = _Tower(graph, weights, shape, bits)
    hidden, bias = tower.embeddings(), tower.attention_bias()
    for number in range(layers):
        hidden = tower.layer(f"encoder.layer.{number}", hidden, bias)
    tower.mean_over_tokens(hidden)
    inputs: dict[str, tuple[str, list[str | int]]] = {n: ("int64", ["n", "length"]) for n in ("ids", "mask")}
    graph.save(path, inputs, {"features": ["n", len(weights["embeddings.LayerNorm.weight"])]})


@dataclass(frozen=True, slots=True)
class _Tower:
    """The parts of the tower as nodes of one graph; each method returns its output's name."""

    graph: Graph
    weights: Arrays
    shape: TextShape
    bits: int

    def embeddings(self) -> str:
        graph, first = self.graph, self.shape.first_position
        places = self.weights["embeddings.position_embeddings.weight"][first : first + self.shape.max_tokens]
        total = graph.node("Add", [self._table("embeddings.word_embeddings.weight", "ids"), self._cut(places[None], 1)])
        return self._norm(total, "embeddings.LayerNorm")

    def attention_bias(self) -> str:
        """What attention adds to its scores: by distance, and a large negative number for padding."""
        graph, table = self.graph, self.weights["encoder.relative_attention_bias.weight"]
        by_distance = table[relative_buckets(self.shape.max_tokens, len(table))].transpose(2, 0, 1)
        distance = graph.node("Cast", [self._cut(by_distance[None].astype(np.float16), 2, 3)], to=TensorProto.FLOAT)
        real = graph.node("Unsqueeze", [graph.node("Cast", ["mask"], to=TensorProto.FLOAT), graph.ints(1, 2)])
        padding = graph.node("Sub", [graph.constant(np.float32(1)), real])
        return graph.node("Add", [distance, graph.node("Mul", [padding, graph.constant(np.float32(MASKED))])])

    def layer(self, prefix: str, x: str, bias: str) -> str:
        graph, heads = self.graph, self.shape.heads
        parts = [f"{prefix}.attention.attn.{name}" for name in ("q", "k", "v")]
        width = len(self.weights[f"{parts[0]}.bias"])
        size = width // heads
        weight, offset = (np.concatenate([self.weights[f"{p}.{kind}"] for p in parts]) for kind in ("weight", "bias"))
        # The 1/sqrt(size) of attention is folded into the query's weights.
        scale = np.repeat([1 / math.sqrt(size), 1, 1], width).astype(np.float32)
        joined = self._linear(x, weight * scale[:, None], offset * scale)
        mixed = graph.node("Reshape", [joined, graph.ints(0, 0, 3, heads, size)])
        mixed = graph.node("Transpose", [mixed], perm=[2, 0, 3, 1, 4])
        query, key, value = (graph.node("Gather", [mixed, graph.constant(np.int64(i))], axis=0) for i in range(3))
        scores = graph.node("MatMul", [query, graph.node("Transpose", [key], perm=[0, 1, 3, 2])])
        shares = graph.node("Softmax", [graph.node("Add", [scores, bias])], axis=-1)
        read = graph.node("Transpose", [graph.node("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        read = self._dense(graph.node("Reshape", [read, graph.ints(0, 0, width)]), f"{prefix}.attention.attn.o")
        x = self._norm(graph.node("Add", [read, x]), f"{prefix}.attention.LayerNorm")
        inner = graph.node("Gelu", [self._dense(x, f"{prefix}.intermediate.dense")])
        outer = self._dense(inner, f"{prefix}.output.dense")
        return self._norm(graph.node("Add", [outer, x]), f"{prefix}.output.LayerNorm")

    def mean_over_tokens(self, hidden: str) -> str:
        graph = self.graph
        mask = graph.node("Cast", [graph.node("Unsqueeze", ["mask", graph.ints(2)])], to=TensorProto.FLOAT)
        total = graph.node("ReduceSum", [graph.node("Mul", [hidden, mask]), graph.ints(1)], keepdims=0)
        count = graph.node("ReduceSum", [mask, graph.ints(1)], keepdims=0)
        return graph.node("Div", [total, count], output="features")

    def _cut(self, table: NDArray[Any], *axes: int) -> str:
        """The beginning of a constant table along some axes, as long as the texts are."""
        graph = self.graph
        length = graph.node("Gather", [graph.node("Shape", ["ids"]), graph.ints(1)])
        ends = graph.node("Concat", [length] * len(axes), axis=0) if len(axes) > 1 else length
        starts = graph.ints(*[0] * len(axes))
        return graph.node("Slice", [graph.constant(table), starts, ends, graph.ints(*axes)])

    def _dense(self, x: str, prefix: str) -> str:
        return self._linear(x, self.weights[f"{prefix}.weight"], self.weights[f"{prefix}.bias"])

    def _linear(self, x: str, weight: NDArray[Any], bias: NDArray[Any]) -> str:
        """`x @ weight.T + bias` with quantised weights; weight is `[out, in]`, as torch stores it."""
        out, width = weight.shape
        block = math.gcd(width, LARGEST_BLOCK[self.bits])
        packed, scales = _blocks(weight, self.bits, block)
        graph = self.graph
        inputs = [x, graph.constant(packed), graph.constant(scales), "", "", graph.constant(bias)]
        sizes = {"K": width, "N": out, "bits": self.bits, "block_size": block, "accuracy_level": INT8_ACTIVATIONS}
        return graph.node("MatMulNBits", inputs, domain=ORT_DOMAIN, **sizes)

    def _norm(self, x: str, prefix: str) -> str:
        scale, shift = (self.graph.constant(self.weights[f"{prefix}.{part}"]) for part in ("weight", "bias"))
        return self.graph.node("LayerNormalization", [x, scale, shift], axis=-1, epsilon=self.shape.epsilon)

    def _table(self, name: str, rows: str) -> str:
        """Rows of an embedding table kept as int8 with one scale per row."""
        graph, table = self.graph, self.weights[name]
        scales = np.maximum(np.abs(table).max(1, keepdims=True), 1e-8) / 127
        levels = np.clip(np.rint(table / scales), -127, 127).astype(np.int8)
        values = graph.node("Cast", [graph.node("Gather", [graph.constant(levels), rows])], to=TensorProto.FLOAT)
        return graph.node("Mul", [values, graph.node("Gather", [graph.constant(scales.astype(np.float32)), rows])])


def _blocks(weight: NDArray[Any], bits: int, block: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Symmetric levels per block of inputs.

    Returns:
        uint8 `[out, blocks, block * bits / 8]` around the middle level, two levels of 4 bits a byte with the lower one
        first, and float32 scales `[out * blocks]`.
    """
    out, width = weight.shape
    if block < SMALLEST_BLOCK:
        raise ValueError(f"the tower's width {width} is no multiple of {SMALLEST_BLOCK}")
    most = 2 ** (bits - 1) - 1
    blocks = weight.astype(np.float32).reshape(out, width // block, block)
    scales = np.maximum(np.abs(blocks).max(-1), 1e-8) / most
    levels = (np.clip(np.rint(blocks / scales[..., None]), -most, most) + 2 ** (bits - 1)).astype(np.uint8)
    if bits == 4:
        levels = levels[..., 0::2] | (levels[..., 1::2] << 4)
    return levels, scales.reshape(-1).astype(np.float32)
