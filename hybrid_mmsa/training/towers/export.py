"""Trained towers → the compact encoder's folder: two int8 ONNX files. Knows nothing of fusion.

Words: see `export_text`. Pictures: each block of up to 16 weights along the input channels has its own scale; networks
of depthwise convolutions with folded batch norms change a tenth of their labels with one scale per output channel, and
hardly any with these. The weights become float32 when the file is opened and activations stay float32, so neighbours
in a batch play no part.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from PIL.Image import Image

from ...encoders.compact import CompactManifest
from ...encoders.wordpieces import TokenBatch, WordPieces
from ...inputs import as_sentence, normalise, reword, to_pixels
from ...types import Features, Sample
from ..posts.made_texts import make_texts
from .export_text import TextShape, export_text
from .image_tower import CENTRE, SCALE, WIDTH, ImageTower, same_padding
from .onnx_graph import Graph
from .text_tower import TextTower, input_reach

__all__ = ["ExactEncoder", "export_beside", "export_compact", "export_image", "export_text_tower"]

FILES = ("text.onnx", "image.onnx", "tokenizer.json")
FILTER_BLOCKS = (16, 8)
"""Block sizes to try, largest first; filters over one channel are a block each."""
USUAL_TEXTS = 300


def export_compact(
    text: TextTower, tokenizer: Path, image: ImageTower, folder: Path, *, max_tokens: int, side: int
) -> None:
    """Write `text.onnx`, `image.onnx`, `tokenizer.json` and `compact.json`.

    Args:
        text: The trained text tower.
        tokenizer: Its `tokenizer.json`.
        image: The trained image tower.
        folder: Where to.
        max_tokens: Longest window the text tower reads, special tokens included.
        side: Side of the image tower's square in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    export_text_tower(text, tokenizer, folder / "text.onnx", max_tokens=max_tokens)
    export_image(image, side, folder / "image.onnx")
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    _describe(folder, max_tokens=max_tokens, side=side, text_width=text.encoder.config.hidden_size)


def export_beside(towers: Path, image: ImageTower, folder: Path) -> None:
    """Write a folder like `export_compact`, with the text tower of another one as it is.

    Args:
        towers: The folder whose text tower, tokenizer and sizes are taken.
        image: The trained image tower.
        folder: Where to.
    """
    manifest = CompactManifest(**json.loads((towers / "compact.json").read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("text.onnx", "tokenizer.json"):
        shutil.copyfile(towers / name, folder / name)
    export_image(image, manifest.image_size, folder / "image.onnx")
    _describe(folder, max_tokens=manifest.max_tokens, side=manifest.image_size, text_width=manifest.text_width)


def _describe(folder: Path, *, max_tokens: int, side: int, text_width: int) -> None:
    """Write `compact.json` about the files of a folder."""
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    manifest = CompactManifest(
        max_tokens=max_tokens, image_size=side, text_width=text_width, image_width=WIDTH, files=hashes
    )
    (folder / "compact.json").write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")


def export_text_tower(text: TextTower, tokenizer: Path, path: Path, *, max_tokens: int) -> None:
    """Write the text tower alone; see `export_text` and `export_compact`."""
    weights = {name: value.detach().float().numpy() for name, value in text.encoder.state_dict().items()}
    config = text.encoder.config
    shape = TextShape(
        heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps,
        first_position=config.pad_token_id + 1,
        max_tokens=max_tokens,
    )
    export_text(weights, shape, input_reach(text.eval(), _usual(tokenizer, max_tokens)), path)


def _usual(tokenizer: Path, max_tokens: int) -> TokenBatch:
    """Texts of all kinds, to see how far activations reach. Which channels reach far hardly depends on the texts."""
    made = random.Random(0).sample(list(make_texts(0)), USUAL_TEXTS)
    texts = [as_sentence(reword(normalise(each.text))) for each in made]
    return WordPieces(tokenizer, max_tokens).encode(texts, [reword(each.target or "") for each in made])


class ExactEncoder:
    """The towers in float32 torch behind the `Encoder` protocol, to compare the int8 ones with."""

    name = "compact-exact"
    hash = ""

    def __init__(self, text: TextTower, tokenizer: Path, image: ImageTower, *, max_tokens: int, side: int) -> None:
        self.text, self.image, self.side = text.eval(), image.eval(), side
        self.pieces = WordPieces(tokenizer, max_tokens)

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts; see `Encoder.encode`."""
        texts = [as_sentence(reword(s.text)) if s.text else "" for s in samples]
        targets = [reword(s.target) if s.target and t else "" for s, t in zip(samples, texts, strict=True)]
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
