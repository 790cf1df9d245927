"""The trained image tower → one int8 ONNX file: uint8 pixels in, features out. Knows nothing of heads or corpora.

Static quantisation: every activation's scale is fixed by calibration pictures, so a picture's features do not depend
on its neighbours in a batch. Weights are int8, one scale per output channel.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from .image_tower import CENTRE, SCALE, WIDTH, ImageTower, same_padding
from .onnx_graph import Graph

__all__ = ["export_image"]

BATCH = 16


def export_image(tower: ImageTower, pixels: NDArray[np.uint8], path: Path) -> None:
    """Write `path` with input `pixels` uint8 `[n, side, side, 3]` and output `features` float32 `[n, 1280]`.

    Args:
        tower: The trained tower.
        pixels: Calibration pictures, uint8 `[m, side, side, 3]`; their side becomes the tower's.
        path: The `.onnx` file to write.
    """
    with tempfile.TemporaryDirectory() as folder:
        exact, prepared = Path(folder, "exact.onnx"), Path(folder, "prepared.onnx")
        _exact(tower, pixels.shape[1], exact)
        quant_pre_process(str(exact), str(prepared))
        path.parent.mkdir(parents=True, exist_ok=True)
        logging.getLogger().setLevel(logging.WARNING)
        quantize_static(
            str(prepared),
            str(path),
            _Reader(pixels),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Add", "Clip"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )


def _exact(tower: ImageTower, side: int, path: Path) -> None:
    """The tower in float32."""
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
        inputs = [x, graph.constant(weight.detach().numpy()), graph.constant(bias.detach().numpy())]
        sizes = {"pads": [before, before, after, after], "strides": [spec.stride] * 2, "kernel_shape": [kernel] * 2}
        x = graph.node("Conv", inputs, group=weight.shape[0] if spec.depthwise else 1, **sizes)
        x = graph.node("Clip", [x, low, high]) if spec.clipped else x
        x = graph.node("Add", [x, residual]) if spec.adds_residual else x
        size = -(-size // spec.stride)
    graph.node("ReduceMean", [x, graph.ints(2, 3)], output="features", keepdims=0)
    graph.save(path, {"pixels": ("uint8", ["n", side, side, 3])}, WIDTH)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the calibration pictures in small batches."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self._batches: Iterator[NDArray[np.uint8]] = iter(np.split(pixels, range(BATCH, len(pixels), BATCH)))

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": batch}
