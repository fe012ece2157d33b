"""Every executor against the definition in `model.ops`: operation by operation, and as a whole step."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from antiphon.spec import Sampling
from antiphon_cloud.backends import fbgemm
from antiphon_cloud.backends.cpu.ops import CpuOps
from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.backends.cuda.products import TritonLinear
from antiphon_cloud.model.adapters import NONE, AdapterRoom
from antiphon_cloud.model.conditioners import MAX_VOICES, VOICE_STEPS
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import Kv, StaticKv
from antiphon_cloud.model.layers import Layer, rope
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.sampling import noise_keys
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.model.step import step
from antiphon_cloud.model.tokens import FORCED_TEXT, NEW_WORD, UNGENERATED, ZERO
from tests.support.adapters import adapter_tensors, fill
from tests.support.language_models import LIKE_HIBIKI, LIKE_TTS, MICRO, compiled_ops, in_int8, random_model
from tests.support.native import needs_library

CONFIG = replace(MICRO, dim=48, depformer_dim=32)
SLOTS, STEPS = (2, 0, 3), (0, 4, 11)  # of four slots: new, on its way, and twice around the ring of 6
BATCH = len(SLOTS)


@dataclass(frozen=True)
class Executor:
    """What steps a model, and the definition of the same model."""

    made: Callable[[LMConfig], Ops]
    error: float  # at most, relative to the largest value; activations of an integer product are rounded
    int8: bool = True

    def definition(self, config: LMConfig) -> Ops:
        return Ops(in_int8(random_model(config)) if self.int8 else random_model(config))


def packed(weight: Tensor, scale: Tensor) -> fbgemm.PackedLinear:
    return fbgemm.PackedLinear(weight, scale, 3)


def triton(config: LMConfig) -> Ops:
    return CudaOps(in_int8(random_model(config), TritonLinear))


def triton_in_floats(config: LMConfig) -> Ops:
    return CudaOps(random_model(config))


needs_triton = pytest.mark.skipif(
    find_spec("triton") is None and not os.environ.get("CI"), reason="Triton is not installed"
)
INTERPRETED = (needs_triton, pytest.mark.slow)
EXECUTORS = [
    pytest.param(Executor(lambda config: compiled_ops(config, 2), 3e-6), id="compiled", marks=needs_library),
    pytest.param(
        Executor(lambda config: Ops(in_int8(random_model(config), packed)), 1e-5),
        id="fbgemm",
        marks=pytest.mark.skipif(not fbgemm.is_supported(), reason="this CPU has no packed product"),
    ),
    pytest.param(Executor(triton, 1e-5), id="Triton, int8", marks=INTERPRETED),
    pytest.param(Executor(triton_in_floats, 2e-6, int8=False), id="Triton, floats", marks=INTERPRETED),
]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def state_of(ops: Ops, kv_dtype: torch.dtype | None = None) -> BatchState:
    """Four slots that have written all that they may."""
    state = BatchState.allocate(ops.model.config, 4, torch.float32, torch.device("cpu"), kv_dtype)
    _, _, heads, context, width = state.ring.keys.shape
    for layer in range(ops.model.config.num_layers):
        for position in range(context):
            entries = random(2, 4, heads, 1, width, seed=100 * layer + position)
            state.ring.write(layer, torch.arange(4), torch.full((4,), position), *entries)
    tell(state)
    return state


def tell(state: BatchState) -> None:
    """Tells each slot something else, and of another length."""
    if state.conditions.total is not None:
        state.conditions.total.copy_(random(*state.conditions.total.shape))
    if (cross := state.conditions.cross) is not None:
        for seed, held in enumerate((cross.keys, cross.values)):
            held.copy_(random(*held.shape, seed=seed))
        cross.lengths.copy_(torch.tensor([15, 1, MAX_VOICES * VOICE_STEPS, 520]))


def static(state: BatchState) -> Kv:
    return StaticKv(state.ring, torch.tensor(SLOTS), torch.tensor(STEPS))


def ragged(state: BatchState) -> Kv:
    return state.ring.ragged(SLOTS, STEPS)


def consecutive(state: BatchState) -> Kv:
    return state.ring.consecutive(1, range(4, 4 + BATCH))


def first_layer(ops: Ops) -> Layer:
    layer = ops.model.transformer.layers[0]
    assert isinstance(layer, Layer)
    return layer


def rotation(ops: Ops) -> Tensor:
    config = ops.model.config
    return rope(torch.tensor(STEPS)[:, None], config.dim // config.num_heads, config.max_period)


def embed(ops: Ops) -> Tensor:
    tokens = torch.randint(-1, CONFIG.text_card, (BATCH, CONFIG.streams, 1), generator=torch.Generator().manual_seed(0))
    return ops.embed(tokens)  # −1 among them, which has no vector


def qkv(ops: Ops) -> Tensor:
    return torch.stack(ops.qkv(first_layer(ops), random(BATCH, 1, CONFIG.dim), (0,), rotation(ops)))


def attend(kv: Callable[[BatchState], Kv]) -> Callable[[Ops], Tensor]:
    def run(ops: Ops) -> Tensor:
        state = state_of(ops)
        entries = random(3, BATCH, CONFIG.num_heads, 1, CONFIG.dim // CONFIG.num_heads)
        out = ops.attend(kv(state), 1, entries[0], entries[1], entries[2])
        return torch.cat((out.flatten(), state.ring.keys.flatten(), state.ring.values.flatten()))

    return run


def linear_add(ops: Ops) -> Tensor:
    x, residual = random(2, BATCH, 1, CONFIG.dim)
    return ops.linear_add(first_layer(ops).self_attn.out_projs, x, (0,), residual)


def gated(ops: Ops) -> Tensor:
    return ops.gated(first_layer(ops), random(BATCH, 1, CONFIG.dim), (0,))


def draw(ops: Ops) -> Tensor:
    return drawn(ops, None)


def draw_or_force(ops: Ops) -> Tensor:
    forced = torch.randint(-2, 3, (64, 2), generator=torch.Generator().manual_seed(1))
    return torch.cat((drawn(ops, forced), drawn(ops, forced[:, :1].expand(-1, 2))))


def drawn(ops: Ops, forced: Tensor | None) -> Tensor:
    rows = 64
    keys = noise_keys(torch.tensor(5), torch.arange(rows), torch.tensor(2))
    temperature, top_k = torch.linspace(0, 1.5, rows), torch.arange(1, 1 + rows)
    logits = 4 * random(rows, 200)
    logits[::3, NEW_WORD] = 20  # which is drawn then
    return ops.draw(logits, keys, temperature, top_k, 64, forced)


def layers(kv: Callable[[BatchState], Kv]) -> Callable[[Ops], Tensor]:
    def run(ops: Ops) -> Tensor:
        state, x = state_of(ops), random(BATCH, 1, CONFIG.dim)
        out = ops.layers(ops.model.transformer, x, (0,), rotation(ops), kv(state))
        return torch.cat((out.flatten(), state.ring.keys.flatten(), state.ring.values.flatten()))

    return run


def codes(forced: Tensor | None) -> Callable[[Ops], Tensor]:
    return lambda ops: codes_of(ops, forced)


def codes_of(ops: Ops, forced: Tensor | None) -> Tensor:
    state = state_of(ops)
    keys = noise_keys(torch.tensor(5), torch.arange(BATCH)[:, None], torch.arange(CONFIG.dep_q))
    text, hidden = torch.tensor([3, 1, 4]), random(BATCH, 1, CONFIG.dim)
    for slot in SLOTS:
        state.sampling.set(slot, slot, Sampling(0.7, 5, 0.8, 12))
    sampling = state.sampling.take(torch.tensor(SLOTS))
    drawn, logits = ops.codes(text, hidden, keys, state.depformer_kv, sampling, 16, forced)
    return torch.cat((drawn.float()[..., None], logits), -1)


OPERATIONS = {
    "embed": embed,
    "qkv": qkv,
    "attend, static": attend(static),
    "attend, ragged": attend(ragged),
    "attend, consecutive": attend(consecutive),
    "linear_add": linear_add,
    "gated": gated,
    "draw": draw,
    "draw, some forced": draw_or_force,
    "layers, static": layers(static),
    "layers, ragged": layers(ragged),
    "layers, consecutive": layers(consecutive),
    "codes": codes(None),
    "codes, some forced": codes(torch.tensor([[UNGENERATED, 3, ZERO], [2, ZERO, UNGENERATED], [UNGENERATED] * 3])),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_operation_is_the_definitions(executor: Executor, operation: Callable[[Ops], Tensor]) -> None:
    with torch.inference_mode():
        wanted = operation(executor.definition(CONFIG))
        found = operation(executor.made(CONFIG))
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    if not wanted.is_floating_point():
        assert torch.equal(found, wanted)
    assert (found - wanted).abs().max() <= executor.error * wanted.abs().max()


def with_adapters(ops: Ops, dtype: torch.dtype = torch.float32) -> Ops:
    """The same executor, of the model with adapters of ranks 1 and 6 in places 1 and 2; its place 0 has none."""
    model, room = ops.model, AdapterRoom(3, 6)
    model.make_room(room, dtype)
    fill(model, room, {1: adapter_tensors(model.config, 1, seed=1), 2: adapter_tensors(model.config, 6, seed=2)})
    return CpuOps(model, ops._library) if isinstance(ops, CpuOps) else type(ops)(model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8], ids=["float32", "int8"])
@pytest.mark.parametrize("places", [(1, 2, NONE), (2, 2, 2), (0, NONE, 1)], ids=str)
@pytest.mark.parametrize("kv", [static, ragged], ids=["static", "ragged"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_step_of_rows_with_adapters_is_the_definitions(
    executor: Executor, kv: Callable[[BatchState], Kv], places: tuple[int, ...], dtype: torch.dtype
) -> None:
    heard = torch.randint(0, CONFIG.card, (BATCH, CONFIG.user_codebooks), generator=torch.Generator().manual_seed(0))
    outputs = []
    for ops in (executor.definition(CONFIG), executor.made(CONFIG)):
        with torch.inference_mode():
            state = state_of(ops)
            for slot, taken, place in zip(SLOTS, STEPS, places, strict=True):
                state.offsets[slot] = taken
                state.tokens[slot] = 1
                state.sampling.set(slot, slot, Sampling(0.7, 5, 0.8, 12))
                state.adapters[slot] = place
            outputs.append(step(with_adapters(ops, dtype), state, torch.tensor(SLOTS), heard, kv(state)))
    wanted, found = outputs
    assert torch.equal(found.tokens, wanted.tokens)
    for name in ("text_logits", "audio_logits"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert (a - b).abs().max() <= executor.error * b.abs().max()


@pytest.mark.parametrize("places", [(2, 2, 2), (NONE, 1, 2)], ids=str)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_adapters_change_no_bit_of_the_rows_that_have_none_or_another(
    executor: Executor, places: tuple[int, ...]
) -> None:
    """Row by row, as the batch's: what a session says does not depend on who shares its step."""
    ops = with_adapters(executor.made(CONFIG))
    heard = torch.randint(0, CONFIG.card, (BATCH, CONFIG.user_codebooks), generator=torch.Generator().manual_seed(0))

    def stepped(rows: list[int]) -> Tensor:
        state = state_of(ops)
        for slot, taken, place in zip(SLOTS, STEPS, places, strict=True):
            state.offsets[slot], state.tokens[slot], state.adapters[slot] = taken, 1, place
        slots = torch.tensor(SLOTS)[rows]
        kv = state.ring.ragged([SLOTS[row] for row in rows], [STEPS[row] for row in rows])
        return step(ops, state, slots, heard[rows], kv).audio_logits

    with torch.inference_mode():
        together = stepped([0, 1, 2])
        for row in range(BATCH):
            assert torch.equal(together[row], stepped([row])[0])


