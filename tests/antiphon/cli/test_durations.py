"""Lengths of time and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest

from antiphon.cli.durations import Duration, Moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("8h", 28_800), ("7d", 604_800), ("1h30m", 5400)]
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 s", "1e3", "h", "5x", "inf", "0", "99999d"])
def test_what_is_none_is_told_how_to_write_one(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s, 30m, 8h or 7d"):
        Duration().convert(text, None, None)


def test_a_moment_is_a_date_a_time_or_a_duration_from_now() -> None:
    def moment(text: str) -> datetime:
        return Moment().convert(text, None, None)

    assert moment("2027-01-01") == datetime(2027, 1, 1, tzinfo=UTC)
    assert moment("2027-01-01T12:00+02:00") == datetime(2027, 1, 1, 10, tzinfo=UTC)
    assert timedelta(days=89) < moment("90d") - datetime.now(UTC) <= timedelta(days=90)


@pytest.mark.parametrize("text", ["2027", "90"])
def test_a_moment_in_a_number_alone_is_neither_a_year_nor_seconds(text: str) -> None:
    with pytest.raises(click.BadParameter, match="has no unit"):
        Moment().convert(text, None, None)
