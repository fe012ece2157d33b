"""The operators of the codec's graph, and the shapes of their results.

Every shape follows from the file alone. An operator that the export makes anew needs an entry in `_OPERATORS`; a test
exports and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from antiphon_edge.codec.onnx_file import Attribute, Constant, GraphError, Node, size

Shape: TypeAlias = tuple[int, ...]

_KINDS: dict[str, type] = {
    "allowzero": int,
    "alpha": float,
    "approximate": str,
    "axis": int,
    "beta": float,
    "epsilon": float,
    "fmod": int,
    "keepdims": int,
    "noop_with_empty_axes": int,
    "num_outputs": int,
    "perm": tuple,
    "select_last_index": int,
    "stash_type": int,
    "to": int,
    "transA": int,
    "transB": int,
}


@dataclass(frozen=True, slots=True)
class NodeCall:
    """A node, and what its inputs are known to be."""

    node: Node
    shapes: tuple[Shape, ...]
    constants: tuple[Constant | None, ...]

    def integer(self, name: str, default: int) -> int:
        """An attribute."""
        value = self.node.attributes.get(name, default)
        assert isinstance(value, int), "its kind was checked"
        return value

    def integers(self, index: int) -> list[int]:
        """The values of an input that must be a constant."""
        constant = self.constants[index]
        if constant is None or constant.type.dtype not in (6, 7) or size(constant.type.shape) > 16:
            raise GraphError(f"a {self.node.operator} whose sizes are not constant")
        return [int(value) for value in constant.values().reshape(-1)]

    def axis(self, axis: int, rank: int) -> int:
        """Counted from the start."""
        if not -rank <= axis < rank:
            raise GraphError(f"a {self.node.operator} along axis {axis} of {rank}")
        return axis % rank


def result_shapes(call: NodeCall) -> list[Shape]:
    """The shapes of a node's results."""
    node = call.node
    if node.operator not in _OPERATORS:
        raise GraphError(f"an operator {node.operator[:50]!r}")
    inputs, attributes, rule = _OPERATORS[node.operator]
    if len(node.inputs) not in inputs:
        raise GraphError(f"a {node.operator} of {len(node.inputs)} inputs")
    for name, value in node.attributes.items():
        if name not in attributes or not isinstance(value, _KINDS[name]):
            raise GraphError(f"a {node.operator} with an attribute {name[:50]!r}")
    made = list(rule(call))
    if len(made) != len(node.outputs):
        raise GraphError(f"a {node.operator} of {len(node.outputs)} outputs")
    return made


def _broadcast(call: NodeCall) -> Iterator[Shape]:
    yield _together(call.shapes)


def _together(shapes: Sequence[Shape]) -> Shape:
    """The shape that all of them stretch to."""
    rank = max(map(len, shapes))
    sizes = [
        {dim for dim in dims if dim != 1} for dims in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True)
    ]
    if any(len(dims) > 1 for dims in sizes):
        raise GraphError(f"shapes that do not fit: {', '.join(str(list(shape)) for shape in shapes)}")
    return tuple(next(iter(dims), 1) for dims in sizes)


def _same(call: NodeCall) -> Iterator[Shape]:
    yield call.shapes[0]


def _expand(call: NodeCall) -> Iterator[Shape]:
    yield _together((call.shapes[0], _sizes(call.integers(1))))


def _sizes(values: list[int]) -> Shape:
    if min(values, default=0) < 0:
        raise GraphError(f"a shape {values}")
    return tuple(values)


def _reshape(call: NodeCall) -> Iterator[Shape]:
    wanted = call.integers(1)
    if not call.integer("allowzero", 0):
        kept = call.shapes[0]
        wanted = [kept[i] if dim == 0 and i < len(kept) else dim for i, dim in enumerate(wanted)]
    if wanted.count(-1) == 1:
        rest = size(tuple(dim for dim in wanted if dim != -1))
        wanted[wanted.index(-1)] = size(call.shapes[0]) // rest if rest else 0
    shape = _sizes(wanted)
    if size(shape) != size(call.shapes[0]):
        raise GraphError(f"a Reshape of {list(call.shapes[0])} to {list(shape)}")
    yield shape


