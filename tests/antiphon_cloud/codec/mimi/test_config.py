"""What of a mimi_config.json is read, and what is refused."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from antiphon_cloud.codec.mimi import MimiConfig
from antiphon_cloud.errors import ConfigError


@pytest.fixture
def values(golden: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((golden / "mimi-tiny/mimi_config.json").read_text())
    return parsed


def test_a_model_without_config_has_the_published_sizes() -> None:
    config = MimiConfig.load(None)
    config.check()
    assert (config.frame_samples, config.positions_per_frame) == (1920, 2)


def test_equal_sizes_have_one_spelling(values: dict[str, Any]) -> None:
    reordered = dict(reversed(values.items()))
    reordered["frame_rate"] = 12.50
    reordered["transformer"] = {**values["transformer"], "max_period": 10_000.0}
    assert (
        MimiConfig.parse(values, "mimi_config.json").canonical_json()
        == MimiConfig.parse(reordered, "mimi_config.json").canonical_json()
    )


def test_a_codecs_fingerprint_stays_what_it_was(golden: Path) -> None:
    """The spelling is hashed into it: another one makes strangers of codecs that were pulled before."""
    spelled = MimiConfig.load(golden / "mimi-tiny/mimi_config.json").canonical_json()
    assert hashlib.sha256(spelled.encode()).hexdigest()[:16] == "f43692235ed6d1d0"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda v: v["seanet"].update(norm="weight_norm"), "seanet.norm"),
        (lambda v: v["seanet"].update(true_skip=False), "seanet.true_skip"),
        (lambda v: v["seanet"].update(causal=False), "seanet.causal"),
        (lambda v: v["seanet"].update(activation="GELU"), "seanet.activation"),
        (lambda v: v["seanet"].update(pad_mode="reflect"), "seanet.pad_mode"),
        (lambda v: v["seanet"].update(lstm=2), "seanet.lstm"),
        (lambda v: v["seanet"].update(ratios=[8, 0]), "seanet.ratios[1]"),
        (lambda v: v["seanet"].pop("dimension"), "seanet.dimension"),
        (lambda v: v["transformer"].update(gating="silu"), "transformer.gating"),
        (lambda v: v["transformer"].update(positional_embedding="sin"), "transformer.positional_embedding"),
        (lambda v: v["transformer"].update(kv_repeat=2), "transformer.kv_repeat"),
        (lambda v: v["transformer"].update(num_heads=3), "transformer.num_heads"),
        (lambda v: v["transformer"].update(output_dimensions=[32, 32]), "transformer.output_dimensions"),
        (lambda v: v["transformer"].update(context="long"), "transformer.context"),
        (lambda v: v["transformer"].update(context=1), "transformer.context"),
        (lambda v: v["transformer"].update(layer_scale="big"), "transformer.layer_scale"),
        (lambda v: v["transformer"].pop("layer_scale"), "transformer.layer_scale"),
        (lambda v: v["quantizer"].update(input_dimension=7), "quantizer.input_dimension"),
        (lambda v: v["quantizer"].update(n_q=1), "quantizer.n_q"),
        (lambda v: v.update(channels=2), "channels"),
        (lambda v: v.update(frame_rate=13), "frame_rate"),
        (lambda v: v.update(sample_rate=True), "sample_rate"),
        (lambda v: v.update(resample_method="interpolate"), "resample_method"),
        (lambda v: v.update(quantizer=[]), "quantizer"),
        (lambda v: v.pop("seanet"), "seanet"),
    ],
)
def test_what_is_not_supported_is_named(
    values: dict[str, Any], change: Callable[[dict[str, Any]], object], key: str
) -> None:
    change(values)
    with pytest.raises(ConfigError, match=rf"^mimi_config\.json: (unknown key )?{re.escape(key)}: "):
        MimiConfig.parse(values, "mimi_config.json")


def test_training_settings_change_nothing(values: dict[str, Any]) -> None:
    plain = MimiConfig.parse(json.loads(json.dumps(values)), "mimi_config.json")
    values["quantizer"]["q_dropout"] = True
    assert MimiConfig.parse(values, "mimi_config.json") == plain


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mimi_config.json"
    with pytest.raises(ConfigError, match=r"mimi_config\.json: cannot be read"):
        MimiConfig.load(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"mimi_config\.json: not JSON"):
        MimiConfig.load(path)
    path.write_text("[]")
    with pytest.raises(ConfigError, match=r"mimi_config\.json: expected a JSON object, got list"):
        MimiConfig.load(path)
