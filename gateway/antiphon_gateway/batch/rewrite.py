"""Rewrites a graph that steps one stream into one that steps several at once, with the same results to the bit.

A tensor of the new graph is *stacked*, the streams' tensors along a new first axis, or *apart*, one tensor for each
stream. An operation on stacked tensors costs one node where there were as many as streams, and a node's overhead is
most of a small codec's time. Apart stay the operations whose result would depend on the other streams (a product that
quantizes its input by its range) or on how many there are (a product with a single row takes another kernel), those on
states that are updated in place, and those on large tensors, which leave the caches. Side by side they still read
their weights from memory once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from antiphon_edge.codec.onnx_file import Constant, Graph, Node, TensorType, size
from antiphon_edge.codec.operators import NodeCall, Shape, result_shapes

LARGE = 1 << 14  # elements of a tensor that is not stacked
INT64 = 7

APART = {
    "ScatterND",
    "ReduceSum",
    "DynamicQuantizeLinear",
    "com.microsoft:DynamicQuantizeMatMul",
    "com.microsoft:MatMulIntegerToFloat",
}
VIEWS = {"Concat", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}  # move values, compute nothing
ELEMENTWISE = {
    *("Add", "And", "Cast", "Cos", "Equal", "Exp", "Gelu", "GreaterOrEqual", "LessOrEqual", "Max", "Min", "Mod"),
    *("Mul", "Sin", "Sub", "Where"),
}


def rewrite(graph: Graph, streams: int, apart: Iterable[str]) -> Graph:
    """The graph that steps so many streams.

    Args:
        graph: steps one, and was checked.
        streams: how many.
        apart: its inputs and outputs that stay one tensor for each stream, `NAME@0` and so on; the others are stacked.
    """
    rewriter = _Rewriter(graph, streams, frozenset(apart))
    for node in graph.nodes:
        rewriter.add(node)
    return rewriter.finish()


class _Rewriter:
    def __init__(self, graph: Graph, streams: int, apart: frozenset[str]) -> None:
        self._graph, self._streams, self._apart_ends = graph, streams, apart
        self._shapes: dict[str, Shape] = {name: kind.shape for name, kind in graph.inputs.items()}
        self._shapes |= {name: constant.type.shape for name, constant in graph.constants.items()}
        self._new = Graph(opsets=dict(graph.opsets), constants=dict(graph.constants))
        self._is_stacked: set[str] = set()
        self._is_apart: set[str] = set()
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        for name, kind in graph.inputs.items():
            if name in graph.constants:
                self._new.inputs[name] = kind
            elif name in apart:
                self._is_apart.add(name)
                self._new.inputs |= dict.fromkeys(self._each(name), kind)
            else:
                self._is_stacked.add(name)
                self._new.inputs[name] = replace(kind, shape=(streams, *kind.shape))

    def add(self, node: Node) -> None:
        """Adds what stands for a node."""
        if self._is_stacked & {*node.outputs}:
            return  # a bias, added with its product
        shapes = tuple(self._shapes[name] for name in node.inputs)
        call = NodeCall(node, shapes, tuple(self._graph.constants.get(name) for name in node.inputs))
        self._shapes |= zip(node.outputs, result_shapes(call), strict=True)
        stack = None if self._stays_apart(node) else self._stacking(node)
        if stack is None:
            columns = zip(*(self._apart(name) for name in node.inputs), strict=True)
            results = zip(*map(self._each, node.outputs), strict=True)
            for inputs, outputs in zip(columns, results, strict=True):
                self._emit(node.operator, inputs, outputs, **node.attributes)
            self._is_apart.update(node.outputs)
        else:
            stack(call)
            self._is_stacked.update(node.outputs)

    def finish(self) -> Graph:
        """The new graph, with its outputs."""
        for name, kind in self._graph.outputs.items():
            if name in self._apart_ends:
                self._new.outputs |= dict.fromkeys(self._apart(name), kind)
            else:
                self._new.outputs[self._stacked(name)] = replace(kind, shape=(self._streams, *kind.shape))
        return self._new

    def _stays_apart(self, node: Node) -> bool:
        given = [name for name in node.inputs if name not in self._graph.constants]
        if node.operator in APART or any(size(self._shapes[name]) > LARGE for name in (*given, *node.outputs)):
            return True
        if node.operator in ("MatMul", "Gather") and len(given) > 1:
            return True
        return node.operator in VIEWS and not self._is_stacked & {*given}

    def _stacking(self, node: Node) -> Callable[[NodeCall], None] | None:
        """What adds a node of stacked tensors; None where nothing does."""
        if node.operator in ELEMENTWISE:
            return self._elementwise
        return {
            "ArgMax": self._along_axis,
            "Concat": self._along_axis,
            "Gather": self._gather,
            "LayerNormalization": self._along_axis,
            "Gemm": self._gemm,
            "MatMul": self._product,
            "Reshape": self._reshape,
            "Slice": self._slice,
            "Softmax": self._along_axis,
            "Split": self._along_axis,
            "Squeeze": self._axes,
            "Transpose": self._transpose,
            "Unsqueeze": self._axes,
        }.get(node.operator)

    # One kind of operation each. `call` has the shapes of one stream's tensors.

    def _elementwise(self, call: NodeCall) -> None:
        rank = max(map(len, call.shapes))
        names = []
        for name, shape in zip(call.node.inputs, call.shapes, strict=True):
            if name not in self._graph.constants and len(shape) < rank:
                wide = (self._streams, *(1,) * (rank - len(shape)), *shape)
                names.append(self._reshaped(self._stacked(name), wide))
            else:
                names.append(self._stacked(name))
        self._emit(call.node.operator, names, call.node.outputs, **call.node.attributes)

    def _along_axis(self, call: NodeCall) -> None:
        node, rank = call.node, len(call.shapes[0])
        axis = call.axis(call.integer("axis", 0), rank) + 1
        names = [name if name in self._graph.constants else self._stacked(name) for name in node.inputs]
        if node.operator == "Concat":  # of constants too
            names = [self._repeated(name) if name in self._graph.constants else name for name in names]
        self._emit(node.operator, names, node.outputs, **{**node.attributes, "axis": axis})

    def _product(self, call: NodeCall) -> None:
        """With a constant matrix: rows of all streams in one product, and its bias, which onnxruntime adds with it."""
        (left, right), (y,) = call.node.inputs, call.node.outputs
        rows = size(call.shapes[0][:-1]) * self._streams
        flat = self._reshaped(self._stacked(left), (rows, call.shapes[0][-1]))
        product, shape = self._fresh(f"{y}.rows"), (self._streams, *self._shapes[y])
        self._emit("MatMul", (flat, right), (product,))
        readers = self._readers.get(y, [])
        if len(readers) == 1 and readers[0].operator == "Add" and self._is_bias(readers[0].inputs[1]):
            unbiased, product = product, self._fresh(f"{y}.biased")
            self._emit("Add", (unbiased, readers[0].inputs[1]), (product,))
            (y,) = readers[0].outputs
            self._shapes[y] = shape[1:]
            self._is_stacked.add(y)
        self._emit("Reshape", (product, self._integers(shape)), (y,))

    def _is_bias(self, name: str) -> bool:
        return name in self._graph.constants and len(self._shapes[name]) == 1

    def _gemm(self, call: NodeCall) -> None:
        """With a constant matrix: rows of all streams in one product."""
        rows = size(call.shapes[0][:-1]) * self._streams
        flat = self._reshaped(self._stacked(call.node.inputs[0]), (rows, call.shapes[0][-1]))
        product = self._fresh(f"{call.node.outputs[0]}.rows")
        self._emit("Gemm", (flat, *call.node.inputs[1:]), (product,), **call.node.attributes)
        shape = (self._streams, *self._shapes[call.node.outputs[0]])
        self._emit("Reshape", (product, self._integers(shape)), call.node.outputs)

    def _gather(self, call: NodeCall) -> None:
        (table, index), axis = call.node.inputs, call.axis(call.integer("axis", 0), len(call.shapes[0]))
        if table not in self._graph.constants:
            self._emit("Gather", (self._stacked(table), index), call.node.outputs, axis=axis + 1)
        elif axis == 0:
            self._emit("Gather", (table, self._stacked(index)), call.node.outputs, axis=0)
        else:
            found = self._fresh(f"{call.node.outputs[0]}.found")
            self._emit("Gather", (table, self._stacked(index)), (found,), axis=axis)
            rank = len(self._shapes[call.node.outputs[0]]) + 1
            order = (axis, *(i for i in range(rank) if i != axis))
            self._emit("Transpose", (found,), call.node.outputs, perm=order)

    def _reshape(self, call: NodeCall) -> None:
        shape = (self._streams, *self._shapes[call.node.outputs[0]])
        self._emit("Reshape", (self._stacked(call.node.inputs[0]), self._integers(shape)), call.node.outputs)

    def _slice(self, call: NodeCall) -> None:
        axes = [call.axis(axis, len(call.shapes[0])) + 1 for axis in call.integers(3)]
        source, start, end, _, step = call.node.inputs
        self._emit("Slice", (self._stacked(source), start, end, self._integers(axes), step), call.node.outputs)

    def _axes(self, call: NodeCall) -> None:
        rank = len(call.shapes[0]) + (call.node.operator == "Unsqueeze") * len(call.integers(1))
        axes = [call.axis(axis, rank) + 1 for axis in call.integers(1)]
        self._emit(call.node.operator, (self._stacked(call.node.inputs[0]), self._integers(axes)), call.node.outputs)

    def _transpose(self, call: NodeCall) -> None:
        rank = len(call.shapes[0])
        order = call.node.attributes.get("perm", tuple(reversed(range(rank))))
        assert isinstance(order, tuple), "its kind was checked"
        perm = (0, *(axis + 1 for axis in order))
        self._emit("Transpose", (self._stacked(call.node.inputs[0]),), call.node.outputs, perm=perm)

    # From one form to the other.

    def _stacked(self, name: str) -> str:
        """A tensor of all streams; a constant is the same for all."""
        if name in self._graph.constants or name in self._is_stacked:
            return name
        shape = self._shapes[name]
        parts = self._each(name)
        if not shape:
            parts = [self._reshaped(part, (1,)) for part in parts]
        joined = self._fresh(f"{name}.joined")
        self._emit("Concat", parts, (joined,), axis=0)
        self._emit("Reshape", (joined, self._integers((self._streams, *shape))), (name,))
        self._is_stacked.add(name)
        return name

    def _apart(self, name: str) -> Sequence[str]:
        """A tensor of each stream."""
        if name in self._graph.constants:
            return [name] * self._streams
        if name not in self._is_apart:
            shape = self._shapes[name]
            rows = self._reshaped(name, (self._streams * shape[0], *shape[1:])) if shape else name
            parts = self._each(name) if shape else self._each(f"{name}.row")
            self._emit("Split", (rows,), parts, axis=0, num_outputs=self._streams)
            if not shape:
                for part, one in zip(parts, self._each(name), strict=True):
                    self._emit("Reshape", (part, self._integers(())), (one,))
            self._is_apart.add(name)
        return self._each(name)

    def _each(self, name: str) -> list[str]:
        return [f"{name}@{stream}" for stream in range(self._streams)]

    def _repeated(self, name: str) -> str:
        values = self._graph.constants[name]
        data = memoryview(bytes(values.data) * self._streams)
        kind = replace(values.type, shape=(self._streams, *values.type.shape))
        return self._constant(f"{name}.repeated", Constant(kind, data))

    def _reshaped(self, name: str, shape: Sequence[int]) -> str:
        reshaped = self._fresh(f"{name}.reshaped")
        self._emit("Reshape", (name, self._integers(shape)), (reshaped,))
        return reshaped

    def _integers(self, values: Sequence[int]) -> str:
        data = memoryview(np.array(values, np.int64).tobytes())
        name = f"integers.{'.'.join(map(str, values))}"
        return self._constant(name, Constant(TensorType(INT64, (len(values),)), data))

    def _constant(self, name: str, constant: Constant) -> str:
        self._new.constants.setdefault(name, constant)
        return name

    def _fresh(self, name: str) -> str:
        return f"{name}.{len(self._new.nodes)}"

    def _emit(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> None:
        self._new.nodes.append(Node(operator, tuple(inputs), tuple(outputs), attributes))  # type: ignore[arg-type]
