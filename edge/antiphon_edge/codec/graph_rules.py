"""What a graph of the codec may do: the operators of our own export, on shapes that are known before it runs.

Every shape follows from the file alone, so memory and work are bounded before onnxruntime sees it. An operator that the
export makes anew needs an entry here; a test exports and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from antiphon.codec_manifest import OPSETS
from antiphon_edge.codec.onnx_file import Attribute, Constant, Graph, GraphError, Node, TensorType, size

Shape: TypeAlias = tuple[int, ...]

# Ten times and more what the published sizes with 32 codebooks take, but for the largest tensor: twice.
MAX_ELEMENTS = 1 << 25  # of a tensor
MAX_RESULTS = 1 << 27  # elements of all results
MAX_PRODUCTS = 1 << 33  # multiplications in a frame

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
class _Call:
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


def check_graph(graph: Graph, given: dict[str, TensorType], results: dict[str, TensorType]) -> None:
    """Raises unless the graph does what a half of the codec does, and in bounds.

    Args:
        graph: as it was read.
        given: what it is to be given; it may have constants as inputs besides.
        results: what it is to give.

    Raises:
        GraphError: an operator, a size, an input or an output that our export never makes.
    """
    for domain, version in graph.opsets.items():
        if OPSETS.get(domain) != version:
            raise GraphError(f"operators of {domain or 'ONNX'}, version {version}")
    shapes = _inputs(graph, given)
    for name, constant in graph.constants.items():
        shapes[name] = _bounded(constant.type.shape)
    elements = products = 0
    for node in graph.nodes:
        call = _Call(
            node,
            tuple(_known(shapes, name, node) for name in node.inputs),
            tuple(graph.constants.get(name) for name in node.inputs),
        )
        made = _results(call)
        for name, shape in zip(node.outputs, made, strict=True):
            if name in shapes:
                raise GraphError(f"two values named {name[:50]!r}")
            shapes[name] = _bounded(shape)
            elements += size(shape)
        products += _products(call, made)
        if elements > MAX_RESULTS or products > MAX_PRODUCTS:
            raise GraphError("more to compute than a codec has")
    computed = {name: TensorType(kind.dtype, shapes.get(name, ())) for name, kind in graph.outputs.items()}
    for found in (graph.outputs, computed):
        if found != results:
            raise GraphError(f"outputs that are not those of the manifest: {_difference(found, results)}")


def _inputs(graph: Graph, given: dict[str, TensorType]) -> dict[str, Shape]:
    """The shapes of what is given."""
    found = {name: kind for name, kind in graph.inputs.items() if name not in graph.constants}
    if found != given:
        raise GraphError(f"inputs that are not those of the manifest: {_difference(found, given)}")
    for name, kind in graph.inputs.items():
        if name in graph.constants and graph.constants[name].type != kind:
            raise GraphError(f"an input {name[:50]!r} of another shape than its constant")
    return {name: _bounded(kind.shape) for name, kind in found.items()}


def _difference(found: dict[str, TensorType], described: dict[str, TensorType]) -> str:
    return repr(next(name for name in {**described, **found} if found.get(name) != described.get(name))[:50])


def _known(shapes: dict[str, Shape], name: str, node: Node) -> Shape:
    if name not in shapes:
        raise GraphError(f"a {node.operator} of {name[:50]!r}, which nothing made before")
    return shapes[name]


def _bounded(shape: Shape) -> Shape:
    if size(shape) > MAX_ELEMENTS or len(shape) > 8:
        raise GraphError(f"a tensor of shape {list(shape)}")
    return shape


def _results(call: _Call) -> list[Shape]:
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


def _products(call: _Call, made: list[Shape]) -> int:
    """Multiplications, or what takes as long."""
    if call.node.operator in _PRODUCTS:
        return size(made[0]) * max(call.shapes[0], default=1)
    return max(map(size, (*made, *call.shapes)))


def _broadcast(call: _Call) -> Iterator[Shape]:
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


def _same(call: _Call) -> Iterator[Shape]:
    yield call.shapes[0]


def _expand(call: _Call) -> Iterator[Shape]:
    yield _together((call.shapes[0], _sizes(call.integers(1))))


def _sizes(values: list[int]) -> Shape:
    if min(values, default=0) < 0:
        raise GraphError(f"a shape {values}")
    return tuple(values)


def _reshape(call: _Call) -> Iterator[Shape]:
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


def _transpose(call: _Call) -> Iterator[Shape]:
    (shape,) = call.shapes
    order: Attribute = call.node.attributes.get("perm", tuple(reversed(range(len(shape)))))
    assert isinstance(order, tuple), "its kind was checked"
    if sorted(order) != list(range(len(shape))):
        raise GraphError(f"a Transpose of {list(shape)} by {list(order)}")
    yield tuple(shape[axis] for axis in order)


def _concat(call: _Call) -> Iterator[Shape]:
    first = call.shapes[0]
    axis = call.axis(call.integer("axis", 0), len(first))
    if any(s[:axis] + s[axis + 1 :] != first[:axis] + first[axis + 1 :] or len(s) != len(first) for s in call.shapes):
        raise GraphError("a Concat of shapes that do not fit")
    yield (*first[:axis], sum(shape[axis] for shape in call.shapes), *first[axis + 1 :])


def _split(call: _Call) -> Iterator[Shape]:
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


def _slice(call: _Call) -> Iterator[Shape]:
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


def _unsqueeze(call: _Call) -> Iterator[Shape]:
    shape, axes = call.shapes[0], call.integers(1)
    rank = len(shape) + len(axes)
    places = {call.axis(axis, rank) for axis in axes}
    if len(places) < len(axes):
        raise GraphError("an Unsqueeze of one axis twice")
    rest = iter(shape)
    yield tuple(1 if axis in places else next(rest) for axis in range(rank))


def _squeeze(call: _Call) -> Iterator[Shape]:
    shape = call.shapes[0]
    places = {call.axis(axis, len(shape)) for axis in call.integers(1)}
    if any(shape[axis] != 1 for axis in places):
        raise GraphError(f"a Squeeze of {list(shape)}")
    yield tuple(dim for axis, dim in enumerate(shape) if axis not in places)


def _reduce(call: _Call) -> Iterator[Shape]:
    """Away with the axes of the second input, or of the attribute; or each to one."""
    shape = call.shapes[0]
    given = call.integers(1) if len(call.shapes) == 2 else [call.integer("axis", 0)]
    axes = {call.axis(axis, len(shape)) for axis in given}
    if not axes:
        raise GraphError(f"a {call.node.operator} over no axis")
    keep = call.integer("keepdims", 1)
    yield tuple(1 if axis in axes else dim for axis, dim in enumerate(shape) if keep or axis not in axes)


def _gather(call: _Call) -> Iterator[Shape]:
    shape, indices = call.shapes
    axis = call.axis(call.integer("axis", 0), len(shape))
    yield (*shape[:axis], *indices, *shape[axis + 1 :])


def _matmul(call: _Call) -> Iterator[Shape]:
    left, right = call.shapes[:2]
    if min(len(left), len(right)) < 2 or left[-1] != right[-2]:
        raise GraphError(f"a product of {list(left)} and {list(right)}")
    yield (*_together((left[:-2], right[:-2])), left[-2], right[-1])


def _gemm(call: _Call) -> Iterator[Shape]:
    left, right = call.shapes[:2]
    if len(left) != 2 or len(right) != 2:
        raise GraphError(f"a product of {list(left)} and {list(right)}")
    rows, inner = left[::-1] if call.integer("transA", 0) else left
    depth, columns = right[::-1] if call.integer("transB", 0) else right
    if inner != depth or _together(((rows, columns), *call.shapes[2:])) != (rows, columns):
        raise GraphError(f"a product of {list(left)} and {list(right)}")
    yield rows, columns


_TWO = {2}
_PRODUCTS = {"MatMul", "Gemm", "com.microsoft:DynamicQuantizeMatMul"}
_OPERATORS: dict[str, tuple[set[int], set[str], Callable[[_Call], Iterator[Shape]]]] = {
    **{
        name: (_TWO, set[str](), _broadcast)
        for name in ("Add", "And", "Equal", "GreaterOrEqual", "LessOrEqual", "Max", "Min", "Mul", "Sub")
    },
    **{name: ({1}, set[str](), _same) for name in ("Cos", "Exp", "Sin")},
    "ArgMax": ({1}, {"axis", "keepdims", "select_last_index"}, _reduce),
    "Cast": ({1}, {"to"}, _same),
    "Concat": (set(range(1, 33)), {"axis"}, _concat),
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
    "com.microsoft:DynamicQuantizeMatMul": ({4, 5}, set(), _matmul),
}
