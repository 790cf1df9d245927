"""The trained text tower → one ONNX file, built node by node. Knows nothing of heads, corpora or training.

The tower is an MPNet (Song et al. 2020, arXiv 2004.09297): a BERT whose attention adds a learnt bias by the distance
of two tokens. Its layers multiply whole numbers: weights of 7 bits with one scale per output, activations of 8 bits
with one scale per token. Sums of whole numbers are the same in any order and on any processor, and no scale is shared
between tokens, so a post's features do not depend on padding or neighbours. The embedding table is int8 with one scale
per row.

A few input channels reach twenty times as far as the others, and one scale per token would leave nothing of those. So
channels are divided by a factor that the weights are multiplied with (SmoothQuant: Xiao et al. 2023, arXiv 2211.10438,
equation 4, with its alpha of a half).
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
MOST_WEIGHT = 63
"""Largest level of a weight. Processors without VNNI add two products of a byte with a level in 16 bits: 2 * 255 * 63
fits; more would be cut off there and nowhere else."""
MOST_ACTIVATION = 127
MIDDLE = 128
"""The level of an activation of 0 where activations have both signs."""
LEAST_GELU = 0.17
"""How far below 0 GELU reaches, rounded up; added before quantising, so that no level is wasted on what never comes."""
SMALLEST = 1e-4
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


def export_text(weights: Arrays, shape: TextShape, reach: Arrays, path: Path) -> None:
    """Write `path`: `ids`, `mask` int64 `[m, length]` in, `features` float32 `[m, width]` out.

    Args:
        weights: float32 tensors by their Hugging Face MPNet names, without a prefix.
        shape: What the tensors do not say.
        reach: How far the inputs of each linear layer reach, by the layer's name, float32 `[in]`: the largest absolute
            value of each channel on usual texts.
        path: The `.onnx` file to write.
    """
    graph = Graph()
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    tower = _Tower(graph, weights, shape, reach)
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
    reach: Arrays

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
        joined = self._linear(x, weight * scale[:, None], offset * scale, self.reach[parts[0]])
        mixed = graph.node("Reshape", [joined, graph.ints(0, 0, 3, heads, size)])
        mixed = graph.node("Transpose", [mixed], perm=[2, 0, 3, 1, 4])
        query, key, value = (graph.node("Gather", [mixed, graph.constant(np.int64(i))], axis=0) for i in range(3))
        scores = graph.node("MatMul", [query, graph.node("Transpose", [key], perm=[0, 1, 3, 2])])
        shares = graph.node("Softmax", [graph.node("Add", [scores, bias])], axis=-1)
        read = graph.node("Transpose", [graph.node("MatMul", [shares, value])], perm=[0, 2, 1, 3])
        read = self._dense(graph.node("Reshape", [read, graph.ints(0, 0, width)]), f"{prefix}.attention.attn.o")
        x = self._norm(graph.node("Add", [read, x]), f"{prefix}.attention.LayerNorm")
        inner = graph.node("Gelu", [self._dense(x, f"{prefix}.intermediate.dense")])
        outer = self._dense(inner, f"{prefix}.output.dense", after_gelu=True)
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

    def _dense(self, x: str, prefix: str, *, after_gelu: bool = False) -> str:
        weight, bias = (self.weights[f"{prefix}.{kind}"] for kind in ("weight", "bias"))
        return self._linear(x, weight, bias, self.reach[prefix], after_gelu=after_gelu)

    def _linear(
        self, x: str, weight: NDArray[Any], bias: NDArray[Any], reach: NDArray[Any], *, after_gelu: bool = False
    ) -> str:
        """`x @ weight.T + bias` in whole numbers; weight is `[out, in]`, as torch stores it."""
        graph = self.graph
        factor = _factors(weight, reach)
        levels, scales = _levels(weight * factor)
        x = graph.node("Mul", [x, graph.constant(1 / factor)])
        if after_gelu:
            raised = LEAST_GELU / factor
            bias = bias - (levels * scales[:, None]) @ raised
            x = graph.node("Add", [x, graph.constant(raised)])
            quantised, scale, zero = self._quantised(x, x, 2 * MOST_ACTIVATION + 1, 0)
        else:
            quantised, scale, zero = self._quantised(x, graph.node("Abs", [x]), MOST_ACTIVATION, MIDDLE)
        one, by_output = graph.constant(np.float32(1)), graph.constant(scales)
        inputs = [quantised, graph.constant(levels.T.astype(np.int8)), one, by_output, zero]
        product = graph.node("MatMulIntegerToFloat", inputs, domain=ORT_DOMAIN)
        # With a bias of one dimension ONNX Runtime would fuse it with GELU, which takes longer than the two apart.
        return graph.node("Add", [graph.node("Mul", [product, scale]), graph.constant(bias.astype(np.float32)[None])])

    def _quantised(self, x: str, size: str, most: int, zero: int) -> tuple[str, str, str]:
        """Levels (uint8) of `x`, each token's scale, and the level of 0.

        No token is all zeros, which would have no scale: each comes out of a layer norm or a layer with a bias.
        """
        graph = self.graph
        largest = graph.node("ReduceMax", [size, graph.ints(-1)], keepdims=1)
        scale = graph.node("Mul", [largest, graph.constant(np.float32(1 / most))])
        x = graph.node("Div", [x, scale])
        if zero:
            x = graph.node("Add", [x, graph.constant(np.float32(zero))])
        rounded = graph.node("QuantizeLinear", [x, graph.constant(np.float32(1)), graph.constant(np.uint8(0))])
        return rounded, scale, graph.constant(np.uint8(zero))

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


def _factors(weight: NDArray[Any], reach: NDArray[Any]) -> NDArray[np.float32]:
    """What input channels are divided by and their weights multiplied with, float32 `[in]`; 1 in the geometric mean."""
    of_weights = np.maximum(np.abs(weight).max(0), SMALLEST)
    factor = np.sqrt(np.maximum(reach, SMALLEST) / of_weights)
    factors: NDArray[np.float32] = (factor / np.exp(np.log(factor).mean())).astype(np.float32)
    return factors


def _levels(weight: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Whole levels `[out, in]` and their scales `[out]`."""
    scales = (np.maximum(np.abs(weight).max(1), SMALLEST) / MOST_WEIGHT).astype(np.float32)
    return np.clip(np.rint(weight / scales[:, None]), -MOST_WEIGHT, MOST_WEIGHT).astype(np.float32), scales
