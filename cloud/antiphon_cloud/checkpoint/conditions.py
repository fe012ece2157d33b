"""What a session may choose of the things that a model is told: names, values, and what holds where nobody chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from antiphon.errors import PreconditionError
from antiphon_cloud.model.conditioners import default_value
from antiphon_cloud.model.config import LMConfig

NAMED = 5  # values or voices that an error names


@dataclass(frozen=True, slots=True)
class Condition:
    """One of a model's conditions."""

    name: str
    values: tuple[str, ...]
    default: str  # empty: none of the values


def list_conditions(config: LMConfig) -> tuple[Condition, ...]:
    """The model's conditions, in its config's order; a voice is none of them."""
    return tuple(
        Condition(name, each.values, default_value(name, each.values))
        for name, each in config.conditioners.items()
        if each.values
    )


def require_conditions(chosen: Mapping[str, str], known: Sequence[Condition]) -> None:
    """Checks what a session chooses.

    Raises:
        PreconditionError: a condition, or its value, is not the model's; the message names some that are.
    """
    by_name = {condition.name: condition for condition in known}
    for name, value in chosen.items():
        if name not in by_name:
            has = f"it has {listed(tuple(by_name))}" if by_name else "it has none; leave conditions out"
            raise PreconditionError(f"condition {name[:64]!r}: this model has none of the name; {has}")
        if value not in by_name[name].values:
            raise PreconditionError(
                f"condition {name}: {value[:64]!r} is not one of its values; take {listed(by_name[name].values)}"
            )


def listed(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" or one of {more} more" if more > 0 else "")
