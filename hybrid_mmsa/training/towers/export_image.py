"""The trained image tower → one ONNX file with int8 weights: pixels in, features and map out. Knows nothing of heads.

Each block of up to 16 weights along the input channels has its own scale: MobileNetV2 with folded batch norms loses
its answers with one scale per output channel (a tenth of the labels change), and none to speak of with these. The
weights become float32 when the file is opened and activations stay float32, so neighbours in a batch play no part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from .image_tower import CENTRE, SCALE, WIDTH, ImageTower, same_padding
from .onnx_graph import Graph

__all__ = ["export_image"]

BLOCKS = (16, 8)
"""Block sizes to try, largest first; filters over one channel are a block each."""


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
        inputs = [x, _int8(graph, weight.detach().numpy()), graph.constant(bias.detach().numpy())]
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


def _int8(graph: Graph, weight: NDArray[Any]) -> str:
    """A filter bank `[out, in, height, width]` kept as int8 levels and float32 scales."""
    per_filter = weight[0].size
    block = next((b for b in BLOCKS if weight.shape[2] == 1 and per_filter % b == 0), per_filter)
    blocks = weight.reshape(len(weight), -1, block)
    scales = np.maximum(np.abs(blocks).max(-1, keepdims=True), 1e-8) / 127
    levels = np.clip(np.rint(blocks / scales), -127, 127).astype(np.int8)
    values = graph.node("Cast", [graph.constant(levels)], to=TensorProto.FLOAT)
    values = graph.node("Mul", [values, graph.constant(scales.astype(np.float32))])
    return graph.node("Reshape", [values, graph.ints(*weight.shape)])
