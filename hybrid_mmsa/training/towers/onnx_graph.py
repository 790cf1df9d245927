"""An ONNX graph built node by node. Knows nothing of towers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["ORT_DOMAIN", "Graph"]

ORT_DOMAIN = "com.microsoft"
OPSET = 20
IR_VERSION = 9


class Graph:
    """Nodes and constants collected in order; each method adds one and returns its output's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """A constant of the value's shape and dtype."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self.constant(np.array(values, np.int64))

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        output: str | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """One operator with one output."""
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def save(
        self, path: Path, inputs: Mapping[str, tuple[str, list[str | int]]], outputs: Mapping[str, list[str | int]]
    ) -> None:
        """Write a model whose outputs are float32.

        Args:
            path: The `.onnx` file.
            inputs: dtype and shape by name; a string in a shape names a free dimension.
            outputs: Shape by name, likewise.
        """
        takes = [helper.make_tensor_value_info(n, _kind(kind), shape) for n, (kind, shape) in inputs.items()]
        gives = [helper.make_tensor_value_info(n, _kind("float32"), shape) for n, shape in outputs.items()]
        made = helper.make_graph(self.nodes, "tower", takes, gives, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ORT_DOMAIN, 1)]
        model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION, producer_name="hybrid_mmsa")
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save_model(model, path)


def _kind(dtype: str) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
