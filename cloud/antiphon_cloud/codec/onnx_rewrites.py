"""Rewrites an exported half of the codec to take less time and memory, or to use int8 weights.

docs/codec.md has the measurements behind them. They depend only on matrix products and activations, not on Mimi.
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

from antiphon.codec_manifest import OPSETS

Floats = npt.NDArray[np.float32]

INT8_ROWS = 16
"""Products of more rows stay in float32: they are compute-bound, and int8 would cost the most quality there."""

FEW_ROWS = 8
"""Up to this many rows, onnxruntime takes longer to pack a matrix than to multiply by it."""

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


def keep_tables_once(model: onnx.ModelProto) -> None:
    """Makes onnxruntime keep one copy, not two, of a matrix that both a product and a look-up read.

    For a constant matrix it keeps a packed copy for the product and the plain one for the look-up. An initializer that
    is also an (optional) input of the graph is not a constant, so it is not packed; and the product of one row with a
    plain matrix [K, N] is as fast. To get that shape, the table is transposed: one entry per column, not per row.
    """
    graph, ranks = model.graph, {name: len(shape) for name, shape in _shapes(model).items()}
    constants = {entry.name: entry for entry in graph.initializer}
    lookups = {n.input[0]: n for n in graph.node if n.op_type == "Gather" and _attribute(n, "axis", 0) == 0}
    searches = {n.input[1]: n for n in graph.node if n.op_type == "Gemm" and _attribute(n, "transB", 0)}
    tables = {
        table for table in lookups.keys() & searches.keys() & constants.keys() if ranks[lookups[table].input[1]] == 1
    }

    def turn(node: NodeProto) -> Iterator[NodeProto]:
        if node.op_type == "Gemm" and node.input[1] in tables:
            yield helper.make_node("Gemm", node.input, node.output, name=node.name)
        elif node.op_type == "Gather" and node.input[0] in tables:
            column = f"{node.output[0]}.column"
            yield helper.make_node("Gather", node.input, [column], name=node.name, axis=1)
            yield helper.make_node("Transpose", [column], node.output, perm=[1, 0])
        else:
            yield node

    _replace_nodes(graph, [new for node in graph.node for new in turn(node)])
    for name in sorted(tables):
        columns = np.ascontiguousarray(numpy_helper.to_array(constants[name]).T)
        constants[name].CopyFrom(numpy_helper.from_array(columns, name))
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, columns.shape))


def multiply_by_vectors(model: onnx.ModelProto) -> None:
    """Splits products of a few rows with a non-constant matrix, as in attention, into products with vectors.

    onnxruntime packs such a matrix on every call, unless the product has one row or one column.
    """
    graph, shapes = model.graph, _shapes(model)
    constants = {entry.name for entry in graph.initializer}
    sources = {name: node for node in graph.node for name in node.output}

    def split(node: NodeProto) -> Iterator[NodeProto]:
        if node.op_type != "MatMul" or constants & set(node.input) or not 1 < shapes[node.input[0]][-2] <= FEW_ROWS:
            yield node
            return
        (rows, matrix), y = node.input, node.output[0]  # [*, T, K], [*, K, N]
        source = sources.get(matrix)
        turned = source is not None and source.op_type == "Transpose" and _swaps_last_two(source)
        if turned and source is not None:
            matrix = source.input[0]  # [*, N, K]: each row is a column of the result
        axis, matrix_axis = f"{y}.axis", f"{y}.matrix_axis"
        for name, value in ((axis, -1 if turned else -2), (matrix_axis, -3)):
            graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
        yield helper.make_node("Unsqueeze", [rows, axis], [f"{y}.vectors"])
        yield helper.make_node("Unsqueeze", [matrix, matrix_axis], [f"{y}.matrix"])
        factors = [f"{y}.matrix", f"{y}.vectors"] if turned else [f"{y}.vectors", f"{y}.matrix"]
        yield helper.make_node("MatMul", factors, [f"{y}.products"], name=node.name)
        yield helper.make_node("Squeeze", [f"{y}.products", axis], [y])

    nodes = [new for node in graph.node for new in split(node)]
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    _replace_nodes(graph, [node for node in nodes if read & set(node.output)])


def quantize(model: onnx.ModelProto, max_rows: int = INT8_ROWS) -> None:
    """Gives the large matrix products int8 weights and dynamically quantized 8-bit inputs.

    Weights have one byte each and one float32 scale per column. They are stored as unsigned bytes around 128: on AVX2,
    products of an unsigned and a signed byte saturate, those of two unsigned bytes do not.

    Args:
        model: an exported half; modified in place.
        max_rows: products of more rows stay in float32.
    """
    graph = model.graph
    rows = {name: math.prod(shape[:-1]) for name, shape in _shapes(model).items()}
    weights = {entry.name: entry for entry in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    following = {node.input[0]: node for node in graph.node if node.op_type == "Add"}
    nodes: list[NodeProto] = []
    merged: set[str] = set()  # outputs of bias additions that were merged into their product
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
    model.opset_import.append(helper.make_opsetid(_MICROSOFT, OPSETS[_MICROSOFT]))


def quantize_columns(weight: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """`weight` [K, N] as bytes around 128 and one scale per column [N]: (bytes − 128) · scale."""
    scale = np.abs(weight).max(0) / np.float32(127)
    scale[scale == 0] = 1
    return (np.rint(weight / scale) + _ZERO_POINT).astype(np.uint8), scale.astype(np.float32)


def _store_int8(graph: onnx.GraphProto, weight: TensorProto) -> list[str]:
    """Adds the bytes, scales and zero points of `weight` to the graph; returns their names."""
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


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that is not a constant."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _swaps_last_two(transpose: NodeProto) -> bool:
    order = list(_attribute(transpose, "perm", []))
    return order == [*range(len(order) - 2), len(order) - 1, len(order) - 2]


def _replace_nodes(graph: onnx.GraphProto, nodes: list[NodeProto]) -> None:
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
