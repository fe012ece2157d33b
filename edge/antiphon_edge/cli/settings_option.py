"""The flag `--config`, and what the file of settings gives to every command: the defaults of its flags."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from antiphon.cli.command_line import option
from antiphon_edge.errors import SettingsError
from antiphon_edge.settings.file import (
    Keys,
    Settings,
    default_path,
    holds_key_for_others_to_read,
    read_settings,
)

API_KEY = "api-key"  # no flag, which others would see in the list of processes
NOT_SETTLED = {"config", "help", "version"}

logger = logging.getLogger(__name__)


def add_settings(commands: click.Group) -> None:
    """Gives the group the flag, and its commands the file's values as their defaults.

    Flags and variables go before the file: click asks `default_map` last.
    """

    def read(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
        path = default_path() if path is None else path
        if path is None:  # a user without a home
            return
        context.obj = settings = read_settings(path)
        context.default_map = defaults(settings, commands)

    option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,  # before the other flags, whose defaults it holds
        expose_value=False,
        callback=read,
        help="File of settings (TOML), which setup writes; antiphon/edge.toml in the user's configuration folder "
        "where absent.",
    )(commands)


def check_settings(context: click.Context) -> None:
    """Whether the file that is named is there, before any command but the one that writes it.

    Raises:
        SettingsError: it is not.
    """
    settings: Settings | None = context.obj
    if settings is None:
        return
    named = context.get_parameter_source("config") is not ParameterSource.DEFAULT
    if named and not settings.path.exists() and context.invoked_subcommand != "setup":
        raise SettingsError(f"{settings.path} is not there: name another with --config, or have setup write it")
    if holds_key_for_others_to_read(settings):
        logger.warning("%s holds an API key and others may read it: chmod 600 it", settings.path)


def defaults(settings: Settings, commands: click.Group) -> dict[str, Any]:
    """The values as click takes them: by parameter, the group's own and each command's.

    Raises:
        SettingsError: a key that no command knows, or a value that its flag does not take.
    """
    found: dict[str, Any] = {name: {} for name in commands.commands}
    for key, value in settings.values.items():
        if isinstance(value, dict):
            _table(settings, commands, key, value, found)
            continue
        takers = [(name, each) for name, command in commands.commands.items() if (each := _option(command, key))]
        for name, each in takers:
            found[name][each.name or ""] = _value(settings, each, (key,), value)
        own = _option(commands, key)
        if own is not None:
            found[own.name or ""] = _value(settings, own, (key,), value)
        elif not takers:
            keys = {key for command in (commands, *commands.commands.values()) for key in _keys(command)}
            raise settings.error((key,), _unknown(key, keys | set(commands.commands)))
    return found


def _table(settings: Settings, commands: click.Group, name: str, table: Mapping[str, Any], found: Any) -> None:
    command = commands.commands.get(name)
    if command is None:
        raise settings.error((name,), _unknown(name, set(commands.commands), "[{}]", "command"))
    for key, value in table.items():
        each = _option(command, key)
        if each is None:
            raise settings.error((name, key), _unknown(key, set(_keys(command)), "{}", f"setting of {name}"))
        found[name][each.name or ""] = _value(settings, each, (name, key), value)


def _option(command: click.Command, key: str) -> click.Option | None:
    if key == API_KEY and any(parameter.name == "api_key_file" for parameter in command.params):
        return _API_KEY
    return next((each for each in _options(command) if f"--{key}" in each.opts), None)


_API_KEY = click.Option(["--api-key"])


def _options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in NOT_SETTLED:
            yield parameter


def _keys(command: click.Command) -> Iterator[str]:
    for each in _options(command):
        yield each.opts[0].removeprefix("--")
        if each.name == "api_key_file":
            yield API_KEY


def _value(settings: Settings, each: click.Option, keys: Keys, value: Any) -> Any:
    """The value, checked as on the command line and left as it is.

    Raises:
        SettingsError: the flag does not take it.
    """
    name = keys[-1]
    if each.is_flag != isinstance(value, bool):
        takes = "true or false" if each.is_flag else "text or a number"
        raise settings.error(keys, f"{name} takes {takes}; write that")
    values = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not each.multiple:
        raise settings.error(keys, f"{name} takes one value, not a list; write one, or a table for each command")
    if any(not isinstance(item, bool | str | int | float) for item in values):
        raise settings.error(keys, f"{name} takes text or a number; write that")
    try:
        each.type_cast_value(click.Context(click.Command(name)), values if each.multiple else value)
    except click.BadParameter as error:
        raise settings.error(keys, f"{name}: {error.message.rstrip('.')}; write another value") from None
    return values if each.multiple else value


def _unknown(key: str, known: set[str], form: str = "{}", what: str = "setting") -> str:
    if key in known:
        return f"{key} is a command, whose settings stand under [{key}]; write them there"
    near = difflib.get_close_matches(key.replace("_", "-").lower(), sorted(known), 3, 0.6)
    meant = f"write {' or '.join(form.format(name) for name in near)}" if near else "take it out"
    return f"there is no {what} {form.format(key)}; {meant}"


def overruled(name: str, *, by: str) -> bool:
    """Whether the command has parameter `name` from the file alone, and a flag or a variable says `by` instead."""
    source = click.get_current_context().get_parameter_source
    given = source(by) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return given and source(name) is ParameterSource.DEFAULT_MAP


def settings_of(context: click.Context) -> Settings:
    """The file that the group has read.

    Raises:
        SettingsError: there is nowhere to keep one.
    """
    settings: Settings | None = context.obj
    if settings is None:
        raise SettingsError("there is no home folder for a file of settings: name one with --config")
    return settings
