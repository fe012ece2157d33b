"""config.json: every key is understood or refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from antiphon.spec import Sampling
from antiphon_cloud.checkpoint.config_file import parse_config, read_config
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.config import LMConfig, swiglu_hidden
from tests.support.language_models import GOLDEN


def golden(**changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((GOLDEN / "moshi-tiny" / "config.json").read_text())
    return config | changes


def test_the_golden_configs_are_read() -> None:
    moshi = read_config(GOLDEN / "moshi-tiny" / "config.json")
    assert (moshi.lm.dim, moshi.lm.hidden, moshi.lm.depformer_hidden) == (64, 176, (88,) * 8)
    assert (moshi.lm.streams, moshi.lm.user_codebooks, moshi.lm.max_delay) == (17, 8, 1)
    assert moshi.sampling == Sampling(0.7, 25, 0.8, 250)
    stt = read_config(GOLDEN / "stt-tiny" / "config.json")
    assert (stt.lm.dep_q, stt.lm.extra_heads_num_heads, stt.lm.weight_sets) == (0, 4, ())
    assert (stt.silence_before_s, stt.silence_after_s) == (0, 1.5)
    assert (moshi.silence_before_s, moshi.silence_after_s) == (0, 0)


def test_speech_to_text_gets_the_silence_that_its_config_asks_for() -> None:
    stt = {"audio_delay_seconds": 2.5, "audio_silence_prefix_seconds": 1}
    config = parse_config(golden(model_type="stt", stt_config=stt), "config.json")
    assert (config.silence_before_s, config.silence_after_s) == (1, 3.5)
    config = parse_config(golden(model_type="stt"), "config.json")
    assert (config.silence_before_s, config.silence_after_s) == (0, 1)


@pytest.mark.parametrize(
    ("stt", "words"),
    [
        ({"audio_delay_seconds": -1}, "audio_delay_seconds: expected `float` >= 0"),
        ({"audio_silence_prefix_seconds": 1e9}, "audio_silence_prefix_seconds: expected `float` <= 30"),
        ({"audio_delay_seconds": "long"}, "audio_delay_seconds: expected `float`, got `str`"),
        ({"audio_delay": 1}, "object contains unknown field `audio_delay`"),
    ],
)
def test_silence_that_makes_no_sense_is_refused(stt: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"stt_config[.:] ?{words}"):
        parse_config(golden(model_type="stt", stt_config=stt), "config.json")


def test_absent_keys_are_the_7b_models() -> None:
    lm = parse_config({}, "config.json").lm
    assert lm == LMConfig()
    assert (lm.hidden, lm.depformer_hidden) == (11264, (2816,) * 8)


@pytest.mark.parametrize(("dim", "feed_forward", "hidden"), [(4096, 16896, 11264), (64, 256, 168), (64, 264, 176)])
def test_gated_widths_follow_the_published_rule(dim: int, feed_forward: int, hidden: int) -> None:
    assert swiglu_hidden(dim, feed_forward) == hidden


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conditioners", {}), ("conditioners", None), ("fuser", None), ("fuser", {"sum": [], "cross": []}),
        ("cross_attention", False), ("kv_repeat", 1), ("text_card_out", None), ("text_card_out", 256),
        ("depformer_causal", False), ("depformer_context", None), ("hidden_scale", 4), ("max_period", 10_000),
        ("lm_gen_config", {}), ("lm_gen_config", {"use_sampling": True, "cfg_coef": 1.0}), ("lora", False),
        ("depformer_weights_per_step_schedule", None), ("depformer_dim_feedforward", [132] * 8),
        ("model_id", {"sig": "abc", "epoch": 3}), ("tts_config", {"multistream": True}), ("dep_q", 16),
        ("demux_second_stream", None), ("demux_second_stream", True), ("demux_second_text_stream", True),
        ("fuser", {"sum": None, "cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1}),
    ],
)  # fmt: skip
def test_harmless_values_are_accepted(key: str, value: Any) -> None:
    parse_config(golden(**{key: value}), "config.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("conditioners", {"speaker": {"type": "tensor"}}), ("fuser", {"sum": ["speaker"]}), ("fuser", True),
        ("cross_attention", True), ("kv_repeat", 2), ("norm_emb", True), ("gating", "none"), ("gating", "gelu"),
        ("norm", "layer_norm"),
        ("positional_embedding", "sin"), ("positional_embedding", "rope_concat"), ("layer_scale", 0.01),
        ("bias_proj", True), ("text_card_out", 5), ("causal", False), ("causal", None), ("kv_repeat", True),
        ("depformer_multi_linear", False), ("depformer_weights_per_step", False), ("depformer_pos_emb", "sin"),
        ("depformer_norm", "rms_norm"), ("depformer_gating", "none"), ("depformer_layer_scale", 0.1),
        ("context", None), ("warp_drive", 9),
    ],
)  # fmt: skip
def test_what_is_not_supported_is_named(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^some/config\.json: (unknown key )?{key}: ") as raised:
        parse_config(golden(**{key: value}), "some/config.json")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dim", "64", "expected `int`, got `str`"), ("dim", 64.5, "expected `int`"), ("dim", True, "expected `int`"),
        ("dim", 0, "expected `int` >= 1"), ("dim", 66, "does not divide into 4 heads"), ("dim", 60, "even width"),
        ("hidden_scale", 0, "expected `float` > 0"), ("hidden_scale", 0.001, "no width"),
        ("num_layers", -1, "expected `int` >= 1"),
        ("delays", [0] * 16, "expected 17"), ("delays", [0] * 16 + [-1], "expected `int` >= 0"),
        ("delays", [0] * 16 + [99], "do not fit"),
        ("dim", 2**40, "<= 131072"), ("num_layers", 10**9, "<= 512"), ("context", 2**40, "<= 16777216"),
        ("depformer_dim_feedforward", 2**40, "<= 1048576"),
        ("depformer_weights_per_step_schedule", [10**9] * 8, "below"), ("delays", "none", "expected `array`"),
        ("dep_q", 17, "expected 0 to n_q"), ("dep_q", -1, "expected `int` >= 0"),
        ("depformer_dim", 33, "does not divide"), ("depformer_num_heads", 0, "positive"),
        ("depformer_dim_feedforward", [132], "expected 8 sizes"), ("depformer_dim_feedforward", 1, "positive"),
        ("depformer_low_rank_embeddings", 0, "positive"), ("depformer_weights_per_step_schedule", [0], "expected 8"),
        ("depformer_weights_per_step_schedule", [-1] * 8, ">= 0"), ("extra_heads_num_heads", -1, ">= 0"),
        ("lora", "yes", "expected `bool`"), ("moshi_name", None, "expected `str`"),
        ("lm_gen_config", [], "expected a JSON object, got list"), ("lm_gen_config", {"temp": -1}, "0 or more"),
        ("lm_gen_config", {"temp": "hot"}, "expected `float`"), ("lm_gen_config", {"top_k": 900}, "top-k of 900"),
        ("lm_gen_config", {"top_k": 0}, "top-k of 0"), ("lm_gen_config", {"beam": 4}, "beam"),
        ("lm_gen_config", {"cfg_coef": 2.0}, "cfg_coef"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        parse_config(golden(**{key: value}), "some/config.json")
    assert str(raised.value).startswith(f"some/config.json: {key}")


def test_sampling_is_resolved() -> None:
    greedy = parse_config(golden(lm_gen_config={"use_sampling": False}), "config.json").sampling
    assert (greedy.text_temperature, greedy.audio_temperature) == (0, 0)
    assert parse_config(golden(lm_gen_config={"top_k_text": 0}), "config.json").sampling.text_top_k == 256  # all


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"moshi"', '{"dim": NaN}', "[" * 100_000])
def test_files_that_are_no_json_object_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match=r"config\.json: (not JSON|expected a JSON object)"):
        read_config(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "other.json")


def test_a_part_that_a_model_does_not_have_may_have_any_size() -> None:
    listens = {"dep_q": 0, "depformer_dim_feedforward": 0, "depformer_low_rank_embeddings": 0, "depformer_dim": 0}
    assert parse_config(golden(**listens, delays=[0] * 17), "config.json").lm.dep_q == 0
    assert not parse_config(golden(lora=False, lora_rank=0), "config.json").lora
    with pytest.raises(ConfigError, match="lora_rank: expected a positive number, got 0"):
        parse_config(golden(lora=True, lora_rank=0), "config.json")


def test_a_width_that_follows_from_others_has_its_bound_too() -> None:
    wide = golden(hidden_scale=64, depformer_dim=2**17, depformer_num_heads=2, depformer_dim_feedforward=None)
    with pytest.raises(ConfigError, match="depformer_dim_feedforward: is larger than any model's"):
        parse_config(wide, "config.json")


LUT = {"n_bins": 3, "dim": 4, "tokenizer": "noop", "possible_values": ["a", "b"]}


def told(name: str = "mood", **changes: Any) -> dict[str, Any]:
    """A model that is told one of two values, with changes to its conditioner."""
    return golden(conditioners={name: {"type": "lut", "lut": LUT | changes}}, fuser={"sum": [name]})


def test_a_model_that_is_told_something_is_read() -> None:
    lm = parse_config(told(output_dim=64, device="cpu"), "config.json").lm
    assert lm.conditioners["mood"].values == ("a", "b")
    assert (lm.fuser.sum, lm.fuser.cross, lm.cross_attention) == (("mood",), (), False)
    voice = {"conditioners": {"who": {"type": "tensor", "tensor": {"dim": 6}}}, "fuser": {"cross": ["who"]}}
    lm = parse_config(golden(**voice, cross_attention=True), "config.json").lm
    assert (lm.conditioners["who"].dim, lm.conditioners["who"].values, lm.cross_attention) == (6, (), True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fuser": {"prepend": ["mood"]}}, r'fuser: prepend: \["mood"\] is not supported'),
        ({"fuser": {}}, "fuser: mood: neither sum nor cross has this conditioner"),
        ({"fuser": {"sum": ["mood", "speed"]}}, "fuser: sum: speed: conditioners has none of this name"),
        (
            {"fuser": {"cross": ["mood"]}, "cross_attention": True},
            "fuser: cross: mood: type lut is not supported there",
        ),
        ({"fuser": {"sum": ["mood"], "magic": 1}}, "fuser: object contains unknown field `magic`"),
        ({"cross_attention": True}, "cross_attention: true, but fuser's cross says otherwise"),
        (told(n_bins=1), "conditioners: mood: possible_values: 2 are more than n_bins"),
        (told(output_dim=32), r"conditioners: mood: output_dim: expected dim \(64\), got 32"),
        (told(tokenizer="words"), "tokenizer: invalid enum value 'words'"),
        (told(possible_values=None), "possible_values: expected `array`, got `null`"),
        (told(dim=2**30), "dim: expected `int` <= 131072"),
        (told(name="keys"), "conditioners: keys: not a name for a conditioner"),
        (told(name="a.b"), r"conditioners: a\.b: not a name for a conditioner"),
        ({"conditioners": {"mood": {"type": "tensor", "lut": LUT}}}, "mood: expected one object, tensor, as type says"),
        ({"conditioners": {"mood": {"type": "wav"}}}, "invalid enum value 'wav'"),
    ],
)
def test_what_a_model_cannot_be_told_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        parse_config(told() | changes, "some/config.json")
    assert str(raised.value).startswith("some/config.json: ")
    assert "\n" not in str(raised.value)


def test_speakers_with_streams_of_their_own_are_refused() -> None:
    with pytest.raises(ConfigError, match="tts_config: multistream: true is not supported"):
        parse_config(golden(model_type="tts", tts_config={"multistream": True}), "config.json")


@pytest.mark.parametrize(("delay", "steps"), [(1.28, 16), (0.4, 5), (0.0, 0), (0.1, 1)])
def test_sound_comes_as_many_whole_steps_after_its_text_as_the_delay_has(delay: float, steps: int) -> None:
    assert parse_config(golden(model_type="tts", tts_config={"audio_delay": delay}), "").sound_delay_steps == steps
    assert parse_config(golden(tts_config={"audio_delay": delay}), "").sound_delay_steps == 0
