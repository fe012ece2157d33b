"""Rewrites an exported half of the codec to multiply in int8.

docs/codec.md has the measurements behind it. It depends only on matrix products, not on Mimi.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from antiphon.codec_manifest import OPSETS
from antiphon_cloud.codec.int8.rounding import Floats, round_columns
from antiphon_cloud.codec.onnx_rewrites import MICROSOFT, attribute, drop_unused, replace_nodes, tensor_shapes

FEW_ROWS = 16
"""Products of more rows are compute-bound: of these, int8 takes those that gather taps, the large ones."""

LEAST_WEIGHTS = 4096
"""Smaller matrices stay in float32: nothing is gained."""

_VIEWS = {"Reshape", "Slice"}  # a byte takes the same way through them as the float before it was rounded


def quantize(model: onnx.ModelProto, inputs: Mapping[str, Floats] | None = None, exact: Collection[str] = ()) -> None:
    """Gives the large matrix products int8 weights and dynamically quantized 8-bit inputs.

    Weights are signed, and inputs unsigned: what cores with VNNI multiply in one instruction. (On AVX2 without it, sums
    of two such products saturate; onnxruntime's option `session.x64quantprecision` makes the weights unsigned there.)
    The inputs of a convolution are quantized before its taps are gathered, for there are fewer of them.

    Args:
        model: an exported half; modified in place.
        inputs: samples of what a matrix multiplies [samples, K], by its name, to round it by; see `round_columns`.
        exact: names of matrices that stay in float32.
    """
    graph = model.graph
    rewriter = _Rewriter(model, inputs or {}, exact)
    replace_nodes(graph, [new for node in graph.node for new in rewriter.rewrite(node)])
    drop_unused(graph)
    model.opset_import.append(helper.make_opsetid(MICROSOFT, OPSETS[MICROSOFT]))


def products(model: onnx.ModelProto) -> dict[str, str]:
    """The names of the matrices that `quantize` rounds, each with the name of what it multiplies."""
    rewriter = _Rewriter(model, {}, ())
    return {node.input[1]: node.input[0] for node in model.graph.node if rewriter.is_large(node)}


class _Rewriter:
    """Replaces nodes one by one."""

    def __init__(self, model: onnx.ModelProto, inputs: Mapping[str, Floats], exact: Collection[str]) -> None:
        self._graph, self._inputs, self._exact = model.graph, inputs, exact
        self._shapes = tensor_shapes(model)
        self._constants = {entry.name: entry for entry in model.graph.initializer}
        self._sources = {name: node for node in model.graph.node for name in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._merged: set[str] = set()  # outputs of bias additions that were merged into their product
        self._made: set[str] = set()  # tensors of bytes

    def is_large(self, node: NodeProto) -> bool:
        """Whether it is a product with a constant matrix that pays in int8."""
        weight = self._constants.get(node.input[1]) if node.op_type == "MatMul" else None
        if weight is None or weight.name in self._exact or math.prod(weight.dims) < LEAST_WEIGHTS:
            return False
        return math.prod(self._shapes[node.input[0]][:-1]) <= FEW_ROWS or self._padded(node.input[0]) is not None

    def rewrite(self, node: NodeProto) -> Iterator[NodeProto]:
        """What stands in the place of a node."""
        if not self.is_large(node):
            if node.output[0] not in self._merged:
                yield node
            return
        x, weight = node.input[0], self._store(self._constants[node.input[1]])
        bias, y = self._take_bias(node.output[0])
        padded = self._padded(x) if math.prod(self._shapes[x][:-1]) > FEW_ROWS else None
        if padded is None:
            operator, inputs = "DynamicQuantizeMatMul", [x, *weight, *bias]
        else:
            yield from self._gather_bytes(x, padded)
            data, scale, zero = weight
            operator = "MatMulIntegerToFloat"
            inputs = [f"{x}.bytes", data, f"{padded}.scale", scale, f"{padded}.zero", zero, *bias]
        yield helper.make_node(operator, inputs, [y], name=node.name, domain=MICROSOFT)

    def _take_bias(self, y: str) -> tuple[list[str], str]:
        """The constant that is added to a product, if it is all that reads it, and the name of the sum."""
        readers = self._readers.get(y, [])
        if len(readers) != 1 or readers[0].op_type != "Add" or readers[0].input[1] not in self._constants:
            return [], y
        self._merged.add(readers[0].output[0])
        return [readers[0].input[1]], readers[0].output[0]

    def _store(self, weight: TensorProto) -> list[str]:
        """Adds the integers, scales and zero points of a matrix to the graph; returns their names."""
        data, scale = round_columns(numpy_helper.to_array(weight), self._inputs.get(weight.name))
        parts: dict[str, npt.NDArray[Any]] = {"int8": data, "scale": scale, "zero": np.zeros_like(scale, np.int8)}
        names = {f"{weight.name}.{part}": value for part, value in parts.items()}
        self._add_constants(names)
        return list(names)

    def _add_constants(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        known = {entry.name for entry in self._graph.initializer}
        self._graph.initializer.extend(
            numpy_helper.from_array(value, name) for name, value in values.items() if name not in known
        )

    def _padded(self, gathered: str) -> str | None:
        """The tensor [memory + T, C], a state and what comes after it, that all taps are views of; None without one."""
        gather = self._sources.get(gathered)
        if gather is None or gather.op_type != "Concat" or attribute(gather, "axis", 0) not in (-1, 1):
            return None
        roots = [self._root(tap) for tap in gather.input]
        for root in roots:
            pad = self._sources.get(root)
            if pad is not None and pad.op_type == "Concat" and attribute(pad, "axis", 0) in (-2, 0):
                return root if {*roots} <= {root, pad.input[1]} and len(pad.input) == 2 else None
        return None

    def _root(self, tensor: str) -> str:
        """What a tensor is a view of."""
        source = self._sources.get(tensor)
        while source is not None and source.op_type in _VIEWS:
            tensor = source.input[0]
            source = self._sources.get(tensor)
        return tensor

    def _gather_bytes(self, gathered: str, padded: str) -> Iterator[NodeProto]:
        """Quantizes `padded` and gathers its bytes as `gathered` is gathered from it."""
        x = self._sources[padded].input[1]
        if f"{padded}.bytes" not in self._made:
            parts = [f"{padded}.{part}" for part in ("bytes", "scale", "zero")]
            yield helper.make_node("DynamicQuantizeLinear", [padded], parts)
            rows = self._shapes[padded][0]
            bounds = {"start": rows - self._shapes[x][0], "end": rows, "axis": 0, "step": 1}  # of what is new
            constants = {f"{padded}.{part}": np.array([value], np.int64) for part, value in bounds.items()}
            self._add_constants(constants)
            yield helper.make_node("Slice", [f"{padded}.bytes", *constants], [f"{x}.bytes"])
            self._made |= {f"{padded}.bytes", f"{x}.bytes"}
        taps = self._sources[gathered].input
        for tap in taps:
            yield from self._view_bytes(tap)
        yield helper.make_node("Concat", [f"{tap}.bytes" for tap in taps], [f"{gathered}.bytes"], axis=-1)

    def _view_bytes(self, tensor: str) -> Iterator[NodeProto]:
        """The bytes of a view, by the same way."""
        if f"{tensor}.bytes" in self._made:
            return
        self._made.add(f"{tensor}.bytes")
        source = self._sources[tensor]
        yield from self._view_bytes(source.input[0])
        view = NodeProto()
        view.CopyFrom(source)
        view.name = ""
        view.input[0], view.output[0] = f"{source.input[0]}.bytes", f"{tensor}.bytes"
        yield view
