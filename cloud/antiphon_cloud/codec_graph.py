"""Rewrites an exported half of the codec: the same function in fewer microseconds, or with int8 weights.

Measured choices, all in docs/codec.md. Nothing here knows Mimi: it sees matrix products and activations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]

INT8_ROWS = 16
"""Products of more rows stay in float32: they are bound by arithmetic, not by weights, and cost the most quality."""

_MICROSOFT = "com.microsoft"  # the domain of onnxruntime's own operators
_ZERO_POINT = 128


def split_elu(graph: onnx.GraphProto) -> None:
    """Writes ELU as max(x, exp(min(x, 0)) − 1): onnxruntime's Exp is twice as fast as its Elu."""
    if not any(node.op_type == "Elu" for node in graph.node):
        return
    zero, one = "elu.zero", "elu.one"
    graph.initializer.extend(
        numpy_helper.from_array(np.array(i, np.float32), name) for i, name in enumerate((zero, one))
    )

    def split(node: NodeProto) -> Iterator[NodeProto]:
        if node.op_type != "Elu":
            yield node
            return
        x, y = node.input[0], node.output[0]
        yield helper.make_node("Min", [x, zero], [f"{y}.negative"])
        yield helper.make_node("Exp", [f"{y}.negative"], [f"{y}.exp"])
        yield helper.make_node("Sub", [f"{y}.exp", one], [f"{y}.curve"])
        yield helper.make_node("Max", [x, f"{y}.curve"], [y])

    _replace_nodes(graph, [new for node in graph.node for new in split(node)])


def quantize(model: onnx.ModelProto, max_rows: int = INT8_ROWS) -> None:
    """Gives the large matrix products int8 weights and 8-bit inputs whose scale is found anew at each call.

    A weight is one byte and a float32 scale a column. It is stored as an unsigned byte around 128: AVX2 multiplies
    pairs of bytes of unlike signs with saturation, those of like signs without.

    Args:
        model: an exported half; changed.
        max_rows: products of more rows keep float32.
    """
    graph = model.graph
    rows = _rows(model)
    weights = {entry.name: entry for entry in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    following = {node.input[0]: node for node in graph.node if node.op_type == "Add"}
    nodes: list[NodeProto] = []
    merged: set[str] = set()  # additions of a bias that their product took over
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights or rows[node.input[0]] > max_rows:
            if node.output[0] not in merged:
                nodes.append(node)
            continue
        x, weight, y = node.input[0], node.input[1], node.output[0]
        inputs = [x, *_store_int8(graph, weights[weight])]
        bias = following.get(y)
        if bias is not None and readers[y] == 1 and bias.input[1] in weights:
            inputs.append(bias.input[1])
            y = bias.output[0]
            merged.add(y)
        nodes.append(helper.make_node("DynamicQuantizeMatMul", inputs, [y], name=node.name, domain=_MICROSOFT))
    _replace_nodes(graph, nodes)
    _drop_unused(graph)
    model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))


def quantize_columns(weight: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """`weight` [K, N] as bytes around 128 and one scale a column [N]: (bytes − 128) · scale."""
    scale = np.abs(weight).max(0) / np.float32(127)
    scale[scale == 0] = 1
    return (np.rint(weight / scale) + _ZERO_POINT).astype(np.uint8), scale.astype(np.float32)


def _store_int8(graph: onnx.GraphProto, weight: TensorProto) -> list[str]:
    """Adds the bytes, the scales and the zero points of `weight` to the graph, and gives their names."""
    data, scale = quantize_columns(numpy_helper.to_array(weight))
    parts: dict[str, npt.NDArray[Any]] = {
        "int8": data,
        "scale": scale,
        "zero": np.full_like(scale, _ZERO_POINT, np.uint8),
    }
    names = {f"{weight.name}.{part}": value for part, value in parts.items()}
    known = {entry.name for entry in graph.initializer}
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in names.items() if name not in known)
    return list(names)


def _rows(model: onnx.ModelProto) -> dict[str, int]:
    """How many rows each tensor has: the product of all its dimensions but the last."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: math.prod(size.dim_value for size in value.type.tensor_type.shape.dim[:-1])
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def _replace_nodes(graph: onnx.GraphProto, nodes: list[NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
