"""HOST:PORT, read in one place."""

from __future__ import annotations

import pytest

from antiphon.address import join_address, split_address
from antiphon.errors import ArgumentError


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("localhost:50051", ("localhost", 50051)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("dns:///worker.example:443", ("dns:///worker.example", 443)),
    ],
)
def test_host_and_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts
    assert join_address(*parts) == address


@pytest.mark.parametrize(
    "address", ["", ":", "localhost", "localhost:", ":1", "localhost:65536", "localhost:-1", "a:²"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ArgumentError, match="is no HOST:PORT with a port of 0 to 65535"):
        split_address(address)


def test_a_port_that_somebody_must_be_at() -> None:
    with pytest.raises(ArgumentError, match="a port of 1 to"):
        split_address("localhost:0", least_port=1)
