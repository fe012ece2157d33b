"""The flags of `antiphon-gateway`."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from antiphon_gateway.cli.worker_options import Addresses, worker_options
from antiphon_gateway.server.config import Workers


def test_several_workers_are_named_with_commas() -> None:
    assert Addresses().convert("a:1, b:2", None, None) == ("a:1", "b:2")
    with pytest.raises(click.BadParameter, match="'b' is no HOST:PORT"):
        Addresses().convert("a:1,b", None, None)


@pytest.mark.parametrize(
    ("arguments", "dialogue"),
    [
        ([], ("localhost:50051",)),
        (["--transcriber", "ears:1"], ()),
        (["--transcriber", "ears:1", "--server", "a:1"], ("a:1",)),
    ],
)
def test_a_worker_for_dialogues_is_awaited_where_it_is_named_or_no_other_is(
    arguments: list[str], dialogue: tuple[str, ...]
) -> None:
    found: list[Workers] = []

    @click.command()
    @worker_options
    def command(workers: Workers) -> None:
        found.append(workers)

    assert CliRunner().invoke(command, arguments).exit_code == 0
    assert [workers.dialogue for workers in found] == [dialogue]
