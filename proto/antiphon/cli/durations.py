"""Lengths of time and moments as people write them: 90s, 8h, 30d, 2027-01-01."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
LONGEST_S = 10 * 366 * UNITS_S["d"]
EXAMPLES = "write 90s, 30m, 8h or 7d"


class Duration(click.ParamType[float]):
    """A number and its unit, s, m, h or d; several one after the other are added (1h30m). Without a unit, seconds.

    Args:
        least_s: the shortest.
    """

    name = "duration"

    def __init__(self, least_s: float = 0.001) -> None:
        self._least_s = least_s

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """The seconds."""
        text = str(value).strip()
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
        if re.fullmatch(r"\d+(?:\.\d+)?", text):
            parts = [(text, "s")]
        elif not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{value!r} is no length of time: {EXAMPLES}", param, context)
        seconds = sum(float(number) * UNITS_S[unit] for number, unit in parts)
        if not self._least_s <= seconds <= LONGEST_S:
            self.fail(f"{value!r} is not between {self._least_s:g} seconds and ten years: {EXAMPLES}", param, context)
        return seconds


class Moment(click.ParamType[datetime]):
    """A date or a time as ISO 8601 writes it, in UTC where it names no zone; or a length of time from now on."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> datetime:
        """The moment, with its zone."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            if str(value).strip().isdecimal():
                self.fail(f"{value!r} is no date and has no unit: say 2027-01-01, or 90d", param, context)
            seconds = Duration().convert(value, param, context)
            return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
