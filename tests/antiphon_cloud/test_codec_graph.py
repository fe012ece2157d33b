from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import NodeProto, TensorProto, helper, numpy_helper

from antiphon_cloud.codec_graph import quantize, quantize_columns, split_elu

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
