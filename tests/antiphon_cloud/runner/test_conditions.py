"""Sessions that are told something: values that are added, voices that are attended to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from antiphon.errors import PreconditionError
from antiphon.history import HistoryTokens
from antiphon.spec import GREEDY, Sampling
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.conditions import positions
from antiphon_cloud.model.layers import Layer
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.footprint import footprint
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.runner.settings import DEFAULT, SessionSettings
from tests.support.language_models import relative_error
from tests.support.told_models import HIBIKI, TTS, write_model, write_voice

CPU = torch.device("cpu")
SAMPLING = Sampling(0.7, 5, 0.8, 12)
ANNA, BEN = SessionSettings({"cfg": "1.0"}, ("anna",)), SessionSettings({"cfg": "4.0"}, ("ben", "anna"))


def runner_of(folder: Path, config: dict[str, Any], slots: int = 3, codebooks: int | None = None) -> ModelRunner:
    if not (folder / "config.json").exists():
        write_model(folder, config)
        write_voice(folder, "anna", seed=1)
        write_voice(folder, "ben", seed=2)
    return ModelRunner.load(ModelDirectory.open(folder, codebooks), slots, torch.float32, CPU)


def step(runner: ModelRunner, slots: list[int], number: int) -> np.ndarray[Any, Any]:
    """A step of some slots: what was fed and the codes, one row a slot."""
    heard = np.full((len(slots), runner.spec.user_codebooks), number % 24, np.int32)
    result = runner.step(slots, heard)
    return np.concatenate((result.fed[:, None], result.text[:, None], result.codes), 1)


def session(runner: ModelRunner, settings: SessionSettings, slot: int = 0, steps: int = 20) -> np.ndarray[Any, Any]:
    runner.reset(slot, 5, SAMPLING, settings)
    return np.stack([step(runner, [slot], number)[0] for number in range(steps)])


def test_another_value_gives_other_tokens_and_the_default_is_the_usual_one(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, HIBIKI)
    usual = session(runner, DEFAULT)
    assert np.array_equal(session(runner, SessionSettings({"description": "very_good"})), usual)
    assert not np.array_equal(session(runner, SessionSettings({"description": "very_bad"})), usual)


def test_what_is_added_is_the_values_vector_projected(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, HIBIKI)
    tensors = runner.ops.model.state_dict()
    prefix = "condition_provider.conditioners.description"
    runner.reset(1, 0, GREEDY, SessionSettings({"description": "good"}))
    assert runner.state.conditions.total is not None
    wanted = tensors[f"{prefix}.output_proj.weight"] @ tensors[f"{prefix}.embed.weight"][1]
    torch.testing.assert_close(runner.state.conditions.total[1], wanted)


def test_sessions_of_a_batch_are_told_different_things_and_come_out_as_alone(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, TTS)
    told = [ANNA, BEN, DEFAULT]
    alone = [session(runner, settings, slot) for slot, settings in enumerate(told)]
    assert not np.array_equal(alone[0], alone[1])
    for slot, settings in enumerate(told):
        runner.reset(slot, 5, SAMPLING, settings)
    together = np.stack([step(runner, [2, 0, 1], number) for number in range(20)], 1)  # [rows, steps, ...]
    for row, slot in enumerate((2, 0, 1)):
        assert np.array_equal(together[row], alone[slot])


def test_a_slots_next_session_hears_its_own_voice_only(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, TTS)
    wanted = session(runner, ANNA, slot=2)
    session(runner, BEN, slot=0)
    assert np.array_equal(session(runner, ANNA, slot=0), wanted)
    assert np.array_equal(session(runner, BEN, slot=1), session(runner, BEN, slot=2))  # copied from slot to slot


def test_a_voice_that_changed_on_disk_is_read_again(tmp_path: Path) -> None:
    runner = runner_of(tmp_path, TTS)
    before = session(runner, ANNA)
    write_voice(tmp_path, "anna", seed=8)
    assert not np.array_equal(session(runner, ANNA), before)


def test_layers_attend_to_voices_side_by_side_and_to_padding_in_place_of_the_missing_ones(tmp_path: Path) -> None:
    """Against torch's own attention over all five places, with the positions of a transformer's first paper."""
    runner = runner_of(tmp_path, TTS)
    runner.reset(0, 5, SAMPLING, BEN)
    model, cross = runner.ops.model, runner.state.conditions.cross
    assert cross is not None
    weights = model.condition_provider.of("speaker_wavs")
    source = torch.cat([torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(seed))[0].t() for seed in (2, 1)])
    padding = weights.learnt_padding[0].expand(3 * 3, -1)
    vectors = torch.cat((source @ weights.output_proj.weight.t(), padding)) + positions(15, 16, CPU)
    assert cross.lengths[0] == 15
    layer = model.transformer.layers[1]
    assert isinstance(layer, Layer)
    matrices = layer.cross_attention
    assert matrices is not None
    x = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(0))
    normed = F.layer_norm(x, (16,), layer.norm_cross.weight, layer.norm_cross.bias)
    q, k, v = (
        (of @ matrix.weight.t()).view(1, -1, 2, 8).transpose(1, 2)
        for of, matrix in (
            (normed, matrices.q_proj),
            (vectors[None], matrices.k_proj),
            (vectors[None], matrices.v_proj),
        )
    )
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    wanted = x + matrices.out_projs[0](attended)
    found = Ops(model).cross_attention(layer, 1, x, runner.state.conditions.rows(torch.tensor([0])))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(("config", "settings"), [(HIBIKI, DEFAULT), (TTS, BEN)], ids=["hibiki", "tts"])
def test_a_session_that_goes_on_elsewhere_is_told_the_same(
    config: dict[str, Any], settings: SessionSettings, tmp_path: Path
) -> None:
    runner = runner_of(tmp_path, config)
    whole, hidden = session(runner, settings, steps=30), runner.spec.delay_steps
    assert (whole[hidden:, 1] == whole[: 30 - hidden, 0]).all()  # the text comes out as it was fed
    steps = 18
    user = np.arange(steps, dtype=np.int32)[:, None].repeat(runner.spec.user_codebooks, 1) % 24
    history = HistoryTokens(steps, user, whole[:steps, 1], whole[:steps, 2:])
    prefill = runner.resume(1, 5, SAMPLING, history, settings)
    while prefill.left:
        prefill.advance(4)
    assert np.array_equal(np.stack([step(runner, [1], number)[0] for number in range(steps, 30)]), whole[steps:])


def test_over_static_buffers_a_step_is_the_same(tmp_path: Path) -> None:
    loaded = runner_of(tmp_path, TTS)
    directory = ModelDirectory.open(tmp_path)
    static = ModelRunner(loaded.ops, 3, loaded.spec, static=True, graphs=False, directory=directory)
    assert np.array_equal(session(static, BEN), session(loaded, BEN))


def test_fewer_codebooks_are_the_first_ones_of_a_model_whose_others_are_silent(tmp_path: Path) -> None:
    runner_of(tmp_path, TTS)
    runner = runner_of(tmp_path, TTS, codebooks=3)
    assert (runner.spec.model_codebooks, runner.spec.user_codebooks) == (3, 0)
    assert session(runner, ANNA).shape == (20, 2 + 3)
    assert (runner.state.tokens[0, 4:] == -1).all()
    assert runner.spec.fingerprint != runner_of(tmp_path, TTS).spec.fingerprint


@pytest.mark.parametrize(("config", "codebooks"), [(TTS, 6), (HIBIKI, 1)], ids=["too many", "a model that hears"])
def test_a_number_of_codebooks_that_cannot_be_is_refused(
    config: dict[str, Any], codebooks: int, tmp_path: Path
) -> None:
    write_model(tmp_path, config)
    with pytest.raises(ConfigError, match=f"^--codebooks {codebooks}: a model of type .*; leave the option out$"):
        ModelDirectory.open(tmp_path, codebooks)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SessionSettings({"cfg": "9.0"}), "condition cfg: '9.0'"),
        (SessionSettings(voices=("eve",)), "voice 'eve': this model has none of the name; take anna, ben, long$"),
        (SessionSettings(voices=("anna", "long")), "voices 'anna' and 'long' are of 3 and 4 steps"),
    ],
)
def test_what_the_model_does_not_have_starts_no_session(settings: SessionSettings, words: str, tmp_path: Path) -> None:
    runner = runner_of(tmp_path, TTS)
    before = session(runner, ANNA)
    write_voice(tmp_path, "long", steps=4)
    with pytest.raises(PreconditionError, match=words):
        runner.reset(0, 5, SAMPLING, settings)
    assert np.array_equal(session(runner, ANNA), before)


def test_the_spec_says_that_the_model_speaks_a_script(tmp_path: Path) -> None:
    spec = runner_of(tmp_path, TTS).spec
    assert (spec.sound_delay_steps, spec.speakers, spec.takes_voice, spec.delay_steps) == (3, 2, True, 2)
    assert spec.text_cardinality == 20  # of the words; what a second text stream holds beside them is no word


@pytest.mark.parametrize("config", [HIBIKI, TTS], ids=["hibiki", "tts"])
def test_what_it_takes_in_memory_is_foretold(config: dict[str, Any], tmp_path: Path) -> None:
    runner = runner_of(tmp_path, config)
    size = footprint(runner.config, select(CPU, torch.float32, int8=False), None)
    assert sum(p.nbytes for p in runner.ops.model.parameters()) == size.matrices + size.tables
    assert sum(t.nbytes for t in runner.tensors) == pytest.approx(3 * size.session, rel=0.02)


@pytest.mark.parametrize("config", [HIBIKI, TTS], ids=["hibiki", "tts"])
def test_in_int8_it_says_nearly_the_same(config: dict[str, Any], tmp_path: Path) -> None:
    logits = []
    runner_of(tmp_path, config)
    for quantize in ("none", "int8"):
        runner = ModelRunner.load(ModelDirectory.open(tmp_path), 1, torch.float32, CPU, quantize=quantize)
        session(runner, DEFAULT, steps=1)
        logits.append(runner.text_logits)
    assert relative_error(logits[1], logits[0]) < 0.03
