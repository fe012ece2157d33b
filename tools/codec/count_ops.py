"""Counts the cost of one frame of an exported codec: multiply-accumulates, and bytes of weights and states.

    python -m tools.codec.count_ops CODEC_DIR

Prints a table for encoder, decoder and both. The shapes come from running each graph once on zeros, so the counts hold
for any graph, however it was made.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime as ort

from antiphon.codec_manifest import CodecGraph
from antiphon_edge.codec.files import read_manifest

PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "FusedMatMul",
    "FusedGemm", "MatMulNBits", "Conv", "ConvInteger", "FusedConv", "ConvTranspose", "Einsum"}  # fmt: skip
NO_PRODUCTS = {"DynamicQuantizeLinear", "DequantizeLinear", "QuantizeLinear", "SkipLayerNormalization",
    "SimplifiedLayerNormalization", "RotaryEmbedding", "BiasGelu", "FastGelu", "Gelu", "QuickGelu"}  # fmt: skip

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Cost:
    """The cost of one frame of a graph."""

    macs: Counter[str]
    """Multiply-accumulates by operator."""
    weight_bytes: int
    """Every weight once, except tables of which a frame only looks up a row."""
    state_bytes: int
    """Every state once for reading, and once more for writing if it is not updated in place."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.macs + other.macs, self.weight_bytes + other.weight_bytes, self.state_bytes + other.state_bytes
        )


@click.command()
@click.argument("codec", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(codec: Path) -> None:
    """Prints the multiply-accumulates and bytes of a frame of the codec in CODEC."""
    manifest = read_manifest(codec)
    encoder, decoder = (count(codec / graph.file, graph) for graph in (manifest.encoder, manifest.decoder))
    print(f"a frame at {manifest.precision}, {manifest.codebooks} codebooks")
    print(f"{'':<10}{'MMAC':>8}{'weights MB':>12}{'states MB':>11}  MMAC by node")
    for name, cost in {"encode": encoder, "decode": decoder, "both": encoder + decoder}.items():
        by_node = ", ".join(f"{kind} {macs / 1e6:.1f}" for kind, macs in cost.macs.most_common())
        print(
            f"{name:<10}{cost.macs.total() / 1e6:>8.1f}{cost.weight_bytes / 1e6:>12.1f}"
            f"{cost.state_bytes / 1e6:>11.1f}  {by_node}"
        )


def count(path: Path, graph: CodecGraph) -> Cost:
    """The cost of one frame of the graph in `path`."""
    model = onnx.load(path)
    shapes = measure_shapes(model)
    macs: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            macs[node.op_type] += node_macs(node, shapes)
        elif node.domain not in ("", "ai.onnx") and node.op_type not in NO_PRODUCTS:
            raise click.ClickException(f"{path}: this tool does not know what {node.op_type} costs: teach it")
    sizes = {tensor.name: onnx.numpy_helper.to_array(tensor).nbytes for tensor in model.graph.initializer}
    # A frame reads one row of a table that is only looked up, and all of a table that a product reads too.
    read = {
        name
        for node in model.graph.node
        for index, name in enumerate(node.input)
        if not (node.op_type == "Gather" and index == 0)
    }
    states = sum(
        prod(state.shape) * np.dtype(state.dtype).itemsize * (1 if state.in_place else 2) for state in graph.states
    )
    return Cost(macs, sum(size for name, size in sizes.items() if name in read), states)


def node_macs(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Multiply-accumulates of one product."""
    inputs = [shapes[name] for name in node.input if name]
    result = prod(shapes[node.output[0]])
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    match node.op_type:
        case "MatMulNBits":
            return result * int(attributes["K"])
        case "Conv" | "ConvInteger" | "FusedConv":
            return result * prod(inputs[1][1:])  # weight: [C_out, C_in / groups, kernel…]
        case "ConvTranspose":
            return prod(inputs[0]) * prod(inputs[1][1:])  # weight: [C_in, C_out / groups, kernel…]
        case "Einsum":
            terms = attributes["equation"].decode().replace(" ", "").partition("->")[0].split(",")
            return prod({letter: n for term, shape in zip(terms, inputs, strict=True)
                for letter, n in zip(term, shape, strict=True)}.values())  # fmt: skip
        case _:
            return result * inputs[0][0 if attributes.get("transA") else -1]


def measure_shapes(model: onnx.ModelProto) -> Shapes:
    """The shape of every tensor that a product reads or writes, from one run on zeros."""
    constants = {i.name: tuple(i.dims) for i in model.graph.initializer}
    wanted = {name for n in model.graph.node if n.op_type in PRODUCTS for name in (*n.input, n.output[0]) if name}
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {value.name for value in (*model.graph.input, *model.graph.output)} | set(constants)
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted - known))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {
        value.name: np.zeros(
            [d.dim_value for d in value.type.tensor_type.shape.dim],
            onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
        )
        for value in model.graph.input
    }
    names = [value.name for value in session.get_outputs()]
    results = {name: np.shape(array) for name, array in zip(names, session.run(names, feeds), strict=True)}
    return constants | {name: array.shape for name, array in feeds.items()} | results


if __name__ == "__main__":
    main()
