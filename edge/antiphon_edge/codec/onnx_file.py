"""Reads the graph of an ONNX file: of the format, only what `antiphon-cloud export-codec` writes.

The onnx package would do, but it is 26 MB, and it makes objects of all that a file holds before anybody has looked at
it. This reader holds views of the file, and is strict where protobuf is lenient: a field that our export does not write
(external data, subgraphs, functions, doubled fields) is an error, so nothing can mean one thing here and another to
onnxruntime.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

MAX_ENTRIES = 10_000  # nodes, and constants; the published sizes have a tenth
MAX_NODE_ENTRIES = 64  # inputs, outputs or attributes of a node
MAX_RANK = 6
MAX_NAME_BYTES = 300

Attribute: TypeAlias = int | float | str | tuple[int, ...]
Value: TypeAlias = int | memoryview

DTYPES: dict[int, npt.DTypeLike] = {1: "<f4", 2: "<u1", 3: "<i1", 6: "<i4", 7: "<i8"}  # by ONNX's number
_ONCE, _MANY = False, True


class GraphError(ValueError):
    """A graph that our export does not make; the message says what it has."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """The type of an input or an output."""

    dtype: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """An initializer, still in the file."""

    type: TensorType
    data: memoryview

    def values(self) -> npt.NDArray[Any]:
        """Its values, `type.shape`."""
        return np.frombuffer(self.data, DTYPES[self.type.dtype]).reshape(self.type.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation."""

    operator: str
    """With its domain before a colon, where it has one."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(slots=True)
class Graph:
    """What a file holds."""

    opsets: dict[str, int] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    inputs: dict[str, TensorType] = field(default_factory=dict)
    outputs: dict[str, TensorType] = field(default_factory=dict)


def read_graph(data: memoryview) -> Graph:
    """The graph in the bytes of an ONNX file.

    Raises:
        GraphError: they are none, or hold what our export never writes.
    """
    model = _read(data, "a model", {1: _ONCE, 2: _ONCE, 3: _ONCE, 7: _ONCE, 8: _MANY})
    graph = Graph()
    for found in model.get(8, []):
        opset = _read(found, "an operator set", {1: _ONCE, 2: _ONCE})
        _add(graph.opsets, _text(opset, 1), _integer(opset, 2))
    body = _read(_part(model, 7, "a graph"), "the graph", {1: _MANY, 2: _ONCE, 5: _MANY, 11: _MANY, 12: _MANY})
    for number in (1, 5, 11, 12):
        if len(body.get(number, [])) > MAX_ENTRIES:
            raise GraphError(f"more than {MAX_ENTRIES} nodes, constants or values")
    graph.nodes = [_node(found) for found in body.get(1, [])]
    for found in body.get(5, []):
        _add(graph.constants, *_constant(found))
    for number, values in ((11, graph.inputs), (12, graph.outputs)):
        for found in body.get(number, []):
            _add(values, *_value(found))
    return graph


def _node(data: Value) -> Node:
    found = _read(data, "a node", {1: _MANY, 2: _MANY, 3: _ONCE, 4: _ONCE, 5: _MANY, 7: _ONCE})
    if any(len(found.get(number, [])) > MAX_NODE_ENTRIES for number in (1, 2, 5)):
        raise GraphError(f"a node with more than {MAX_NODE_ENTRIES} inputs, outputs or attributes")
    attributes: dict[str, Attribute] = {}
    for entry in found.get(5, []):
        _add(attributes, *_attribute(entry))
    domain, name = _text(found, 7), _text(found, 4)
    inputs, outputs = (tuple(_string(entry) for entry in found.get(number, [])) for number in (1, 2))
    return Node(f"{domain}:{name}" if domain else name, inputs, outputs, attributes)


def _attribute(data: Value) -> tuple[str, Attribute]:
    found = _read(data, "an attribute", {1: _ONCE, 2: _ONCE, 3: _ONCE, 4: _ONCE, 8: _MANY, 20: _ONCE})
    name, kind = _text(found, 1), _integer(found, 20)
    given = {number for number in (2, 3, 4, 8) if number in found}
    if kind == 1 and given == {2}:
        return name, float(struct.unpack("<f", _bytes(found[2][0]))[0])
    if kind == 2 and given <= {3}:
        return name, _signed(_integer(found, 3))
    if kind == 3 and given <= {4}:
        return name, _text(found, 4)
    if kind == 7 and given <= {8}:
        return name, _integers(found.get(8, []))
    raise GraphError(f"an attribute {name[:50]!r} of kind {kind}")


def _constant(data: Value) -> tuple[str, Constant]:
    found = _read(data, "a tensor", {1: _MANY, 2: _ONCE, 8: _ONCE, 9: _ONCE})
    name, kind = _text(found, 8), _tensor_type(_integer(found, 2), _integers(found.get(1, [])))
    raw = _bytes(found[9][0]) if 9 in found else memoryview(b"")
    if len(raw) != np.dtype(DTYPES[kind.dtype]).itemsize * size(kind.shape):
        raise GraphError(f"a tensor {name[:50]!r} of shape {list(kind.shape)} in {len(raw)} bytes")
    return name, Constant(kind, raw)


def _value(data: Value) -> tuple[str, TensorType]:
    found = _read(data, "a value", {1: _ONCE, 2: _ONCE})
    kind = _read(_part(found, 2, "a type"), "a type", {1: _ONCE})
    tensor = _read(_part(kind, 1, "a tensor's type"), "a tensor's type", {1: _ONCE, 2: _ONCE})
    shape = _read(_part(tensor, 2, "a shape"), "a shape", {1: _MANY})
    sizes = [_read(dim, "a size", {1: _ONCE}) for dim in shape.get(1, [])[: MAX_RANK + 1]]
    return _text(found, 1), _tensor_type(_integer(tensor, 1), tuple(_signed(_integer(dim, 1)) for dim in sizes))


def _tensor_type(dtype: int, shape: tuple[int, ...]) -> TensorType:
    if dtype not in DTYPES:
        raise GraphError(f"a tensor of ONNX's type {dtype}")
    if len(shape) > MAX_RANK or min(shape, default=0) < 0:
        raise GraphError(f"a tensor of shape {list(shape[: MAX_RANK + 1])}")
    return TensorType(dtype, shape)


def size(shape: tuple[int, ...]) -> int:
    """Elements of a tensor; of Python's integers, which do not overflow."""
    product = 1
    for dim in shape:
        product *= dim
    return product


