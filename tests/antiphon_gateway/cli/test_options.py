"""The flags of `antiphon-gateway`."""

from __future__ import annotations

import click
import pytest

from antiphon_gateway.cli.worker_options import Addresses


def test_several_workers_are_named_with_commas() -> None:
    assert Addresses().convert("a:1, b:2", None, None) == ("a:1", "b:2")
    with pytest.raises(click.BadParameter, match="'b' is no HOST:PORT"):
        Addresses().convert("a:1,b", None, None)
