"""Small ONNX graphs from x to y."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]


def model(
    nodes: Sequence[NodeProto], rows: int, columns: tuple[int, int], **weights: npt.NDArray[Any]
) -> onnx.ModelProto:
    """x [rows, columns[0]] to y [rows, columns[1]]."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [rows, c]) for n, c in zip("xy", columns, strict=True))
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(made: onnx.ModelProto, x: Floats, state: Floats | None = None, *, unsigned_on_x86: bool = False) -> Floats:
    """The y of an x, and of a state s if the graph has one.

    Args:
        unsigned_on_x86: whether onnxruntime makes signed weights unsigned, as for a processor without VNNI.
    """
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", str(int(unsigned_on_x86)))
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: Any = session.run(["y"], {"x": x} if state is None else {"x": x, "s": state})[0]
    return np.asarray(result, np.float32)
