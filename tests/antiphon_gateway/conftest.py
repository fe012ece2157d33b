"""The number clerk behind the doors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.commands import worker
from tools.harness.worker_process import Worker

SLOTS = 6


@pytest.fixture(scope="session")
def clerk() -> Iterator[Worker]:
    """A worker with the packaged model, for all tests of a process."""
    with worker("--slots", str(SLOTS)) as started:
        yield started
