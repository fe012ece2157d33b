"""The flag `--config`, and what a file of settings gives to every command: the defaults of its flags.

Flags and variables go before the file: click asks `default_map` last.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from antiphon.cli.command_line import option
from antiphon.cli.settings_file import Keys, Settings, SettingsError, read_settings

NOT_SETTLED = {"config", "help", "version"}

logger = logging.getLogger(__name__)


def add_settings(
    commands: click.Group,
    help_text: str,
    usual: Callable[[], Path | None] = lambda: None,
    secrets: Mapping[str, str] | None = None,
) -> None:
    """Gives the group the flag, and its commands the file's values as their defaults.

    Args:
        commands: the group.
        help_text: of the flag.
        usual: where the file is that nobody names; None where there is none.
        secrets: as in `defaults`.
    """

    def read(context: click.Context, parameter: click.Parameter, path: Path | None) -> None:
        path = usual() if path is None else path
        if path is None:
            return
        context.obj = settings = read_settings(path)
        context.default_map = defaults(settings, commands, secrets)

    option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,  # before the other flags, whose defaults it holds
        expose_value=False,
        callback=read,
        help=help_text,
    )(commands)


def check_settings(context: click.Context) -> None:
    """Returns where the file that was named is there.

    Raises:
        SettingsError: it is not.
    """
    settings: Settings | None = context.obj
    named = context.get_parameter_source("config") is not ParameterSource.DEFAULT
    if settings is not None and named and not settings.path.exists():
        raise SettingsError(f"{settings.path} is not there: name another with --config")


class Reread:
    """Reads the file of a running command again.

    Args:
        context: of the command.
        live: names of its parameters, and the group's, that may change while it runs.
    """

    def __init__(self, context: click.Context, live: Collection[str]) -> None:
        self._contexts = (context.find_root(), context)
        self._live = frozenset(live)
        self._settled = [each.default_map or {} for each in self._contexts]
        settings: Settings | None = self._contexts[0].obj
        self._was_there = settings is not None and settings.path.exists()

    def __call__(self) -> dict[str, Any]:
        """The live parameters' values. What else has changed in the file is logged: it waits for the next start.

        Raises:
            SettingsError: the file cannot be read, or holds what cannot be.
        """
        root, context = self._contexts
        settings: Settings | None = root.obj
        assert isinstance(root.command, click.Group), "commands stand in one"
        if settings is not None and self._was_there and not settings.path.exists():
            raise SettingsError(f"{settings.path}: is gone, and the old settings stay: put it back")
        found = {} if settings is None else defaults(read_settings(settings.path), root.command)
        fresh = [found, found.get(context.info_name or "", {})]
        values: dict[str, Any] = {}
        for each, now in zip(self._contexts, fresh, strict=True):
            values |= self._values(each, now)
        waiting = sorted(
            name
            for now, before in zip(fresh, self._settled, strict=True)
            for name in now.keys() | before.keys()
            if name not in self._live and name not in root.command.commands and now.get(name) != before.get(name)
        )
        if waiting:
            names = ", ".join(name.replace("_", "-") for name in waiting)
            logger.warning("%s: changed, and waits for the next start: %s", settings and settings.path, names)
        return values

    def _values(self, context: click.Context, now: Mapping[str, Any]) -> dict[str, Any]:
        """The live parameters' values of one command, by flag, else variable, else file, else default."""
        scratch = click.Context(context.command, info_name=context.info_name, default_map=dict(now))
        values = {name: value for name, value in context.params.items() if name in self._live}
        for parameter in context.command.params:
            name = parameter.name
            if name in self._live and context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
                given, _ = parameter.consume_value(scratch, {})
                values[name] = _plain(parameter.process_value(scratch, given))
        return values


def _plain(value: Any) -> Any:
    """The value of a parameter; None where it has none, for which some versions of click have a sign of their own."""
    return None if isinstance(value, Enum) and type(value).__module__.startswith("click.") else value


def defaults(settings: Settings, commands: click.Group, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The values as click takes them: by parameter, the group's own and each command's.

    Args:
        settings: the file.
        commands: the group.
        secrets: keys that are no flags, which others would see in the list of processes, and the parameter beside which
            a command takes each.

    Raises:
        SettingsError: a key that no command knows, or a value that its flag does not take.
    """
    known = _Options(secrets or {})
    found: dict[str, Any] = {name: {} for name in commands.commands}
    for key, value in settings.values.items():
        if isinstance(value, dict):
            _table(settings, commands, known, key, value, found)
            continue
        takers = [(name, each) for name, command in commands.commands.items() if (each := known.option(command, key))]
        for name, each in takers:
            found[name][each.name or ""] = _value(settings, each, (key,), value)
        own = known.option(commands, key)
        if own is not None:
            found[own.name or ""] = _value(settings, own, (key,), value)
        elif not takers:
            every = {key for command in (commands, *commands.commands.values()) for key in known.keys(command)}
            raise settings.error((key,), _unknown(key, every | set(commands.commands)))
    return found


def _table(
    settings: Settings, commands: click.Group, known: _Options, name: str, table: Mapping[str, Any], found: Any
) -> None:
    command = commands.commands.get(name)
    if command is None:
        raise settings.error((name,), _unknown(name, set(commands.commands), "[{}]", "command"))
    for key, value in table.items():
        each = known.option(command, key)
        if each is None:
            raise settings.error((name, key), _unknown(key, set(known.keys(command)), "{}", f"setting of {name}"))
        found[name][each.name or ""] = _value(settings, each, (name, key), value)


class _Options:
    """What a file may settle of a command."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets

    def option(self, command: click.Command, key: str) -> click.Option | None:
        if self._secrets.get(key) in {each.name for each in _options(command)}:
            return click.Option([f"--{key}"])
        return next((each for each in _options(command) if f"--{key}" in each.opts), None)

    def keys(self, command: click.Command) -> Iterator[str]:
        names = {each.name for each in _options(command)}
        yield from (each.opts[0].removeprefix("--") for each in _options(command))
        yield from (key for key, beside in self._secrets.items() if beside in names)


def _options(command: click.Command) -> Iterator[click.Option]:
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in NOT_SETTLED:
            yield parameter


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
    if isinstance(each.type, click.types.IntParamType) and any(isinstance(item, float) for item in values):
        raise settings.error(keys, f"{name} takes a whole number; write that")
    if isinstance(each.type, click.Path) and not all(isinstance(item, str) for item in values):
        raise settings.error(keys, f"{name} takes a path in quotes; write that")
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