@pytest.mark.parametrize("kv_dtype", [None, torch.int8], ids=["float", "int8"])
@pytest.mark.parametrize("kv", [static, ragged], ids=["static", "ragged"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"depformer_weights_per_step_schedule": (0, 1, 0)},
        {"depformer_weights_per_step_schedule": (0, 0, 0)},
        {"depformer_low_rank_embeddings": 4},
        {"depformer_dim_feedforward": (24, 30, 33)},
        {"dep_q": 0, "extra_heads_num_heads": 2},
        LIKE_HIBIKI,
        LIKE_TTS,
        LIKE_TTS | {"dep_q": 4, "depformer_weights_per_step_schedule": (0, 1, 2, 2), "silent_codebooks": 1},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_step_is_the_definitions(
    executor: Executor, changes: dict[str, object], kv: Callable[[BatchState], Kv], kv_dtype: torch.dtype | None
) -> None:
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    heard = torch.randint(0, config.card, (BATCH, config.user_codebooks), generator=torch.Generator().manual_seed(0))
    forced = torch.full((BATCH, FORCED_TEXT + config.dep_q), UNGENERATED)
    forced[1] = torch.tensor([5, 6, *range(config.dep_q)])
    outputs, states = [], []
    for ops in (executor.definition(config), executor.made(config)):
        with torch.inference_mode():
            state = state_of(ops, kv_dtype)
            for slot, taken in zip(SLOTS, STEPS, strict=True):
                state.offsets[slot] = taken
                state.tokens[slot, : config.streams - config.silent_codebooks] = 1
                if config.demux_second_stream:  # one token, two, none
                    state.tokens[slot, 0] = (1, 5 * (config.text_card + 1) + 2, ZERO)[SLOTS.index(slot)]
                state.sampling.set(slot, slot, Sampling(0.7, 5, 0.8, 12))
            outputs.append(step(ops, state, torch.tensor(SLOTS), heard, kv(state), forced))
            states.append(state)
    wanted, found = outputs
    assert torch.equal(found.tokens, wanted.tokens)
    assert torch.equal(found.fed, wanted.fed)
    assert found.fed[1] in (5, 6)
    assert torch.equal(found.finite, wanted.finite)
    assert torch.equal(states[1].tokens, states[0].tokens)
    assert torch.equal(states[1].offsets, states[0].offsets)
    error = executor.error if kv_dtype is None else 0.02  # an entry near a rounding's edge may fall either way
    for name in ("text_logits", "audio_logits", "extra_heads"):
        a, b = getattr(found, name), getattr(wanted, name)
        assert a.shape == b.shape
        assert not b.numel() or (a - b).abs().max() <= error * b.abs().max()
