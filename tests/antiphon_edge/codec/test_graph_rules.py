"""Graphs that our export never makes are refused before onnxruntime sees them; those that it makes are not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import NodeProto, TensorProto, helper, numpy_helper

from antiphon.codec_manifest import CodecGraph, CodecManifest
from antiphon_edge.codec import graph_rules, operators
from antiphon_edge.codec.codec import Codec
from antiphon_edge.codec.graph_rules import check_graph
from antiphon_edge.codec.onnx_file import GraphError, TensorType, read_graph
from antiphon_edge.errors import CodecFilesError
from antiphon_number_clerk import NUMBER_CLERK

FLOAT = TensorProto.FLOAT


def model(
    nodes: Sequence[NodeProto], shape: tuple[int, ...] = (4,), result: tuple[int, ...] = (4,), **constants: Any
) -> onnx.ModelProto:
    """x of `shape` to y of `result`."""
    x, y = helper.make_tensor_value_info("x", FLOAT, shape), helper.make_tensor_value_info("y", FLOAT, result)
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(
        helper.make_graph(list(nodes), "g", [x], [y], tensors), opset_imports=opsets, ir_version=10
    )


def check(made: onnx.ModelProto, shape: tuple[int, ...] = (4,), result: tuple[int, ...] = (4,)) -> None:
    graph = read_graph(memoryview(made.SerializeToString()))
    check_graph(graph, {"x": TensorType(FLOAT, shape)}, {"y": TensorType(FLOAT, result)})


def node(operator: str, *inputs: str, to: Sequence[str] = ("y",), **attributes: Any) -> NodeProto:
    return helper.make_node(operator, list(inputs), list(to), **attributes)


def endless() -> NodeProto:
    count, condition = helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("c", 9, [])
    again = helper.make_tensor_value_info("d", 9, [])
    body = helper.make_graph([node("Identity", "c", to=["d"])], "body", [count, condition], [again])
    return node("Loop", "", "yes", to=["y"], body=body)


def with_external(made: onnx.ModelProto) -> onnx.ModelProto:
    onnx.external_data_helper.set_external_data(made.graph.initializer[0], location="/etc/passwd")
    made.graph.initializer[0].ClearField("raw_data")
    return made


def with_function(made: onnx.ModelProto) -> onnx.ModelProto:
    made.functions.append(
        helper.make_function("", "Cos", ["x"], ["y"], [node("Exp", "x")], [helper.make_opsetid("", 20)])
    )
    return made


def with_size(made: onnx.ModelProto, *dims: int) -> onnx.ModelProto:
    made.graph.initializer[0].dims[:] = dims
    return made


def with_name(made: onnx.ModelProto) -> onnx.ModelProto:
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    return made


def with_float_data(made: onnx.ModelProto) -> onnx.ModelProto:
    made.graph.initializer[0].ClearField("raw_data")
    made.graph.initializer[0].float_data.extend([0] * 4)
    return made


def with_opset(made: onnx.ModelProto, domain: str, version: int) -> onnx.ModelProto:
    made.opset_import.append(helper.make_opsetid(domain, version))
    return made


def ints(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


PLAIN = node("Add", "x", "a")
ONES = np.ones(4, np.float32)
HOSTILE: dict[str, tuple[onnx.ModelProto, str]] = {
    "an endless loop": (model([endless()], yes=np.array(True)), "an attribute with a subgraph"),
    "external data": (with_external(model([PLAIN], a=ONES)), "a tensor with external data"),
    "a function": (with_function(model([node("Cos", "x")])), "a model with functions"),
    "an operator": (model([node("Elu", "x")]), "an operator 'Elu'"),
    "an operator of onnxruntime": (
        model([helper.make_node("Inverse", ["x"], ["y"], domain="com.microsoft")]),
        "an operator 'com.microsoft:Inverse'",
    ),
    "a domain": (with_opset(model([PLAIN], a=ONES), "evil.example", 1), "operators of evil.example, version 1"),
    "a constant in a node": (
        model([node("Constant", to=["y"], value=numpy_helper.from_array(ONES))]),
        "an attribute with a tensor",
    ),
    "an attribute": (model([node("Cos", "x", axis=1)]), "a Cos with an attribute 'axis'"),
    "an attribute of another kind": (model([node("Softmax", "x", axis=1.0)]), "a Softmax with an attribute 'axis'"),
    "attributes that are no attributes of ours": (
        model([node("Softmax", "x", axes=[1.0, 2.0])]),
        "an attribute with a field 7",
    ),
    "a tensor of 2^33 bytes": (with_size(model([PLAIN], a=ONES), 1 << 31), r"'a' of shape \[2147483648\] in 16"),
    "a tensor of 2^64 elements": (with_size(model([PLAIN], a=ONES), 1 << 32, 1 << 32), "in 16 bytes"),
    "a negative size": (with_size(model([PLAIN], a=ONES), -4), r"a tensor of shape \[-4\]"),
    "many dimensions": (with_size(model([PLAIN], a=ONES), *[1] * 7, 4), "more than 6 dimensions"),
    "text in a tensor": (model([PLAIN], a=np.array([b"a"] * 4, object)), "a tensor with a field 6|ONNX's type 8"),
    "float_data": (with_float_data(model([PLAIN], a=ONES)), "a tensor with a field 4"),
    "a size with a name": (with_name(model([PLAIN], a=ONES)), "a size with a name instead of a number"),
    "a huge Expand": (
        model([node("Expand", "x", "s", to=["z"]), node("ReduceSum", "z", "axes", keepdims=0)],
              s=ints(1 << 16, 1 << 17, 4), axes=ints(0, 1)),
        r"a tensor of shape \[65536, 131072, 4\]",
    ),
    "a tensor that is stretched by another": (
        model([node("Unsqueeze", "a", "axis", to=["b"]), node("Mul", "a", "b", to=["c"]),
               node("ReduceSum", "c", "both", to=["d"]), node("Add", "x", "d")],
              a=np.ones(1 << 13, np.float32), axis=ints(1), both=ints(0, 1)),
        r"a tensor of shape \[8192, 8192\]",
    ),
    "a look-up of too much": (
        model([node("Gather", "a", "i", to=["z"])], a=np.ones((1, 256), np.float32), i=np.zeros(1 << 18, np.int64)),
        r"a tensor of shape \[262144, 256\]",
    ),
    "sizes that are computed": (
        model([node("Cast", "x", to=["s"]), node("Expand", "x", "s")]),
        "a Expand whose sizes are not constant",
    ),
    "a value that nothing made": (model([node("Cos", "z")]), "a Cos of 'z', which nothing made before"),
    "a value made twice": (model([node("Cos", "x"), node("Sin", "x")]), "two values named 'y'"),
    "another output": (model([node("Unsqueeze", "x", "axis")], axis=ints(0)), "outputs that are not .*: 'y'"),
    "two outputs": (model([node("Cos", "x", to=["y", "z"])]), "a Cos of 2 outputs"),
    "no input": (model([node("Concat")]), "a Concat of 0 inputs"),
    "an int8 product with few scales": (
        model([node("DynamicQuantizeMatMul", "x", "w", "s", "z", domain="com.microsoft")],
              shape=(2, 4), w=np.ones((4, 4), np.int8), s=np.ones(3, np.float32), z=np.zeros(4, np.int8)),
        "a com.microsoft:DynamicQuantizeMatMul whose scales do not fit",
    ),
    "a product of bytes with a short bias": (
        model([node("DynamicQuantizeLinear", "x", to=["q", "s", "z"]),
               node("MatMulIntegerToFloat", "q", "w", "s", "ws", "z", "wz", "b", domain="com.microsoft")],
              shape=(2, 4), w=np.ones((4, 4), np.int8), ws=np.ones(4, np.float32), wz=np.zeros(4, np.int8),
              b=np.ones(1, np.float32)),
        "a com.microsoft:MatMulIntegerToFloat whose scales do not fit",
    ),
}  # fmt: skip


SHAPES = {"an int8 product with few scales": (2, 4), "a product of bytes with a short bias": (2, 4)}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_our_export_never_makes_is_refused(case: str) -> None:
    made, words = HOSTILE[case]
    with pytest.raises(GraphError, match=words) as refused:
        check(made, SHAPES.get(case, (4,)))
    assert "\n" not in str(refused.value)


def test_too_much_to_compute_is_counted_over_all_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(
        [node("MatMul", "x", "a", to=["z"]), node("MatMul", "z", "a")], (3, 4), (3, 4), a=np.ones((4, 4), np.float32)
    )
    monkeypatch.setattr(graph_rules, "MAX_PRODUCTS", 2 * 3 * 4 * 4)
    check(made, (3, 4), (3, 4))
    monkeypatch.setattr(graph_rules, "MAX_PRODUCTS", 2 * 3 * 4 * 4 - 1)
    with pytest.raises(GraphError, match="more to compute than a codec has"):
        check(made, (3, 4), (3, 4))


def test_nodes_and_constants_are_counted() -> None:
    many = model([node("Cos", "x"), *(node("Cos", "x", to=[f"{i}"]) for i in range(10_000))])
    with pytest.raises(GraphError, match="more than 10000 nodes"):
        check(many)


def test_a_doubled_graph_does_not_show_one_and_run_the_other() -> None:
    data = model([node("Cos", "x")]).SerializeToString()
    graph = onnx.ModelProto(graph=onnx.GraphProto(node=[endless()])).SerializeToString()
    with pytest.raises(GraphError, match="a model with a field 7 twice"):
        read_graph(memoryview(data + graph))


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_the_rules_find_the_shapes_that_onnx_finds(
    half: str, tiny_codec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (tiny_codec / f"{half}.onnx").read_bytes()
    inferred = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data)).graph
    expected = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.output)
    }
    found = dict[str, tuple[int, ...]]()
    results = operators.result_shapes

    def watched(call: Any) -> list[tuple[int, ...]]:
        made = results(call)
        found.update(zip(call.node.outputs, made, strict=True))
        return made

    monkeypatch.setattr(graph_rules, "result_shapes", watched)
    graph = read_graph(memoryview(data))
    check_graph(graph, {name: k for name, k in graph.inputs.items() if name not in graph.constants}, graph.outputs)
    assert found == expected


def test_the_packaged_codec_and_its_operators_are_known() -> None:
    codec = Codec.load(NUMBER_CLERK / "codec")
    assert codec.decoder().step(codec.encoder().step(np.zeros(1920, np.float32))).shape == (1920,)


def test_onnxruntime_never_sees_a_hostile_graph(
    tiny_codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_codec, tmp_path / "codec")
    made = onnx.load(tmp_path / "codec/encoder.onnx")
    made.graph.node.append(endless())
    data = made.SerializeToString()
    (tmp_path / "codec/encoder.onnx").write_bytes(data)
    manifest = json.loads((tmp_path / "codec/codec.json").read_text())
    manifest["encoder"].update(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    (tmp_path / "codec/codec.json").write_text(json.dumps(manifest))

    def session(*arguments: Any, **named: Any) -> None:
        raise AssertionError("onnxruntime was asked to load it")

    monkeypatch.setattr(ort, "InferenceSession", session)
    words = r"encoder\.onnx: antiphon-cloud export-codec never makes an attribute with a subgraph; pull or export"
    with pytest.raises(CodecFilesError, match=words):
        Codec.load(tmp_path / "codec")


@pytest.fixture(scope="module")
def small() -> bytes:
    nodes = [node("MatMul", "x", "a", to=["z"]), node("Slice", "z", "s", "e", "axes", "steps")]
    made = model(
        nodes, (2, 4), (2, 3), a=np.ones((4, 5), np.float32), s=ints(1), e=ints(4), axes=ints(1), steps=ints(1)
    )
    data: bytes = made.SerializeToString()
    check(made, (2, 4), (2, 3))
    return data


@settings(max_examples=80, deadline=None, derandomize=True)
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_the_bytes_are_they_are_read_or_refused(small: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(small)
    for place, byte in changes:
        data[place % len(data)] = byte
    with suppress(GraphError):
        graph = read_graph(memoryview(bytes(data)))
        check_graph(graph, {"x": TensorType(FLOAT, (2, 4))}, {"y": TensorType(FLOAT, (2, 3))})


def test_a_graph_that_is_cut_short_is_never_taken_for_a_whole_one(small: bytes) -> None:
    for length in range(len(small)):
        with suppress(GraphError):  # else what is missing is no part of the graph: the operators' versions
            assert read_graph(memoryview(small[:length])).outputs == {"y": TensorType(FLOAT, (2, 3))}


def test_a_look_up_beyond_a_table_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What no rule can see before it runs; onnxruntime does, at the frame."""
    pcm, codes = helper.make_tensor_value_info("pcm", FLOAT, [4]), helper.make_tensor_value_info("codes", 6, [1])
    opsets = [helper.make_opsetid("", 20)]
    table = [numpy_helper.from_array(np.array([1, 2], np.float32), "table")]
    encode = [
        helper.make_node("Cast", ["pcm"], ["i"], to=7),
        node("Gather", "table", "i", to=["v"], axis=0),
        node("ArgMax", "v", to=["k"], axis=0, keepdims=1),
        helper.make_node("Cast", ["k"], ["codes"], to=6),
    ]
    made = helper.make_model(helper.make_graph(encode, "g", [pcm], [codes], table), opset_imports=opsets, ir_version=10)
    data = made.SerializeToString()
    (tmp_path / "encoder.onnx").write_bytes(data)
    half = CodecGraph("encoder.onnx", len(data), hashlib.sha256(data).hexdigest(), "pcm", "codes", ())
    manifest = CodecManifest(1, "ab" * 32, 24_000, 4, 1, 2048, "fp32", half, half)
    (tmp_path / "codec.json").write_text(manifest.to_json())
    encoder = Codec.load(tmp_path, only="encoder").encoder()
    assert encoder.step(np.array([0, 1, 0, 0], np.float32)).tolist() == [1]
    with pytest.raises(CodecFilesError, match=r"^encoder\.onnx: fails at a frame \(.*\); pull or export") as caught:
        encoder.step(np.array([0, 5, 0, 0], np.float32))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
