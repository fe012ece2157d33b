"""What both command lines share: defaults in --help, ANTIPHON_ variables, one-sentence errors.

Needs click; nothing else of this package but its commands imports it.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from antiphon import __version__, logs
from antiphon.address import split_address
from antiphon.errors import AntiphonError, ArgumentError
from antiphon.plain_text import plain_line

# Silences gRPC's own log; failures that matter are raised as errors. grpc reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

F = TypeVar("F", bound=Callable[..., Any])
THREADS = click.IntRange(1, 256)  # far beyond that the libraries hang or crash
CONTEXT = {"help_option_names": ["-h", "--help"]}


def option(*declarations: str, **kwargs: Any) -> Callable[[F], F]:
    """A flag that shows its default and can be set by `ANTIPHON_<FLAG>`."""
    flag = next(name for name in declarations if name.startswith("--")).partition("/")[0]
    kwargs.setdefault("envvar", "ANTIPHON" + flag.removeprefix("-").upper().replace("-", "_"))
    told = "default" in kwargs or kwargs.get("required") or kwargs.get("is_flag") or "absent" in kwargs["help"]
    kwargs.setdefault("show_default", True if told else "none")
    return click.option(*declarations, show_envvar=True, **kwargs)


class Number(click.FloatRange):
    """A finite number in a range. FloatRange alone accepts infinity and NaN."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        """The number."""
        number = super().convert(value, param, context)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number", param, context)
        return number


class Address(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on
    """HOST:PORT, checked before anything is started."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        """Returns the address unchanged."""
        try:
            split_address(str(value))
        except ArgumentError as error:
            self.fail(str(error), param, context)
        return str(value)


class _Name(click.ParamType[str]):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        if not re.fullmatch(r"[A-Za-z0-9._-]{0,64}", str(value)):
            self.fail(f"{value!r} is no name: use up to 64 letters, digits, ., - and _", param, context)
        return str(value)


name_option = option("--name", type=_Name(), default="", help="Name of this server in its logs and metrics.")


def different_files(source: Path, result: Path) -> None:
    """Raises UsageError if the result would overwrite its source."""
    if source.resolve() == result.resolve():
        raise click.UsageError(f"{result} is the input: name another file for the output")


class _Group(click.Group):
    """Replaces the library's `arguments` in a failed command's error by the names of the flags."""

    def invoke(self, context: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(context)
        except AntiphonError as error:
            command = self.commands.get(context.invoked_subcommand or "")
            if command is not None and error.args:
                error.args = (in_flags(str(error), command), *error.args[1:])
            raise


def in_flags(message: str, command: click.Command) -> str:
    """The message with each `argument` in backticks replaced by the command's flag, where it has one."""
    flags = {f"`{param.name}`": param.opts[0] for param in command.params if isinstance(param, click.Option)}
    return re.sub(r"`\w+`", lambda found: flags.get(found[0], found[0]), message)


def group(help_text: str, begin: Callable[[click.Context], None] = lambda context: None) -> click.Group:
    """An empty group with --version, --log-level and --log-format; `begin` is called before a command."""

    @click.group(cls=_Group, help=help_text, context_settings=CONTEXT)
    @click.version_option(__version__)
    @option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="warning",
        help="How much to say on standard error.",
    )
    @option(
        "--log-format",
        type=click.Choice(logs.FORMATS),
        default="text",
        help="Say it in lines of text, or of JSON for programs.",
    )
    @click.pass_context
    def root(context: click.Context, log_level: str, log_format: logs.Format) -> None:
        logs.configure(log_level.upper(), log_format)
        begin(context)

    return root


def run(commands: click.Group, name: str) -> NoReturn:
    """Runs the command line; any error is one sentence on standard error, status 2 for usage and 1 otherwise."""
    _print_what_the_terminal_cannot_show_as_question_marks()
    try:
        sys.exit(commands.main(prog_name=name, standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:  # its message is the whole help
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        message = error.format_message().rstrip(".")
        _fail(name, f"{message}; see {path} --help", status=2)
    except (AntiphonError, click.ClickException) as error:
        _fail(name, error.format_message() if isinstance(error, click.ClickException) else str(error), status=1)
    except click.Abort:
        _fail(name, "interrupted", status=1)
    except OSError as error:  # standard output on a full disk; errors of files are caught where they are opened
        _fail(name, f"{error.filename or 'standard output'}: {error.strerror or error}; write elsewhere", status=1)


def _print_what_the_terminal_cannot_show_as_question_marks() -> None:
    """Text that the locale cannot encode must not end a conversation."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # None where the caller closed it
        sys.stdout.reconfigure(errors="replace")


def _fail(name: str, message: str, status: int) -> NoReturn:
    with suppress(OSError):  # standard error may be full too
        click.echo(f"{name}: {plain_line(message)}", err=True)  # it may quote a peer, or a file's name
    sys.exit(status)
