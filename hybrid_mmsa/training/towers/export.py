"""Trained towers → the compact encoder's folder: two int8 ONNX files built node by node. Knows nothing of fusion.

Text: weights are int8 in blocks along the input dimension; ONNX Runtime's `MatMulNBits` quantises each token's
activations in the same blocks when it multiplies, so no scale is shared between tokens, and a post's features do not
depend on padding or neighbours. Embedding tables are int8 with one scale per row.

Pictures: each block of up to 16 weights along the input channels has its own scale. MobileNetV2 with folded batch norms
changes a tenth of its labels with one scale per output channel, and hardly any with these. The weights become float32
when the file is opened and activations stay float32, so neighbours in a batch play no part.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from PIL.Image import Image

from ...encoders.compact import CompactManifest
from ...encoders.wordpieces import WordPieces
from ...inputs import clean, to_pixels
from ...types import Features, Sample
from .image_tower import CENTRE, SCALE, WIDTH, ImageTower, same_padding
from .onnx_graph import ORT_DOMAIN, Graph
from .text_tower import TextTower, start_folder

__all__ = ["ExactEncoder", "export_compact", "export_image", "export_text"]

FILES = ("text.onnx", "image.onnx", "tokenizer.json")
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
BLOCK = 64
EXACT = 4  # MatMulNBits accuracy_level: int8 activations, one scale per token and block
MASKED = -1e4
FILTER_BLOCKS = (16, 8)
"""Block sizes to try, largest first; filters over one channel are a block each."""


def export_compact(text: TextTower, image: ImageTower, folder: Path, *, max_tokens: int, side: int) -> None:
    """Write `text.onnx`, `image.onnx`, `tokenizer.json` and `compact.json`.

    Args:
        text: The trained text tower.
        image: The trained image tower.
        folder: Where to.
        max_tokens: Longest sequence the text tower reads.
        side: Side of the image tower's square in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights, branch = (
        {name: value.detach().float().numpy() for name, value in part.state_dict().items()}
        for part in (text.encoder, text.branch)
    )
    export_text(weights, branch, text.encoder.config.num_attention_heads, folder / "text.onnx")
    export_image(image, side, folder / "image.onnx")
    shutil.copyfile(start_folder() / "tokenizer.json", folder / "tokenizer.json")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    width = 2 * text.encoder.config.hidden_size
    manifest = CompactManifest(
        max_tokens=max_tokens, image_size=side, text_width=width, image_width=WIDTH, files=hashes
    )
    (folder / "compact.json").write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")


class ExactEncoder:
    """The towers in float32 torch behind the `Encoder` protocol, to compare the int8 ones with."""

    name = "compact-exact"
    hash = ""

    def __init__(self, text: TextTower, image: ImageTower, *, max_tokens: int, side: int) -> None:
        self.text, self.image, self.side = text.eval(), image.eval(), side
        self.pieces = WordPieces(start_folder() / "tokenizer.json", max_tokens)

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts; see `Encoder.encode`."""
        texts = [clean(s.text) if s.text else "" for s in samples]
        targets = [clean(s.target) if s.target and t else "" for s, t in zip(samples, texts, strict=True)]
        tokens = self.pieces.encode(texts, targets)
        has_text = np.array([bool(t) for t in texts])
        has_image = np.array([s.image is not None for s in samples])
        image = np.zeros((len(samples), WIDTH), np.float32)
        with torch.inference_mode():
            text = self.text.features(tokens).numpy() * has_text[:, None]
            pictures = [to_pixels(s.image, self.side) for s in samples if isinstance(s.image, Image)]
            if pictures:
                image[has_image] = self.image.features(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)).numpy()
        has_target = np.array([bool(t) for t in targets])
        return Features(
            text_features=text.astype(np.float32),
            image_features=image,
            has_text=has_text,
            has_image=has_image,
            has_target=has_target,
            n_tokens=tokens.n_tokens,
            truncated=tokens.truncated,
            unknown_share=tokens.unknown_share,
        )


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
    attended = graph.node("Transpose", [graph.node("MatMul", [shares, value])], perm=[0, 2, 1, 3])
    attended = graph.node("Reshape", [attended, graph.ints(0, 0, width)])
    attended = _dense(graph, weights, f"{prefix}.attention.output.dense", attended)
    x = _norm(graph, graph.node("Add", [attended, x]), weights, f"{prefix}.attention.output.LayerNorm")
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


def export_image(tower: ImageTower, side: int, path: Path) -> None:
    """Write `path` with input `pixels` uint8 `[n, side, side, 3]` and two float32 outputs.

    `features` `[n, 1280]` is the mean over all cells of `map` `[n, 1280, rows, columns]`, the last feature map. A
    cell stands for `side / rows` pixels; evidence for regions of the picture is read from it.

    Args:
        tower: The trained tower.
        side: Side of the square it reads, in pixels.
        path: The `.onnx` file to write.
    """
    graph = Graph()
    x = graph.node("Transpose", [graph.node("Cast", ["pixels"], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    x = graph.node("Sub", [x, graph.constant(np.float32(CENTRE))])
    x = graph.node("Mul", [x, graph.constant(np.float32(1 / SCALE))])
    low, high = graph.constant(np.float32(0)), graph.constant(np.float32(6))
    residual, size = x, side
    for spec, weight, bias in zip(tower.specs, tower.weights, tower.biases, strict=True):
        if spec.opens_residual:
            residual = x
        kernel = weight.shape[-1]
        before, after = same_padding(size, kernel, spec.stride)
        inputs = [x, _quantised_filters(graph, weight.detach().numpy()), graph.constant(bias.detach().numpy())]
        sizes: dict[str, Any] = {
            "pads": [before, before, after, after],
            "strides": [spec.stride] * 2,
            "kernel_shape": [kernel] * 2,
        }
        x = graph.node("Conv", inputs, group=weight.shape[0] if spec.depthwise else 1, **sizes)
        x = graph.node("Clip", [x, low, high]) if spec.clipped else x
        x = graph.node("Add", [x, residual]) if spec.adds_residual else x
        size = -(-size // spec.stride)
    graph.node("ReduceMean", [x, graph.ints(2, 3)], output="features", keepdims=0)
    graph.node("Identity", [x], output="map")
    outputs: dict[str, list[str | int]] = {"features": ["n", WIDTH], "map": ["n", WIDTH, size, size]}
    graph.save(path, {"pixels": ("uint8", ["n", side, side, 3])}, outputs)


def _quantised_filters(graph: Graph, weight: NDArray[Any]) -> str:
    """A filter bank `[out, in, height, width]` kept as int8 levels and float32 scales."""
    per_filter = weight[0].size
    block = next((b for b in FILTER_BLOCKS if weight.shape[2] == 1 and per_filter % b == 0), per_filter)
    blocks = weight.reshape(len(weight), -1, block)
    scales = np.maximum(np.abs(blocks).max(-1, keepdims=True), 1e-8) / 127
    levels = np.clip(np.rint(blocks / scales), -127, 127).astype(np.int8)
    values = graph.node("Cast", [graph.constant(levels)], to=TensorProto.FLOAT)
    values = graph.node("Mul", [values, graph.constant(scales.astype(np.float32))])
    return graph.node("Reshape", [values, graph.ints(*weight.shape)])