def _add(entries: dict[str, Any], name: str, value: Any) -> None:
    if name in entries:
        raise GraphError(f"two entries named {name[:50]!r}")
    entries[name] = value


# What stands at the numbers that are not read, for those who ask why their file is refused.
_REFUSED = {
    ("a model", 14): "metadata",
    ("a model", 20): "training information",
    ("a model", 25): "functions",
    ("the graph", 13): "shapes of its own for values",
    ("the graph", 15): "sparse tensors",
    ("an attribute", 5): "a tensor",
    ("an attribute", 6): "a subgraph",
    ("an attribute", 11): "subgraphs",
    ("a tensor", 13): "external data",
    ("a tensor", 14): "external data",
    ("a size", 2): "a name instead of a number",
}


def _read(data: Value, what: str, known: Mapping[int, bool]) -> dict[int, list[Value]]:
    """The fields of a message, by number: those in `known`, and those that it maps to False once at the most."""
    found: dict[int, list[Value]] = {}
    for number, value in _fields(_bytes(data)):
        if number not in known:
            raise GraphError(f"{what} with {_REFUSED.get((what, number), f'a field {number}')}")
        if number in found and not known[number]:
            raise GraphError(f"{what} with a field {number} twice")
        found.setdefault(number, []).append(value)
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """The fields of a message of protobuf as they come: number, and integer or bytes."""
    at, value = 0, 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire == 5:
            length = 4
        else:
            raise GraphError("bytes that are no ONNX")
        if length > len(data) - at:
            raise GraphError("less than its lengths promise: it is cut short, or no ONNX")
        yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """An unsigned integer of up to 64 bits, and where it ends."""
    value = 0
    for count, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            if value >= 1 << 64 or (byte == 0 and count):
                break
            return value, at + count + 1
    raise GraphError("bytes that are no ONNX")


def _bytes(value: Value) -> memoryview:
    if isinstance(value, int):
        raise GraphError("a number where there must be bytes")
    return value


def _part(found: Mapping[int, list[Value]], number: int, what: str) -> Value:
    if number not in found:
        raise GraphError(f"nothing where there must be {what}")
    return found[number][0]


def _string(value: Value) -> str:
    data = _bytes(value)
    if len(data) > MAX_NAME_BYTES:
        raise GraphError(f"a name of more than {MAX_NAME_BYTES} bytes")
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        raise GraphError("a name that is no text") from None


def _text(found: Mapping[int, list[Value]], number: int) -> str:
    return _string(found[number][0]) if number in found else ""


def _integer(found: Mapping[int, list[Value]], number: int) -> int:
    value = found[number][0] if number in found else 0
    if not isinstance(value, int):
        raise GraphError("bytes where there must be a number")
    return value


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _integers(values: list[Value]) -> tuple[int, ...]:
    """Repeated integers, packed or not; no more than there are dimensions."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        at = 0
        while at < len(value) and len(found) <= MAX_RANK:
            number, at = _varint(value, at)
            found.append(_signed(number))
        if at < len(value):
            break
    if len(found) > MAX_RANK:
        raise GraphError(f"more than {MAX_RANK} dimensions")
    return tuple(found)
