"""The ring of keys and values: what sessions see of it, in floats and in int8."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from antiphon.spec import GREEDY
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.forced import forced_output
from antiphon_cloud.model.kv_ring import Ring, StaticKv, allocate_ring, quantize_entries
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.runner import ModelRunner
from tests.support.language_models import MICRO, micro_runner, random_model

CONFIG = LMConfig(dim=32, num_heads=2, num_layers=2, context=10)


def entries(seed: int, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v = torch.randn(3, batch, 2, 1, 16, generator=torch.Generator().manual_seed(seed))
    return q, k, v


def ring_after(steps: int, dtype: torch.dtype = torch.float32) -> Ring:
    ring = allocate_ring(CONFIG, 4, dtype, torch.device("cpu"))
    for step in range(steps):
        _, k, v = entries(step, 4)
        ring.write(1, torch.arange(4), torch.full((4,), step % 10), k, v)
    return ring


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_ragged_and_static_attention_agree(dtype: torch.dtype) -> None:
    q, k, v = entries(99, 3)
    slots, steps = [2, 0, 3], [0, 7, 23]
    ragged = ring_after(9, dtype).ragged(slots, steps).attend(1, q, k, v)
    static = StaticKv(ring_after(9, dtype), torch.tensor(slots), torch.tensor(steps)).attend(1, q, k, v)
    torch.testing.assert_close(ragged, static)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8])
def test_what_a_broken_session_left_in_the_slot_is_not_seen(dtype: torch.dtype) -> None:
    broken = ring_after(0, dtype)
    for tensor in broken.tensors:
        tensor.fill_(torch.nan if tensor.is_floating_point() else 127)
    slots, q, k, v = torch.tensor([2, 0, 3]), *entries(99, 3)
    start = torch.zeros_like(slots)
    wanted = StaticKv(ring_after(0, dtype), slots, start).attend(1, q, k, v)
    torch.testing.assert_close(StaticKv(broken, slots, start).attend(1, q, k, v), wanted)
    torch.testing.assert_close(broken.ragged(slots.tolist(), start.tolist()).attend(1, q, k, v), wanted)


def test_a_float_ring_attends_to_the_last_context_steps() -> None:
    q, k, v = entries(14, 4)
    found = ring_after(14).ragged(range(4), [14] * 4).attend(1, q, k, v)
    keys, values = (torch.cat([entries(step, 4)[part] for step in range(5, 15)], 2) for part in (1, 2))
    wanted = torch.nn.functional.scaled_dot_product_attention(q, keys, values)
    torch.testing.assert_close(found, wanted)


def test_int8_entries_have_a_scale_for_each_head_and_position() -> None:
    _, k, _ = entries(0, 4)
    k[2] *= 1e4
    values, scale = quantize_entries(k[:, :, 0])
    assert scale.shape == (4, 2, 1)
    assert (values.abs().amax(-1) == 127).all()
    assert ((values * scale - k[:, :, 0]).abs() <= scale * 0.5001).all()


def test_int8_halves_bfloat16() -> None:
    config = LMConfig()  # the 7B's heads of 128
    sizes = {
        dtype: sum(t.nbytes for t in allocate_ring(config, 1, dtype, torch.device("meta")).tensors)
        for dtype in (torch.bfloat16, torch.int8)
    }
    assert round(sizes[torch.bfloat16] / 1e9, 2) == 1.57
    assert sizes[torch.int8] / sizes[torch.bfloat16] < 0.52


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_sessions_run_on_beyond_their_context(dtype: torch.dtype) -> None:
    config = replace(MICRO, context=1000, num_layers=1, dep_q=0, n_q=2, delays=(0, 0, 1))
    model, spec = random_model(config), replace(micro_runner(1).spec, user_codebooks=2, model_codebooks=0)
    runner = ModelRunner(Ops(model), 1, spec, dtype)
    runner.reset(0, 0, GREEDY)
    user = np.random.default_rng(0).integers(0, MICRO.card, (1030, 1, 2), np.int32)
    texts, logits = [], []
    for frame in user:
        result = runner.step([0], frame)
        texts.append(int(result.text[0]))
        logits.append(runner.text_logits[0])
    heard = np.concatenate((np.array(texts[1:])[None], user[1:, 0].T))  # what each step's input was, undelayed
    forced = forced_output(model, torch.from_numpy(heard)[None].long()).text_logits[0].numpy()
    assert result.finite.all()
    error = np.abs(np.stack(logits[:-1]) - forced).max(1) / np.abs(forced).max()
    assert error.max() < 0.05  # of rounding entries, no larger at the end than at the start
    assert error[1000:].max() < 2 * error[:1000].max()
