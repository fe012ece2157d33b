"""The manners that both command lines share: defaults in --help, ANTIPHON_ variables, one-sentence errors.

Needs click, which the `edge` and `cloud` extras bring; nothing else of this package imports it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from antiphon import __version__
from antiphon.errors import AntiphonError

# Keeps gRPC's own lines from standard error; what matters of them comes as an error. Read when grpc is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

F = TypeVar("F", bound=Callable[..., Any])
MAX_PORT = 65_535
CONTEXT = {"help_option_names": ["-h", "--help"]}


def option(*declarations: str, **kwargs: Any) -> Callable[[F], F]:
    """A flag that shows its default, and that `ANTIPHON_<FLAG>` sets too."""
    flag = next(name for name in declarations if name.startswith("--"))
    kwargs.setdefault("envvar", "ANTIPHON" + flag.removeprefix("-").upper().replace("-", "_"))
    return click.option(*declarations, show_default=True, show_envvar=True, **kwargs)


class Address(click.ParamType[str]):
    """HOST:PORT, checked before anything is started."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        """The address as it was given."""
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or int(port) > MAX_PORT:
            self.fail(f"{value!r} is no HOST:PORT with a port of 0 to {MAX_PORT}", param, context)
        return str(value)


def group(help_text: str) -> click.Group:
    """An empty group with --version and --log-level."""

    @click.group(help=help_text, context_settings=CONTEXT)
    @click.version_option(__version__)
    @option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        help="How much to say on standard error.",
    )
    def root(log_level: str) -> None:
        logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    return root


def run(commands: click.Group, name: str) -> NoReturn:
    """Runs the command line; any error is one sentence on standard error, status 2 for usage and 1 otherwise."""
    try:
        sys.exit(commands.main(prog_name=name, standalone_mode=False))
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        message = error.format_message().rstrip(".")
        _fail(name, f"{message}; see {path} --help", status=2)
    except (AntiphonError, click.ClickException) as error:
        _fail(name, error.format_message() if isinstance(error, click.ClickException) else str(error), status=1)
    except click.Abort:
        _fail(name, "interrupted", status=1)


def _fail(name: str, message: str, status: int) -> NoReturn:
    click.echo(f"{name}: {message}", err=True)
    sys.exit(status)
