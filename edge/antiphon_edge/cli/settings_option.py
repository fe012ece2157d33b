"""The edge's file of settings: its usual place, the API key that it may hold, and what flags take out of it."""

from __future__ import annotations

import logging
from typing import Any

import click
from click.core import ParameterSource

from antiphon.cli import settings_option
from antiphon.cli.settings_file import Settings, SettingsError
from antiphon_edge.settings.file import default_path, holds_key_for_others_to_read

API_KEY = "api-key"  # no flag, which others would see in the list of processes
SECRETS = {API_KEY: "api_key_file"}

logger = logging.getLogger(__name__)


def add_settings(commands: click.Group) -> None:
    """Gives the group `--config`, and its commands the file's values as their defaults."""
    settings_option.add_settings(
        commands,
        "File of settings (TOML), which setup writes; antiphon/edge.toml in the user's configuration folder where "
        "absent.",
        default_path,
        SECRETS,
    )


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
    """The values as click takes them; see `antiphon.cli.settings_option.defaults`."""
    return settings_option.defaults(settings, commands, SECRETS)


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
