"""Rewrites of a graph: the same function, in fewer bytes or operations."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from antiphon_cloud.codec.onnx_rewrites import (
    keep_tables_once,
    multiply_by_vectors,
    quantize,
    quantize_columns,
    split_elu,
)

Floats = npt.NDArray[np.float32]


def model(nodes: Sequence[NodeProto], rows: int, columns: tuple[int, int], **weights: Floats) -> onnx.ModelProto:
    """x [rows, columns[0]] to y [rows, columns[1]]."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [rows, c]) for n, c in zip("xy", columns, strict=True))
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(list(nodes), "g", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(made: onnx.ModelProto, x: Floats) -> Floats:
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    result: Any = session.run(["y"], {"x": x})[0]
    return np.asarray(result, np.float32)


def product(rows: int = 2) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    w, b = random.standard_normal((64, 48), np.float32), random.standard_normal(48, np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])]
    return model(nodes, rows, (64, 48), w=w, b=b)


def test_elu_in_parts_is_elu() -> None:
    made = model([helper.make_node("Elu", ["x"], ["y"])], 3, (500, 500))
    x = np.concatenate([np.linspace(-100, 100, 1400), [0.0, -0.0, 1e-6, -1e-6, 1e30, -1e30] * 16 + [-1e-30] * 4])
    x = x.astype(np.float32).reshape(3, 500)
    whole = run(made, x)
    split_elu(made.graph)
    assert [node.op_type for node in made.graph.node] == ["Min", "Exp", "Sub", "Max"]
    np.testing.assert_allclose(run(made, x), whole, rtol=1e-6, atol=1.2e-7)


def test_a_product_and_its_bias_become_one_int8_product() -> None:
    made = product()
    x = np.random.default_rng(1).standard_normal((2, 64), np.float32)
    y = run(made, x)
    quantize(made)
    (node,) = made.graph.node
    assert (node.op_type, node.input[0], node.input[4]) == ("DynamicQuantizeMatMul", "x", "b")
    assert {entry.name: entry.data_type for entry in made.graph.initializer} == {
        "b": TensorProto.FLOAT,
        "w.int8": TensorProto.UINT8,
        "w.scale": TensorProto.FLOAT,
        "w.zero": TensorProto.UINT8,
    }
    onnx.checker.check_model(made)
    assert np.linalg.norm(run(made, x) - y) / np.linalg.norm(y) < 0.02


def test_bytes_of_like_signs_do_not_saturate() -> None:
    """Two of the largest inputs times two of the largest weights leave 16 bits, which AVX2 adds unlike signs in."""
    w = np.full((64, 16), 3.0, np.float32)
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], 2, (64, 16), w=w)
    quantize(made)
    y = run(made, np.full((2, 64), 5.0, np.float32))
    np.testing.assert_allclose(y, 64 * 15.0, rtol=0.01)


def test_products_of_many_rows_stay_in_float32() -> None:
    made = product(rows=17)
    quantize(made)
    assert [node.op_type for node in made.graph.node] == ["MatMul", "Add"]
    assert {entry.name for entry in made.graph.initializer} == {"w", "b"}


def test_a_product_that_others_read_keeps_its_bias_apart() -> None:
    made = product()
    made.graph.node.insert(2, helper.make_node("Relu", ["z"], ["other"]))
    quantize(made)
    assert [node.op_type for node in made.graph.node] == ["DynamicQuantizeMatMul", "Add", "Relu"]


def test_columns_are_rounded_to_the_nearest_byte() -> None:
    weight = np.random.default_rng(0).standard_normal((40, 5), np.float32)
    weight[:, 3] = 0
    data, scale = quantize_columns(weight)
    assert (str(data.dtype), str(scale.dtype)) == ("uint8", "float32")
    assert np.all(np.abs((data - np.float32(128)) * scale - weight) <= 0.501 * scale)
    assert np.all(data[:, 3] == 128)


def search(entries: int, columns: int) -> onnx.ModelProto:
    """x [1, columns] to what is left of x after the entry of a table that it resembles most."""
    random = np.random.default_rng(0)
    table, bias = random.standard_normal((entries, columns), np.float32), random.standard_normal(entries, np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "table", "bias"], ["scores"], transB=1),
        helper.make_node("ArgMax", ["scores"], ["code"], axis=-1, keepdims=0),
        helper.make_node("Gather", ["table", "code"], ["entry"]),
        helper.make_node("Sub", ["x", "entry"], ["y"]),
    ]
    return model(nodes, 1, (columns, columns), table=table, bias=bias)


def test_a_table_finds_and_gives_the_same_entries_when_it_is_kept_once() -> None:
    made = search(100, 64)
    x = np.random.default_rng(1).standard_normal((20, 1, 64), np.float32)
    before = [run(made, row) for row in x]
    keep_tables_once(made)
    onnx.checker.check_model(made, full_check=True)
    np.testing.assert_array_equal([run(made, row) for row in x], before)
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["x"]  # nobody has to give the table


LOAD = """
import sys
from pathlib import Path
import onnxruntime as ort

def resident_kib():
    return int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])

before = resident_kib()
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print((resident_kib() - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells what a process holds")
def test_onnxruntime_holds_a_table_once(tmp_path: Path) -> None:
    def loaded_mib(made: onnx.ModelProto) -> float:
        onnx.save(made, tmp_path / "search.onnx")
        command = [sys.executable, "-c", LOAD, str(tmp_path / "search.onnx")]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    made = search(64 * 1024, 256)  # a table of 64 MiB: allocated and given back as a whole
    twice = loaded_mib(made)
    keep_tables_once(made)
    assert loaded_mib(made) < 96 < 128 <= twice


def attention(rows: int, *, turned: bool) -> onnx.ModelProto:
    """x [2, rows, 64] times a ring [2, 64, 250], or the transpose of one [2, 250, 64]."""
    shapes = {"x": [2, rows, 64], "ring": [2, 250, 64] if turned else [2, 64, 250], "y": [2, rows, 250]}
    x, ring, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    nodes = [helper.make_node("MatMul", ["x", "matrix" if turned else "ring"], ["y"])]
    if turned:
        nodes.insert(0, helper.make_node("Transpose", ["ring"], ["matrix"], perm=[0, 2, 1]))
    graph = helper.make_graph(nodes, "g", [x, ring], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("turned", [False, True])
def test_few_rows_times_a_ring_are_products_with_vectors(turned: bool) -> None:
    made = attention(2, turned=turned)
    random = np.random.default_rng(0)
    feeds = {
        "x": random.standard_normal((2, 2, 64), np.float32),
        "ring": random.standard_normal((2, 250, 64) if turned else (2, 64, 250), np.float32),
    }
    multiply_by_vectors(made)
    onnx.checker.check_model(made, full_check=True)
    assert [node.op_type for node in made.graph.node] == ["Unsqueeze", "Unsqueeze", "MatMul", "Squeeze"]
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = feeds["x"] @ (feeds["ring"].swapaxes(1, 2) if turned else feeds["ring"])
    np.testing.assert_allclose(session.run(["y"], feeds)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 9])
def test_a_single_row_and_many_rows_are_multiplied_as_they_are(rows: int) -> None:
    made = attention(rows, turned=True)
    multiply_by_vectors(made)
    assert [node.op_type for node in made.graph.node] == ["Transpose", "MatMul"]


def test_products_with_a_constant_are_not_cut_into_vectors() -> None:
    made = product()
    multiply_by_vectors(made)
    assert [node.op_type for node in made.graph.node] == ["MatMul", "Add"]
