"""Writes a graph as the bytes of an ONNX file: what `antiphon_edge.codec.onnx_file` reads, by the same few fields."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from antiphon_edge.codec.onnx_file import Attribute, Constant, Graph, Node, TensorType

IR_VERSION = 10
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7  # types of attributes, by ONNX's number


def write_graph(graph: Graph) -> bytes:
    """The bytes of a model with this graph."""
    body = b"".join(
        (
            *(_bytes(1, _node(node)) for node in graph.nodes),
            _bytes(2, b"batch"),
            *(_bytes(5, _constant(name, constant)) for name, constant in graph.constants.items()),
            *(_bytes(11, _value(name, kind)) for name, kind in graph.inputs.items()),
            *(_bytes(12, _value(name, kind)) for name, kind in graph.outputs.items()),
        )
    )
    opsets = (_bytes(8, _bytes(1, name.encode()) + _integer(2, version)) for name, version in graph.opsets.items())
    return _integer(1, IR_VERSION) + _bytes(7, body) + b"".join(opsets)


def _node(node: Node) -> bytes:
    domain, _, name = node.operator.rpartition(":")
    ends = ((1, node.inputs), (2, node.outputs))
    fields = (_bytes(number, text.encode()) for number, names in ends for text in names)
    attributes = (_bytes(5, _attribute(key, value)) for key, value in node.attributes.items())
    return b"".join((*fields, _bytes(4, name.encode()), *attributes, _bytes(7, domain.encode())))


def _attribute(name: str, value: Attribute) -> bytes:
    match value:
        case int():
            kind, data = _INT, _integer(3, value)
        case float():
            kind, data = _FLOAT, b"\x15" + struct.pack("<f", value)
        case str():
            kind, data = _STRING, _bytes(4, value.encode())
        case _:
            kind, data = _INTS, _integers(8, value)
    return _bytes(1, name.encode()) + data + _integer(20, kind)


def _constant(name: str, constant: Constant) -> bytes:
    kind = constant.type
    return _integers(1, kind.shape) + _integer(2, kind.dtype) + _bytes(8, name.encode()) + _bytes(9, constant.data)


def _value(name: str, kind: TensorType) -> bytes:
    shape = b"".join(_bytes(1, _integer(1, dim)) for dim in kind.shape)
    tensor = _integer(1, kind.dtype) + _bytes(2, shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, tensor))


def _integers(number: int, values: Iterable[int]) -> bytes:
    return b"".join(_integer(number, value) for value in values)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value & (1 << 64) - 1)


def _bytes(number: int, data: bytes | memoryview) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + bytes(data)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
