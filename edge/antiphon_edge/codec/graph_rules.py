"""What a graph of the codec may do: the operators of our own export, on shapes that are known before it runs.

Memory and work are bounded before onnxruntime sees the graph.
"""

from __future__ import annotations

from antiphon.codec_manifest import OPSETS
from antiphon_edge.codec.onnx_file import Graph, GraphError, Node, TensorType, size
from antiphon_edge.codec.operators import NodeCall, Shape, result_shapes

# Ten times and more what the published sizes with 32 codebooks take, but for the largest tensor: twice.
MAX_ELEMENTS = 1 << 25  # of a tensor
MAX_RESULTS = 1 << 27  # elements of all results
MAX_PRODUCTS = 1 << 33  # multiplications in a frame
PRODUCT_OPERATORS = {
    "MatMul",
    "Gemm",
    "com.microsoft:DynamicQuantizeMatMul",
    "com.microsoft:MatMulIntegerToFloat",
}


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
        call = NodeCall(
            node,
            tuple(_known(shapes, name, node) for name in node.inputs),
            tuple(graph.constants.get(name) for name in node.inputs),
        )
        made = result_shapes(call)
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


def _products(call: NodeCall, made: list[Shape]) -> int:
    """Multiplications, or what takes as long."""
    if call.node.operator in PRODUCT_OPERATORS:
        return size(made[0]) * max(call.shapes[0], default=1)
    return max(map(size, (*made, *call.shapes)))
