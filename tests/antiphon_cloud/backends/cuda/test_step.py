"""A whole step with the GPU's own kernels, in Triton's interpreter."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from antiphon.spec import Sampling
from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.backends.cuda.products import TritonLinear
from antiphon_cloud.model.kv_ring import Paging
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.runner.graphs import GraphRunner
from antiphon_cloud.runner.step_result import StepResult
from tests.support.language_models import MICRO, in_int8, micro_runner, random_model

STEPS = 7  # the ring of 6 wraps
SLOTS = [2, 0, 4]  # of five: a batch of four, padded
SAMPLING = Sampling(0.9, 8, 1.1, 16)


@pytest.mark.parametrize(("int8", "kv_dtype"), [(False, None), (True, torch.int8)], ids=["floats", "int8"])
def test_it_draws_the_runners_tokens(int8: bool, kv_dtype: torch.dtype | None) -> None:
    model = in_int8(random_model(MICRO)) if int8 else random_model(MICRO)
    codes = np.random.default_rng(0).integers(0, MICRO.card, (STEPS, len(SLOTS), MICRO.user_codebooks), np.int32)
    runner = micro_runner(5, kv_dtype=kv_dtype, ops=Ops(model))
    for slot in range(5):
        runner.reset(slot, slot, SAMPLING)
    wanted = [runner.step(SLOTS, frame) for frame in codes]

    if int8:
        model = in_int8(random_model(MICRO), TritonLinear)
    with torch.inference_mode():
        state = BatchState.allocate(MICRO, 6, torch.float32, torch.device("cpu"), kv_dtype)
        for slot in range(5):
            state.sampling.set(slot, slot, SAMPLING)
        step = GraphRunner(CudaOps(model), state)
        for frame, result in zip(codes, wanted, strict=True):
            step.run(SLOTS, frame.astype(np.int64))
            found = StepResult.unpack(step.wait(), MICRO.dep_q)
            np.testing.assert_array_equal(found.text, result.text)
            np.testing.assert_array_equal(found.codes, result.codes)
            np.testing.assert_array_equal(found.drawn_text, result.drawn_text)
            assert found.finite.all()


@pytest.mark.parametrize("window", [9, 3], ids=["whole context", "closed ring"])
@pytest.mark.parametrize("kv_dtype", [None, torch.int8], ids=["float", "int8"])
def test_pages_in_any_order_hold_a_ring(kv_dtype: torch.dtype | None, window: int) -> None:
    """Pages of three entries, the last of which is used in part; memory is full of what must not be seen."""
    config = replace(MICRO, context=8, num_layers=1, dep_q=1)
    model = random_model(config)
    codes = np.random.default_rng(0).integers(0, config.card, (12, 1, config.user_codebooks), np.int64)
    found = []
    for ops in (Ops(model), CudaOps(model)):
        with torch.inference_mode():
            paging = Paging(7, 3)
            state = BatchState.allocate(config, 2, torch.float32, torch.device("cpu"), kv_dtype, paging)
            for tensor in state.ring.tensors:
                tensor.fill_(torch.nan if tensor.is_floating_point() else 127)
            state.ring.assign(0, [5, 2, 6][: window // 3])
            state.sampling.set(0, 3, SAMPLING)
            step = GraphRunner(ops, state)
            rows = []
            for frame in codes:
                step.run([0], frame)
                rows.append(step.wait()[0].tolist())
            found.append(rows)
    assert found[1] == found[0]
    assert all(row[-1] for row in found[1])  # all of it numbers
