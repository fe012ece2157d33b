"""Rewrites an exported half of the codec to take less time and memory, or to use int8 weights.

docs/codec.md has the measurements behind them. They depend only on matrix products and activations, not on Mimi.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Floats = npt.NDArray[np.float32]

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""


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

    replace_nodes(graph, [new for node in graph.node for new in split(node)])


def keep_tables_once(model: onnx.ModelProto) -> None:
    """Makes onnxruntime keep one copy, not two, of a matrix that both a product and a look-up read.

    For a constant matrix it keeps a packed copy for the product and the plain one for the look-up. An initializer that
    is also an (optional) input of the graph is not a constant, so it is not packed; and the product of one row with a
    plain matrix [K, N] is as fast. To get that shape, the table is transposed: one entry per column, not per row.
    """
    graph, ranks = model.graph, {name: len(shape) for name, shape in tensor_shapes(model).items()}
    constants = {entry.name: entry for entry in graph.initializer}
    lookups = {n.input[0]: n for n in graph.node if n.op_type == "Gather" and attribute(n, "axis", 0) == 0}
    searches = {n.input[1]: n for n in graph.node if n.op_type == "Gemm" and attribute(n, "transB", 0)}
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

    replace_nodes(graph, [new for node in graph.node for new in turn(node)])
    for name in sorted(tables):
        columns = np.ascontiguousarray(numpy_helper.to_array(constants[name]).T)
        constants[name].CopyFrom(numpy_helper.from_array(columns, name))
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, columns.shape))


def tensor_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that is not a constant."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {
        value.name: tuple(size.dim_value for size in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def replace_nodes(graph: onnx.GraphProto, nodes: list[NodeProto]) -> None:
    """Gives the graph `nodes`, in order, but for those whose results nothing reads."""
    read = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if read & {*node.output}:
            kept.append(node)
            read |= {*node.input}
    del graph.node[:]
    graph.node.extend(reversed(kept))


def drop_unused(graph: onnx.GraphProto) -> None:
    """Removes the constants that no node reads."""
    used = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
