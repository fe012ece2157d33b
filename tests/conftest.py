"""What tests of several rooms share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from antiphon_cloud.codec_export import export_codec
from tests.support.golden import GOLDEN
from tests.support.sound_server import SoundServer, missing, sound_server


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the fuzz tests run."""
    parser.addoption("--fuzz-messages", type=int, default=600, help="messages that tests/fuzz sends (default: 600)")


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


@pytest.fixture(scope="session")
def sound() -> Iterator[SoundServer]:
    """A sound card without hardware. Skips where it cannot be had; fails in CI."""
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sound_server() as running:
        yield running
