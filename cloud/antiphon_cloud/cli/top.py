"""`top`: workers at a glance."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from antiphon.address import split_address
from antiphon.cli.command_line import Number, option
from antiphon.errors import AntiphonError, ArgumentError

if TYPE_CHECKING:
    from antiphon_cloud.top.look import Look

DEFAULT = "127.0.0.1:9464"


class _Worker(click.ParamType[str]):
    """HOST:PORT, or dns:HOST:PORT."""

    name = "[dns:]host:port"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> str:
        """Returns the address unchanged."""
        try:
            split_address(str(value).removeprefix("dns:"))
        except ArgumentError as error:
            self.fail(str(error), param, context)
        return str(value)


@click.command("top")
@click.argument("addresses", type=_Worker(), nargs=-1, metavar="[ADDRESS]...")
@option("--every", "every_s", type=Number(0.1, 3600), default=2.0, help="Seconds from one look to the next.")
@option("--once", is_flag=True, help="Look once.")
@option("--json", "json_", is_flag=True, help="Print a line of JSON for each look.")
def top_command(addresses: tuple[str, ...], every_s: float, once: bool, json_: bool) -> None:
    """Show how workers are: sessions, step times, late frames, until interrupted.

    ADDRESS is the HOST:PORT of a worker's --metrics-listen, 127.0.0.1:9464 where none is given. dns:HOST:PORT stands
    for all addresses that a name has, as a headless service of Kubernetes does. A table at a terminal, lines elsewhere.
    """
    from antiphon_cloud.top.look import Watcher

    watcher = Watcher(addresses or (DEFAULT,))
    with suppress(KeyboardInterrupt), _screen(json_) as show:
        while True:
            looks = watcher.look()
            if once and all(look.status is None for look in looks):
                told = "; ".join(f"{look.address}: {look.problem}" for look in looks)
                raise AntiphonError(f"no worker answers: {told}")
            show(looks)
            if once:
                return
            time.sleep(every_s)


@contextmanager
def _screen(json_: bool) -> Iterator[Callable[[Sequence[Look]], None]]:
    """What shows a look: on a terminal it takes the place of the last one."""
    from antiphon_cloud.top.show import as_json, lines, table

    if json_ or not sys.stdout.isatty():
        yield lambda looks: print(as_json(looks) if json_ else lines(looks), flush=True)  # noqa: T201
        return
    from rich.live import Live

    with Live(auto_refresh=False) as live:
        yield lambda looks: live.update(table(looks), refresh=True)
