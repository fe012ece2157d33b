"""Products in int8: the same function, in fewer bytes and operations."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from antiphon_cloud.codec.int8.quantize import products, quantize
from tests.support.onnx_graphs import Floats, model, run


def product(rows: int = 2) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    w, b = random.standard_normal((64, 80), np.float32), random.standard_normal(80, np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "b"], ["y"])]
    return model(nodes, rows, (64, 80), w=w, b=b)


def samples(rows: int, columns: int = 64) -> Floats:
    return np.random.default_rng(1).standard_normal((rows, columns), np.float32)


def kinds(made: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in made.graph.node]


def test_a_product_and_its_bias_become_one_int8_product() -> None:
    made = product()
    y = run(made, samples(2))
    quantize(made)
    (node,) = made.graph.node
    assert (node.op_type, node.input[0], node.input[4]) == ("DynamicQuantizeMatMul", "x", "b")
    assert {entry.name: entry.data_type for entry in made.graph.initializer} == {
        "b": TensorProto.FLOAT,
        "w.int8": TensorProto.INT8,
        "w.scale": TensorProto.FLOAT,
        "w.zero": TensorProto.INT8,
    }
    onnx.checker.check_model(made)
    found = run(made, samples(2), unsigned_on_x86=True)
    assert np.linalg.norm(found - y) / np.linalg.norm(y) < 0.02


def test_weights_that_are_made_unsigned_do_not_saturate() -> None:
    """Two of the largest inputs times two of the largest weights leave the 16 bits that AVX2 adds unlike signs in."""
    made = model([helper.make_node("MatMul", ["x", "w"], ["y"])], 2, (64, 64), w=np.full((64, 64), 3.0, np.float32))
    quantize(made)
    y = run(made, np.full((2, 64), 5.0, np.float32), unsigned_on_x86=True)
    np.testing.assert_allclose(y, 64 * 15.0, rtol=0.01)


def test_products_of_many_rows_that_gather_nothing_stay_in_float32() -> None:
    made = product(rows=17)
    quantize(made)
    assert kinds(made) == ["MatMul", "Add"]
    assert {entry.name for entry in made.graph.initializer} == {"w", "b"}


def test_small_matrices_and_those_that_are_named_stay_in_float32() -> None:
    made = product()
    quantize(made, exact=("w",))
    assert kinds(made) == ["MatMul", "Add"]
    small = model([helper.make_node("MatMul", ["x", "w"], ["y"])], 2, (7, 64), w=np.ones((7, 64), np.float32))
    quantize(small)
    assert kinds(small) == ["MatMul"]


def test_a_product_that_others_read_keeps_its_bias_apart() -> None:
    made = product()
    made.graph.node.insert(2, helper.make_node("Relu", ["z"], ["other"]))
    made.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [2, 80]))
    quantize(made)
    assert kinds(made) == ["DynamicQuantizeMatMul", "Add", "Relu"]


def convolution(stride: int) -> onnx.ModelProto:
    """x [96, 32] behind a state, as taps of three inputs or of two whole strides, times a matrix."""
    taps = 3 if stride == 1 else 2
    rows, width = 96 // stride, stride * 32
    ints = {f"i{i}": np.array([i], np.int64) for i in (0, 1, 2, rows, rows + 1)}
    sizes = {"s": [(taps - 1) * stride, 32], "x": [96, 32]}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sizes.items()]
    nodes = [helper.make_node("Concat", ["s", "x"], ["padded"], axis=-2)]
    blocks, last = "padded", "x"
    if stride > 1:
        ints |= {"all": np.array([rows + 1, width], np.int64), "new": np.array([rows, width], np.int64)}
        blocks, last = "blocks", "last"
        nodes.append(helper.make_node("Reshape", ["padded", "all"], ["blocks"]))
        nodes.append(helper.make_node("Reshape", ["x", "new"], ["last"]))
    views = [f"tap{i}" for i in range(taps - 1)]
    for i, view in enumerate(views):
        nodes.append(helper.make_node("Slice", [blocks, f"i{i}", f"i{rows + i}", "i0", "i1"], [view]))
    nodes += [
        helper.make_node("Slice", ["padded", "i2", f"i{rows}", "i0", "i1"], ["after"]),
        helper.make_node("Concat", [*views, last], ["taps"], axis=-1),
        helper.make_node("MatMul", ["taps", "w"], ["z"]),
        helper.make_node("Add", ["z", "b"], ["y"]),
    ]
    random = np.random.default_rng(0)
    weights = {"w": random.standard_normal((taps * width, 64), np.float32), "b": random.standard_normal(64, np.float32)}
    made = model(nodes, 96, (32, 64), **ints, **weights)
    del made.graph.input[:], made.graph.output[:]
    made.graph.input.extend(inputs)
    results = {"y": [rows, 64], "after": [rows - 2, 32]}
    made.graph.output.extend(helper.make_tensor_value_info(n, TensorProto.FLOAT, size) for n, size in results.items())
    return made


@pytest.mark.parametrize("stride", [1, 4])
def test_a_convolution_gathers_the_bytes_of_its_inputs(stride: int) -> None:
    made = convolution(stride)
    x, state = samples(96, 32), samples(2 if stride == 1 else 4, 32)
    y = run(made, x, state)
    quantize(made)
    onnx.checker.check_model(made)
    assert {"DynamicQuantizeLinear", "MatMulIntegerToFloat"} <= {*kinds(made)}
    assert "MatMul" not in kinds(made)
    assert kinds(made).count("Concat") == 2  # the floats of state and input, and the bytes of the taps
    found = run(made, x, state, unsigned_on_x86=True)
    assert np.linalg.norm(found - y) / np.linalg.norm(y) < 0.02


@pytest.mark.parametrize("stride", [1, 4])
def test_bytes_are_gathered_as_floats_are(stride: int) -> None:
    """Inputs and weights that int8 holds exactly give the product of float32 to the last digit."""
    made = convolution(stride)
    random = np.random.default_rng(2)
    weight = next(entry for entry in made.graph.initializer if entry.name == "w")
    integers = random.integers(-127, 128, tuple(weight.dims)).astype(np.float32)
    integers[0] = 127
    weight.CopyFrom(onnx.numpy_helper.from_array(integers, "w"))
    x, state = (random.integers(0, 256, (rows, 32)).astype(np.float32) for rows in (96, 2 if stride == 1 else 4))
    x[0, :2] = 0, 255
    y = run(made, x, state)
    quantize(made)
    np.testing.assert_allclose(run(made, x, state, unsigned_on_x86=True), y, rtol=1e-6, atol=0.5)


def test_what_is_rounded_is_listed_with_what_it_multiplies() -> None:
    assert products(product()) == {"w": "x"}
    assert products(product(rows=17)) == {}
    assert products(convolution(1)) == {"w": "taps"}
