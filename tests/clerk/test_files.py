"""The number clerk's files: small, and laid out as a published checkpoint's download."""

import pytest
from safetensors import safe_open

from antiphon.errors import AntiphonError
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.metrics import Metrics
from antiphon_cloud.serving.config import ServingConfig
from antiphon_cloud.serving.load import load
from antiphon_edge import Codec
from antiphon_number_clerk import NUMBER_CLERK

MOST_MB = 22


def test_it_is_small_enough_to_ship() -> None:
    files = [path for path in NUMBER_CLERK.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_MB * 1e6


def test_it_is_a_directory_like_any_published_one_in_int8() -> None:
    directory = ModelDirectory.open(NUMBER_CLERK)
    assert directory.config.lm.delays == (0, *(0, *[1] * 7) * 2)
    assert directory.config.quantize
    with safe_open(directory.weights, "pt") as file:
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    rows = {name.removesuffix("_scb") for name in kinds if name.endswith("_scb")}
    assert {kinds[name] for name in rows} == {"I8"}
    assert all(name.endswith("alpha") for name in kinds.keys() - rows - {f"{name}_scb" for name in rows})


def test_what_needs_its_floats_says_so_in_one_sentence() -> None:
    with pytest.raises(AntiphonError, match="the weights are int8 already; leave --quantize none out"):
        load(ServingConfig(NUMBER_CLERK, quantize="none"), Metrics())


def test_its_codec_has_mimis_frame_and_codebooks() -> None:
    spec = Codec.load(NUMBER_CLERK / "codec").spec
    assert (spec.frame_s, spec.codebooks, spec.cardinality) == (0.08, 8, 2048)
