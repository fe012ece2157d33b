"""What the tests of a session share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.virtual_time import VirtualTimeLoop, virtual_time


@pytest.fixture
def loop() -> Iterator[VirtualTimeLoop]:
    with virtual_time() as running:
        yield running