def _transpose(call: NodeCall) -> Iterator[Shape]:
    (shape,) = call.shapes
    order: Attribute = call.node.attributes.get("perm", tuple(reversed(range(len(shape)))))
    assert isinstance(order, tuple), "its kind was checked"
    if sorted(order) != list(range(len(shape))):
        raise GraphError(f"a Transpose of {list(shape)} by {list(order)}")
    yield tuple(shape[axis] for axis in order)


def _concat(call: NodeCall) -> Iterator[Shape]:
    first = call.shapes[0]
    axis = call.axis(call.integer("axis", 0), len(first))
    if any(s[:axis] + s[axis + 1 :] != first[:axis] + first[axis + 1 :] or len(s) != len(first) for s in call.shapes):
        raise GraphError("a Concat of shapes that do not fit")
    yield (*first[:axis], sum(shape[axis] for shape in call.shapes), *first[axis + 1 :])


def _split(call: NodeCall) -> Iterator[Shape]:
    shape = call.shapes[0]
    axis = call.axis(call.integer("axis", 0), len(shape))
    if len(call.shapes) == 2:
        parts = list(_sizes(call.integers(1)))
    else:
        count = call.integer("num_outputs", 0)
        if count != len(call.node.outputs):
            raise GraphError(f"a Split into {count}")
        part = -(-shape[axis] // count)
        parts = [part] * (count - 1) + [shape[axis] - part * (count - 1)]
    if sum(parts) != shape[axis] or min(parts, default=0) < 0:
        raise GraphError(f"a Split of {shape[axis]} into {parts}")
    for part in parts:
        yield (*shape[:axis], part, *shape[axis + 1 :])


def _slice(call: NodeCall) -> Iterator[Shape]:
    shape = list(call.shapes[0])
    bounds = [call.integers(index) for index in (1, 2, 3, 4)]
    if len({len(values) for values in bounds}) > 1:
        raise GraphError("a Slice whose bounds do not fit")
    axes = [call.axis(axis, len(shape)) for axis in bounds[2]]
    if len(set(axes)) < len(axes) or 0 in bounds[3]:
        raise GraphError("a Slice whose bounds do not fit")
    for start, end, axis, step in zip(*bounds[:2], axes, bounds[3], strict=True):
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    yield tuple(shape)


def _unsqueeze(call: NodeCall) -> Iterator[Shape]:
    shape, axes = call.shapes[0], call.integers(1)
    rank = len(shape) + len(axes)
    places = {call.axis(axis, rank) for axis in axes}
    if len(places) < len(axes):
        raise GraphError("an Unsqueeze of one axis twice")
    rest = iter(shape)
    yield tuple(1 if axis in places else next(rest) for axis in range(rank))


def _squeeze(call: NodeCall) -> Iterator[Shape]:
    shape = call.shapes[0]
    places = {call.axis(axis, len(shape)) for axis in call.integers(1)}
    if any(shape[axis] != 1 for axis in places):
        raise GraphError(f"a Squeeze of {list(shape)}")
    yield tuple(dim for axis, dim in enumerate(shape) if axis not in places)


def _reduce(call: NodeCall) -> Iterator[Shape]:
    """Away with the axes of the second input, or of the attribute; or each to one."""
    shape = call.shapes[0]
    given = call.integers(1) if len(call.shapes) == 2 else [call.integer("axis", 0)]
    axes = {call.axis(axis, len(shape)) for axis in given}
    if not axes:
        raise GraphError(f"a {call.node.operator} over no axis")
    keep = call.integer("keepdims", 1)
    yield tuple(1 if axis in axes else dim for axis, dim in enumerate(shape) if keep or axis not in axes)


def _quantize(call: NodeCall) -> Iterator[Shape]:
    """Bytes, their scale and their zero point."""
    yield from (call.shapes[0], (), ())


def _gather(call: NodeCall) -> Iterator[Shape]:
    shape, indices = call.shapes
    axis = call.axis(call.integer("axis", 0), len(shape))
    yield (*shape[:axis], *indices, *shape[axis + 1 :])


def _matmul(call: NodeCall) -> Iterator[Shape]:
    left, right = call.shapes[:2]
    if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
        raise GraphError(f"a product of {list(left)} and {list(right)}")
    yield (*_together((left[:-2], right[:-2])), left[-2], right[-1])


def _dynamic_matmul(call: NodeCall) -> Iterator[Shape]:
    yield _int8_product(call, per_column=range(2, len(call.shapes)), single=())


def _bytes_matmul(call: NodeCall) -> Iterator[Shape]:
    yield _int8_product(call, per_column=(3, *range(5, len(call.shapes))), single=(2, 4))


def _int8_product(call: NodeCall, per_column: Iterable[int], single: Iterable[int]) -> Shape:
    """A product whose scales, zero points and bias are as many as it has columns, or one."""
    (shape,) = _matmul(call)
    if any(call.shapes[i] != shape[-1:] for i in per_column) or any(call.shapes[i] != () for i in single):
        raise GraphError(f"a {call.node.operator} whose scales do not fit")
    return shape


def _gemm(call: NodeCall) -> Iterator[Shape]:
    left, right = call.shapes[:2]
    if len(left) != 2 or len(right) != 2:
        raise GraphError(f"a product of {list(left)} and {list(right)}")
    rows, inner = left[::-1] if call.integer("transA", 0) else left
    depth, columns = right[::-1] if call.integer("transB", 0) else right
    if inner != depth or _together(((rows, columns), *call.shapes[2:])) != (rows, columns):
        raise GraphError(f"a product of {list(left)} and {list(right)}")
    yield rows, columns


_TWO = {2}
_OPERATORS: dict[str, tuple[set[int], set[str], Callable[[NodeCall], Iterator[Shape]]]] = {
    **{
        name: (_TWO, set[str](), _broadcast)
        for name in ("Add", "And", "Equal", "GreaterOrEqual", "LessOrEqual", "Max", "Min", "Mul", "Sub")
    },
    **{name: ({1}, set[str](), _same) for name in ("Cos", "Exp", "Sin")},
    "ArgMax": ({1}, {"axis", "keepdims", "select_last_index"}, _reduce),
    "Cast": ({1}, {"to"}, _same),
    "Concat": (set(range(1, 33)), {"axis"}, _concat),
    "DynamicQuantizeLinear": ({1}, set(), _quantize),
    "Expand": (_TWO, set(), _expand),
    "Gather": (_TWO, {"axis"}, _gather),
    "Gelu": ({1}, {"approximate"}, _same),
    "Gemm": ({2, 3}, {"alpha", "beta", "transA", "transB"}, _gemm),
    "LayerNormalization": ({3}, {"axis", "epsilon", "stash_type"}, _same),
    "MatMul": (_TWO, set(), _matmul),
    "Mod": (_TWO, {"fmod"}, _broadcast),
    "ReduceSum": (_TWO, {"keepdims", "noop_with_empty_axes"}, _reduce),
    "Reshape": (_TWO, {"allowzero"}, _reshape),
    "ScatterND": ({3}, set(), _same),
    "Slice": ({5}, set(), _slice),
    "Softmax": ({1}, {"axis"}, _same),
    "Split": ({1, 2}, {"axis", "num_outputs"}, _split),
    "Squeeze": (_TWO, set(), _squeeze),
    "Transpose": ({1}, {"perm"}, _transpose),
    "Unsqueeze": (_TWO, set(), _unsqueeze),
    "Where": ({3}, set(), _broadcast),
    "com.microsoft:DynamicQuantizeMatMul": ({4, 5}, set(), _dynamic_matmul),
    "com.microsoft:MatMulIntegerToFloat": ({6, 7}, set(), _bytes_matmul),
}
