"""A whole step with the GPU's own kernels, in Triton's interpreter."""

import numpy as np
import pytest
import torch

from antiphon.spec import Sampling
from antiphon_cloud.backends.cuda.int8_linear import TritonLinear
from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.runner.graphs import GraphRunner
from tests.support.language_models import MICRO, in_int8, micro_runner, random_model

STEPS = 8  # the ring of 6 wraps
SLOTS = [2, 0, 4]  # of five: a batch of four, padded
SAMPLING = Sampling(0.9, 8, 1.1, 16)


@pytest.mark.parametrize("kv_dtype", [None, torch.int8], ids=["float", "int8"])
@pytest.mark.parametrize("int8", [False, True], ids=["float weights", "int8 weights"])
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
            np.testing.assert_array_equal(step.wait()[:, :-1], np.column_stack((result.text, result.codes)))
