"""A text tower's ONNX file, as `export_text` wrote it → the tower in torch. Knows nothing of corpora or training.

So a shipped tower can teach where the one it was made from is not at hand. What was rounded stays rounded: a weight is
its level times its scale. Activations are not rounded any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from transformers import MPNetConfig, MPNetModel

from ...types import FloatArray
from .export_text import relative_buckets
from .text_tower import HEADS, TextTower

__all__ = ["import_text"]

BUCKETS = 32
"""Of distances between tokens; MPNet's own constant."""
FIRST_POSITION = 2
"""Row of MPNet's position table that the first token reads."""
PRODUCTS = ("attention.attn.qkv", "attention.attn.o", "intermediate.dense", "output.dense")
"""Products of matrices in a layer, in the order in which they are made."""
NORMS = ("attention.LayerNorm", "output.LayerNorm")


def import_text(path: Path, heads: Mapping[str, FloatArray]) -> TextTower:
    """The tower of an ONNX file, ready to be asked.

    Args:
        path: A file that `export_text` wrote.
        heads: Weights of the linear heads, which are no part of the file: `<task>.weight` and `<task>.bias` of every
            task of `HEADS`.

    Raises:
        ValueError: The file holds another graph.
    """
    file = _File.read(path)
    products = file.of("MatMulIntegerToFloat")
    if not products or len(products) % len(PRODUCTS):
        raise ValueError(f"{path} holds {len(products)} products of whole numbers; wanted {len(PRODUCTS)} a layer")
    layers = len(products) // len(PRODUCTS)
    weights = file.embeddings() | file.norms(layers)
    for number in range(layers):
        prefix, first = f"encoder.layer.{number}", number * len(PRODUCTS)
        for name, product in zip(PRODUCTS, products[first:], strict=False):
            weight, bias = file.linear(product)
            parts = file.attention_parts(weight, bias) if name == PRODUCTS[0] else {name: (weight, bias)}
            for part, (own, offset) in parts.items():
                weights |= {f"{prefix}.{part}.weight": own, f"{prefix}.{part}.bias": offset}
    tower = TextTower(MPNetModel(file.config(weights, layers), add_pooling_layer=False))
    named = {f"encoder.{name}": value for name, value in weights.items()}
    named |= {f"heads.{task}.{kind}": heads[f"{task}.{kind}"] for task in HEADS for kind in ("weight", "bias")}
    tower.load_state_dict({name: torch.from_numpy(np.array(value, np.float32)) for name, value in named.items()})
    return tower.eval()


@dataclass(frozen=True, slots=True)
class _File:
    """The graph of an exported tower: nodes by what they make and by what they take, and constants by name."""

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, NDArray[Any]]
    makers: Mapping[str, onnx.NodeProto]
    takers: Mapping[str, onnx.NodeProto]

    @classmethod
    def read(cls, path: Path) -> _File:
        graph = onnx.load(path).graph
        return cls(
            nodes=tuple(graph.node),
            constants={tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer},
            makers={node.output[0]: node for node in graph.node},
            takers={name: node for node in graph.node for name in node.input},
        )

    def of(self, kind: str) -> list[onnx.NodeProto]:
        """The nodes of one kind, in the order in which they were made."""
        return [node for node in self.nodes if node.op_type == kind]

    def linear(self, product: onnx.NodeProto) -> tuple[FloatArray, FloatArray]:
        """Weight `[out, in]` and bias `[out]` of a product of whole numbers, as they were before the export."""
        scaled = self.constants[product.input[1]].astype(np.float32) * self.constants[product.input[3]]
        scaling = self._scaling(product.input[0])
        raised: Any = np.float32(0)
        if scaling.op_type == "Add":  # what comes out of GELU was raised, and the bias lowered by what that adds
            raised, scaling = self.constants[scaling.input[1]], self.makers[scaling.input[0]]
        sums = self.takers[self.takers[product.output[0]].output[0]]
        bias = self.constants[sums.input[1]][0] + (raised @ scaled if np.ndim(raised) else 0)
        return (scaled * self.constants[scaling.input[1]][:, None]).T, bias

    def _scaling(self, levels: str) -> onnx.NodeProto:
        """The node whose values were divided by their token's scale, moved to the middle and rounded."""
        node = self.makers[self.makers[levels].input[0]]
        node = self.makers[node.input[0]] if node.op_type == "Add" else node
        if node.op_type != "Div":
            raise ValueError(f"found {node.op_type} before rounding; wanted Div: another exporter made this tower")
        return self.makers[node.input[0]]

    def attention_parts(self, weight: FloatArray, bias: FloatArray) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Query, key and value of one product; 1/sqrt(size) of attention leaves the query's weights."""
        sizes = (np.float32(np.sqrt(self._head_size())), np.float32(1), np.float32(1))
        cut = zip("qkv", np.split(weight, 3), np.split(bias, 3), sizes, strict=True)
        return {f"attention.attn.{name}": (own * size, offset * size) for name, own, offset, size in cut}

    def _head_size(self) -> int:
        shapes = (self.constants[node.input[1]] for node in self.of("Reshape"))
        return int(next(shape[-1] for shape in shapes if len(shape) == 5))

    def embeddings(self) -> dict[str, FloatArray]:
        """Tables of words, positions and distances."""
        tables = [self.constants[node.input[0]] for node in self.of("Gather") if node.input[1] == "ids"]
        levels, scales = sorted(tables, key=lambda table: table.dtype != np.int8)
        cut = {table.ndim: table for table in (self.constants[node.input[0]] for node in self.of("Slice"))}
        places, distances = cut[3][0], cut[4][0]
        by_distance = np.zeros((BUCKETS, len(distances)), np.float32)
        by_distance[relative_buckets(distances.shape[1], BUCKETS)] = distances.transpose(1, 2, 0)
        return {
            "embeddings.word_embeddings.weight": levels * scales,
            "embeddings.position_embeddings.weight": np.pad(places, ((FIRST_POSITION, 0), (0, 0))),
            "encoder.relative_attention_bias.weight": by_distance,
        }

    def norms(self, layers: int) -> dict[str, FloatArray]:
        """Scales and shifts of the layer norms."""
        names = ["embeddings.LayerNorm", *(f"encoder.layer.{k}.{norm}" for k in range(layers) for norm in NORMS)]
        return {
            f"{name}.{part}": self.constants[node.input[place]]
            for name, node in zip(names, self.of("LayerNormalization"), strict=True)
            for place, part in ((1, "weight"), (2, "bias"))
        }

    def config(self, weights: Mapping[str, FloatArray], layers: int) -> MPNetConfig:
        """What transformers wants to know of the tower."""
        words, width = weights["embeddings.word_embeddings.weight"].shape
        return MPNetConfig(
            vocab_size=words,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // self._head_size(),
            intermediate_size=len(weights["encoder.layer.0.intermediate.dense.weight"]),
            max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
            layer_norm_eps=helper.get_node_attr_value(self.of("LayerNormalization")[0], "epsilon"),
        )
