"""The embedded model's files: small, and laid out as a published checkpoint's download."""

from safetensors import safe_open

from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.models import NUMBER_CLERK
from antiphon_edge.codec import Codec

MOST_MB = 40


def test_it_is_small_enough_to_ship() -> None:
    files = [path for path in NUMBER_CLERK.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_MB * 1e6


def test_it_is_a_directory_like_any_published_one() -> None:
    directory = ModelDirectory.open(NUMBER_CLERK)
    assert directory.config.lm.delays == (0, *(0, *[1] * 7) * 2)
    for name in ("model.safetensors", "mimi.safetensors"):
        with safe_open(NUMBER_CLERK / name, "pt") as file:
            assert {file.get_slice(key).get_dtype() for key in file.keys()} <= {"BF16", "F16"}  # noqa: SIM118


def test_its_codec_has_mimis_frame_and_codebooks() -> None:
    spec = Codec.load(NUMBER_CLERK / "codec").spec
    assert (spec.frame_s, spec.codebooks, spec.cardinality) == (0.08, 8, 2048)
