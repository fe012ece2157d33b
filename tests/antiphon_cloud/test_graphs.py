"""The step that a CUDA graph will hold: one graph, static buffers, padding that touches nobody."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from antiphon.spec import Sampling
from antiphon_cloud.cache import State
from antiphon_cloud.graphs import StaticStep, batch_sizes
from antiphon_cloud.lm import LanguageModel, StepOutput
from antiphon_cloud.quant import Int8Linear, quantize_rows
from antiphon_cloud.transformer import Linear
from tests.support.language_models import MICRO, micro_runner, random_model

WARM = Sampling(0.9, 8, 1.1, 16)


def in_int8(model: LanguageModel) -> LanguageModel:
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear):
            model.set_submodule(name, Int8Linear(*quantize_rows(module.weight)))
    return model


def static_step(model: LanguageModel, slots: int, cache: torch.dtype | None = None) -> tuple[StaticStep, State]:
    state = State.allocate(model.config, slots + 1, torch.float32, torch.device("cpu"), cache)
    for slot in range(slots):
        state.sampling.set(slot, slot, WARM)
    return StaticStep(model, state, lambda slots, steps: state.ring.static(slots, steps)), state


@pytest.mark.parametrize("cache", [None, torch.int8], ids=["float", "int8"])
@pytest.mark.parametrize("weights", [lambda model: model, in_int8], ids=["float", "int8"])
def test_the_whole_step_is_one_graph_without_a_wait_for_the_device(
    weights: Callable[[LanguageModel], LanguageModel], cache: torch.dtype | None
) -> None:
    model = weights(random_model(MICRO))
    state = State.allocate(MICRO, 3, torch.float32, torch.device("cpu"), cache)
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    step = torch.compile(model.step, fullgraph=True, dynamic=False, backend=backend)
    slots, codes = torch.tensor([0, 1]), torch.zeros(2, MICRO.user_codebooks, dtype=torch.int64)
    with torch.inference_mode():
        for _ in range(9):  # the ring of 6 wraps, the delays end: the graph is the same
            output = step(state, slots, codes)
    assert len(graphs) == 1
    called = {str(node.target) for node in graphs[0].graph.nodes}
    assert not called & {"item", "tolist", "nonzero", "cpu", "masked_select", "unique"}
    assert output.tokens.shape == (2, 1 + MICRO.dep_q)
    torch._dynamo.reset()


def test_static_buffers_give_the_runners_tokens_whatever_the_padding() -> None:
    step, _ = static_step(random_model(MICRO), 5)
    runner = micro_runner(5)
    for slot in range(5):
        runner.reset(slot, slot, WARM)
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        for slots in ([0, 1, 2], [4], [2, 0], [3, 4, 0, 1, 2], [2], [1, 4, 3], [0, 2, 4], [2, 3], [0], [2, 1, 0]):
            codes = rng.integers(0, MICRO.card, (len(slots), MICRO.user_codebooks))
            found: StepOutput = step.run(slots, codes)
            wanted = runner.step(slots, codes.astype(np.int32))
            tokens = np.column_stack((wanted.text, wanted.codes))
            np.testing.assert_array_equal(found.tokens[: len(slots)].numpy(), tokens)


def test_static_buffers_and_state_never_move() -> None:
    step, state = static_step(random_model(MICRO), 4)
    before = [tensor.data_ptr() for tensor in (*step.tensors, *state.tensors)]
    with torch.inference_mode():
        for count in (1, 4, 2, 3) * 3:
            step.run(range(count), np.zeros((count, MICRO.user_codebooks), np.int64))
            assert [tensor.data_ptr() for tensor in (*step.tensors, *state.tensors)] == before


@pytest.mark.parametrize(("slots", "sizes"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (16, (1, 2, 4, 8, 16))])
def test_batch_sizes_cover_the_slots(slots: int, sizes: tuple[int, ...]) -> None:
    assert batch_sizes(slots) == sizes
