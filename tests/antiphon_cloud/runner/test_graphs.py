"""The step that a CUDA graph will hold: one graph, static buffers, padding that touches nobody."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_leaves

from antiphon.spec import Sampling
from antiphon_cloud.model import step as module
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.runner.graphs import batch_sizes
from tests.support.fake_cuda import Recorder, fake_cuda, static_runner
from tests.support.language_models import MICRO, in_int8, micro_runner, random_model

WARM = Sampling(0.9, 8, 1.1, 16)


@pytest.mark.parametrize("kv_dtype", [None, torch.int8], ids=["float", "int8"])
@pytest.mark.parametrize("weights", [lambda model: model, in_int8], ids=["float", "int8"])
def test_the_whole_step_is_one_graph_without_a_wait_for_the_device(
    weights: Callable[[LanguageModel], LanguageModel], kv_dtype: torch.dtype | None
) -> None:
    ops = Ops(weights(random_model(MICRO)))
    state = BatchState.allocate(MICRO, 3, torch.float32, torch.device("cpu"), kv_dtype)
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(module.step, fullgraph=True, dynamic=False, backend=backend)
    slots, codes = torch.tensor([0, 1]), torch.zeros(2, MICRO.user_codebooks, dtype=torch.int64)
    with torch.inference_mode():
        for _ in range(9):  # the ring of 6 wraps, the delays end: the graph is the same
            output = compiled(ops, state, slots, codes)
    assert len(graphs) == 1
    called = {str(node.target) for node in graphs[0].graph.nodes}
    assert not called & {"item", "tolist", "nonzero", "cpu", "masked_select", "unique"}
    assert output.tokens.shape == (2, 1 + MICRO.dep_q)
    torch._dynamo.reset()


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "captured"])
@pytest.mark.parametrize("kv_dtype", [None, torch.int8], ids=["float", "int8"])
def test_static_buffers_give_the_runners_tokens_whatever_the_padding(
    graphs: bool, kv_dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_cuda(monkeypatch)
    wanted = micro_runner(5, kv_dtype=kv_dtype)
    found = static_runner(wanted.ops, 5, wanted.spec, kv_dtype, graphs)
    assert found.captured == graphs
    for runner in (wanted, found):
        for slot in range(5):
            runner.reset(slot, slot, WARM)
    rng = np.random.default_rng(0)
    for slots in ([0, 1, 2], [4], [2, 0], [3, 4, 0, 1, 2], [2], [1, 4, 3], [0, 2, 4], [2, 3], [0], [2, 1, 0]) * 2:
        codes = rng.integers(0, MICRO.card, (len(slots), MICRO.user_codebooks), np.int32)
        results = [runner.step(slots, codes) for runner in (wanted, found)]
        np.testing.assert_array_equal(results[1].text, results[0].text)
        np.testing.assert_array_equal(results[1].codes, results[0].codes)
        assert results[1].finite.tolist() == [True] * len(slots)


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "captured"])
def test_padding_never_grows_older(graphs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch)
    runner = micro_runner(5)
    runner = static_runner(runner.ops, 5, runner.spec, graphs=graphs)
    spare, ring = 5, runner.state.ring
    assert runner.state.offsets[spare] == 0  # after the capture's own steps too
    assert ring.table[spare].tolist() == [0]  # the page that no session has
    with torch.inference_mode():
        ring.keys[:, 0] = ring.values[:, 0] = torch.nan  # what padding should not read
    for step in range(1, 3 * MICRO.context):
        runner.step([3, 1, 4], np.zeros((3, MICRO.user_codebooks), np.int32))  # a batch of four: one row is padding
        assert runner.state.offsets.tolist() == [0, step, 0, step, step, 0]
    written = ring.keys[:, 0].isfinite().all(-1).all(1).all(0)  # by its position in the ring
    assert written.tolist() == [True] + [False] * (MICRO.context - 1)


def test_a_result_is_the_hosts_own() -> None:
    runner = micro_runner(2)
    runner = static_runner(runner.ops, 2, runner.spec, graphs=False)
    codes = np.zeros((2, MICRO.user_codebooks), np.int32)
    results = [runner.step([0, 1], codes) for _ in range(MICRO.max_delay + 3)]
    texts = [result.text.copy() for result in results]
    runner.step([0, 1], codes)
    np.testing.assert_array_equal([result.text for result in results], texts)


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "captured"])
def test_the_host_and_the_device_meet_in_one_copy_each_way(graphs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch)
    runner = micro_runner(3)
    runner = static_runner(runner.ops, 3, runner.spec, graphs=graphs)
    step = runner.graph_runner
    assert step is not None
    hosts = {tensor.data_ptr() for buffers in step.buffers.values() for tensor in (buffers.host_in, buffers.host_out)}
    with Recorder() as recorder, torch.inference_mode():
        step.run([2], np.zeros((1, MICRO.user_codebooks), np.int64))
    copies = [
        (str(function), args[2:])
        for function, args, _, _ in recorder.operations
        if "copy" in str(function)
        and hosts & {tensor.data_ptr() for tensor in tree_leaves(args) if isinstance(tensor, torch.Tensor)}
    ]
    assert copies == [("aten.copy_.default", (True,))] * 2  # True: the host does not wait
    assert not {str(function) for function, *_ in recorder.operations} & {"aten._local_scalar_dense.default"}


@pytest.mark.parametrize("graphs", [False, True], ids=["eager", "captured"])
def test_static_buffers_and_state_never_move(graphs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cuda(monkeypatch)
    runner = micro_runner(4)
    runner = static_runner(runner.ops, 4, runner.spec, graphs=graphs)
    before = [tensor.data_ptr() for tensor in runner.tensors]
    for count in (1, 4, 2, 3) * 3:
        runner.step(range(count), np.zeros((count, MICRO.user_codebooks), np.int32))
        assert [tensor.data_ptr() for tensor in runner.tensors] == before


@pytest.mark.parametrize(("slots", "sizes"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (16, (1, 2, 4, 8, 16))])
def test_batch_sizes_cover_the_slots(slots: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(slots) == sizes
