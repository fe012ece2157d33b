"""The flags of what a conversation tells while it goes on, and of what it can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from antiphon.cli.command_line import option
from antiphon_edge.view.hooks import HOOKS

F = TypeVar("F", bound=Callable[..., Any])

_WHEN = {
    "connected": "a worker has taken the conversation, or it goes on after an outage",
    "text": "the model has said something: its text is in ANTIPHON_TEXT",
    "speaking": "the model's voice begins",
    "silent": "the model's voice has ended",
    "error": "the worker or a device is lost, or the conversation ends with an error",
}
_options = (
    option(
        "--json-lines",
        is_flag=True,
        help="Print events as JSON, one a line, on standard output, instead of text; docs/talk.md has them.",
    ),
    option("--plain", is_flag=True, help="Print lines, on a terminal too, instead of drawing a screen."),
    option(
        "--muted", is_flag=True, help="Begin muted, for push to talk; SIGUSR1, or a line on standard input, unmutes."
    ),
    *(option(f"--on-{hook}", metavar="COMMAND", help=f"Run this when {_WHEN[hook]}.") for hook in HOOKS),
)


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How the person and programs follow a conversation."""

    json_lines: bool
    plain: bool
    muted: bool
    commands: dict[str, str]
    """By hook."""


def view_options(command: F) -> F:
    """Adds the flags, and hands the command `view`."""

    @wraps(command)
    def with_view(*args: Any, json_lines: bool, plain: bool, muted: bool, **kwargs: Any) -> Any:
        commands = {hook: kwargs.pop(f"on_{hook}") for hook in HOOKS}
        given = {hook: line for hook, line in commands.items() if line is not None}
        return command(*args, view=ViewOptions(json_lines, plain, muted, given), **kwargs)

    decorated: Any = with_view
    for each in reversed(_options):
        decorated = each(decorated)
    return decorated  # type: ignore[no-any-return]
