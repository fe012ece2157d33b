"""The workers behind the doors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import call, worker
from tests.support.language_models import copy_model
from tests.support.shared import made_once
from tools.harness.worker_process import Worker

SLOTS = 6


@pytest.fixture(scope="session")
def clerk() -> Iterator[Worker]:
    """A worker with the packaged model, for all tests of a process."""
    with worker("--slots", str(SLOTS)) as started:
        yield started


@pytest.fixture(scope="module")
def reading_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden model that reads aloud, and its codec."""

    def make(folder: Path) -> None:
        copied = copy_model("tts-tiny", folder / "reader")
        assert call("antiphon-cloud", "export-codec", "--model", copied, "--codebooks", "12").status == 0

    return made_once(tmp_path_factory, "reading", make) / "reader"


@pytest.fixture(scope="module")
def reader(reading_model: Path) -> Iterator[Worker]:
    """A worker with that model."""
    with worker("--model", reading_model, "--slots", "1") as started:
        yield started
