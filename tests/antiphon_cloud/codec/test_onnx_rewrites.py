"""Rewrites of a graph: the same function, in fewer bytes or operations."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from antiphon_cloud.codec.onnx_rewrites import keep_tables_once, split_elu
from tests.support.onnx_graphs import model, run


def test_elu_in_parts_is_elu() -> None:
    made = model([helper.make_node("Elu", ["x"], ["y"])], 3, (500, 500))
    x = np.concatenate([np.linspace(-100, 100, 1400), [0.0, -0.0, 1e-6, -1e-6, 1e30, -1e30] * 16 + [-1e-30] * 4])
    x = x.astype(np.float32).reshape(3, 500)
    whole = run(made, x)
    split_elu(made.graph)
    assert [node.op_type for node in made.graph.node] == ["Min", "Exp", "Sub", "Max"]
    np.testing.assert_allclose(run(made, x), whole, rtol=1e-6, atol=1.2e-7)


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
