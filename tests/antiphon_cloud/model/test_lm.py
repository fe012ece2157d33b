"""The network against the reference's outputs, and one way of computing it against the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from antiphon.spec import GREEDY
from antiphon_cloud.backends.select import select
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.load import load_model
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.forced import forced_output
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.tokens import ZERO
from antiphon_cloud.runner.replay import replay
from tests.support.language_models import GOLDEN, LIKE_ZERO, MICRO, expected, micro_runner, random_model, relative_error


@pytest.mark.parametrize("case", ["moshi-tiny", "moshi-tiny-q8", "stt-tiny"])
def test_every_step_gives_the_references_tokens_and_logits(case: str) -> None:
    wanted = expected(case)
    found = replay(ModelDirectory.open(GOLDEN / case), wanted["user_codes"], sampling=GREEDY, taps=True)
    assert found["tokens"].dtype == np.int32
    np.testing.assert_array_equal(found["tokens"], wanted["tokens"])
    assert relative_error(found["text_logits"], wanted["step_text_logits"]) < 1e-4
    if "extra_heads" in wanted:
        assert relative_error(found["extra_heads"], wanted["extra_heads"]) < 1e-4


@pytest.mark.parametrize("case", ["moshi-tiny", "moshi-tiny-q8"])
def test_teacher_forcing_gives_the_references_logits(case: str) -> None:
    wanted = expected(case)
    directory = ModelDirectory.open(GOLDEN / case)
    model = load_model(directory, select(torch.device("cpu"), torch.float32, directory.config.quantize))
    found = forced_output(model, torch.from_numpy(wanted["forced_codes"])[None].long())
    mask = wanted["forced_audio_mask"].astype(bool)
    np.testing.assert_array_equal(found.audio_mask[0].numpy(), mask)
    assert found.text_mask.all()
    assert relative_error(found.text_logits[0].numpy(), wanted["forced_text_logits"]) < 1e-4
    audio = found.audio_logits[0].numpy()[..., ::8]  # the classes that the file holds
    assert relative_error(audio[mask], wanted["forced_audio_logits"][mask]) < 1e-4


def greedy_conversation(config: LMConfig, steps: int) -> tuple[torch.Tensor, np.ndarray]:
    """Undelayed tokens [streams, T] of a conversation, and the text logits of its steps."""
    runner = micro_runner(1, config)
    runner.reset(0, 0, GREEDY)
    user = np.random.default_rng(1).integers(0, config.card, (steps, config.user_codebooks), dtype=np.int32)
    tokens, logits = [], []
    for frame in user:
        result = runner.step([0], frame[None])
        tokens.append([result.text[0], *result.codes[0]])
        logits.append(runner.text_logits[0])
    aligned = np.array(tokens)[config.max_delay : -1].T  # [1 + dep_q, T]
    heard = user[1 : 1 + aligned.shape[1]].T  # an initial token takes the first frame's place
    return torch.from_numpy(np.concatenate((aligned, heard))).long(), np.stack(logits)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"depformer_weights_per_step_schedule": (0, 1, 0)},
        {"depformer_weights_per_step_schedule": (0, 0, 0)},
        {"depformer_low_rank_embeddings": 4},
        {"depformer_dim_feedforward": (24, 30, 33)},
        {"norm": "rms_norm"},
        {"delays": (0, 1, 1, 2, 0, 3)},
        {"dep_q": 0, "extra_heads_num_heads": 2},
        LIKE_ZERO,
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_steps_and_teacher_forcing_agree(changes: dict[str, object]) -> None:
    config = replace(MICRO, **changes)  # type: ignore[arg-type]
    tokens, step_logits = greedy_conversation(config, 20)  # the ring of 6 wraps
    forced = forced_output(random_model(config), tokens[None])
    steps = tokens.shape[1]
    text_delay = config.delays[0]
    valid = int(forced.text_mask[0].sum())
    assert relative_error(forced.text_logits[0, :valid].numpy(), step_logits[text_delay : text_delay + valid]) < 1e-5
    assert forced.audio_logits.shape == (1, config.dep_q, steps, config.card)
    greedy = forced.audio_logits[0].argmax(-1)
    mask = forced.audio_mask[0]
    assert torch.equal(greedy[mask], tokens[1 : 1 + config.dep_q][mask])


def test_the_zero_token_embeds_to_zeros_and_is_masked() -> None:
    model = random_model(replace(MICRO, depformer_low_rank_embeddings=4))
    assert not model.text_emb(torch.tensor([[ZERO]]), model.dtype).any()
    assert not model.depformer_text_emb(torch.tensor([[ZERO]]), model.dtype).any()
    tokens = torch.zeros(1, MICRO.streams, 8, dtype=torch.int64)
    tokens[:, 0, 3] = tokens[:, 1, 4] = ZERO
    forced = forced_output(model, tokens)
    assert forced.text_mask[0].tolist() == [True] * 3 + [False] + [True] * 4
    assert not forced.audio_mask[0, 0, 4]


def test_teacher_forcing_has_gradients_for_every_weight() -> None:
    model = random_model(MICRO).requires_grad_(True)
    tokens = torch.randint(0, 20, (2, MICRO.streams, 9), generator=torch.Generator().manual_seed(0))
    forced = forced_output(model, tokens)
    loss = forced.text_logits.square().sum() + forced.audio_logits.square().sum()
    torch.autograd.backward(loss)
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_7b_model_has_its_published_size() -> None:
    with torch.device("meta"):
        model = LanguageModel(LMConfig())
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    depformer = sum(size for name, size in sizes.items() if name.startswith(("depformer", "linears")))
    assert round(sum(sizes.values()) / 1e9, 2) == 7.69
    assert tuple(model.get_parameter("transformer.layers.0.gating.linear_out.weight").shape) == (4096, 11264)
    assert round(depformer / 1e9, 2) == 0.71
