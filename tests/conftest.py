"""What tests of several rooms share."""

from pathlib import Path

import pytest

from antiphon_cloud.codec_export import export_codec

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of the golden vectors."""
    return GOLDEN


@pytest.fixture(scope="session")
def tiny_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported codec of `golden/mimi-tiny`."""
    out = tmp_path_factory.mktemp("codec") / "tiny"
    export_codec(GOLDEN / "mimi-tiny/mimi.safetensors", GOLDEN / "mimi-tiny/mimi_config.json", out)
    return out
