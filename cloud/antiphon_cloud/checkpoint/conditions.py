"""What a session may choose: conditions, their values, and voices. Without torch, as both processes need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from antiphon.errors import PreconditionError
from antiphon_cloud.model.conditioners import default_value
from antiphon_cloud.model.config import LMConfig

NAMED = 8  # values or voices that an error names
LONGEST_SHOWN = 64  # characters of a name
SOUND = ".wav"  # what the name of a voice may end in


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
            raise PreconditionError(f"condition {name[:LONGEST_SHOWN]!r}: this model has none of the name; {has}")
        if value not in by_name[name].values:
            values = listed(by_name[name].values)
            raise PreconditionError(
                f"condition {name}: {value[:LONGEST_SHOWN]!r} is not one of its values; take {values}"
            )


def require_voices(chosen: Sequence[str], known: Sequence[str], most: int) -> None:
    """Checks what a session chooses.

    Args:
        chosen: names.
        known: those that there are.
        most: voices at once; 0 for a model that takes none.

    Raises:
        PreconditionError: there is no such voice, or they are too many.
    """
    if len(chosen) > most:
        takes = f"takes {most} at most" if most else "takes none; leave them out"
        raise PreconditionError(f"{len(chosen)} voices: this model {takes}")
    for name in chosen:
        if name.removesuffix(SOUND) not in known:
            raise no_such_voice(name, known)


def no_such_voice(name: str, known: Sequence[str]) -> PreconditionError:
    """The error that names some voices that there are."""
    has = f"take {listed(known)}" if known else "it has none; put some into voices/ of the model directory"
    return PreconditionError(f"voice {name[:LONGEST_SHOWN]!r}: this model has none of the name; {has}")


def listed(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" or one of {more} more" if more > 0 else "")
