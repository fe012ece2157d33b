"""Graphs as bytes."""

from __future__ import annotations

import onnx
import pytest

from antiphon_edge.codec.onnx_file import Attribute, Graph, Node, TensorType, read_graph
from antiphon_gateway.batch.onnx_writer import write_graph
from antiphon_number_clerk import NUMBER_CLERK


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_graph_that_is_written_is_read_as_it_was(half: str) -> None:
    graph = read_graph(memoryview((NUMBER_CLERK / "codec" / f"{half}.onnx").read_bytes()))
    assert read_graph(memoryview(write_graph(graph))) == graph


def test_onnx_takes_what_is_written() -> None:
    attributes: dict[str, Attribute] = {"axis": -1, "epsilon": 0.5, "approximate": "none", "perm": (1, 0)}
    node = Node("com.microsoft:Any", ("x",), ("y",), attributes)
    kind = TensorType(1, (2, 300))
    model = onnx.load_from_string(
        write_graph(Graph({"": 20, "com.microsoft": 1}, [node], {}, {"x": kind}, {"y": kind}))
    )
    (written,) = model.graph.node
    assert (written.op_type, written.domain) == ("Any", "com.microsoft")
    found = {each.name: onnx.helper.get_attribute_value(each) for each in written.attribute}
    assert found == {"axis": -1, "epsilon": 0.5, "approximate": b"none", "perm": [1, 0]}
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [2, 300]
