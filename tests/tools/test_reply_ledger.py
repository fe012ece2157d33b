"""What the load tool's ledger calls lost, repeated, reordered and foreign."""

import numpy as np
import pytest

from tools.harness.reply_ledger import ReplyLedger

EXPECTED = np.arange(6 * 8, dtype=np.int32).reshape(6, 8)


def booked(*frames: int | None) -> ReplyLedger:
    """A ledger after the replies to those frames; None is a reply that belongs to none of them."""
    ledger = ReplyLedger(EXPECTED, held_back=1)
    ledger.enter(None)
    for frame in frames:
        ledger.enter(np.full(8, -5, np.int32) if frame is None else EXPECTED[frame])
    return ledger


@pytest.mark.parametrize(
    ("frames", "lost", "repeated", "reordered", "foreign"),
    [
        ((1, 2, 3, 4, 5), 0, 0, 0, 0),
        ((1, 2, 3), 2, 0, 0, 0),
        ((1, 3, 4, 5), 1, 0, 0, 0),
        ((1, 2, 2, 3, 4, 5), 0, 1, 0, 0),
        ((1, 3, 2, 4, 5), 0, 0, 1, 0),
        ((1, 2, None, 4, 5), 1, 0, 0, 1),
    ],
)
def test_every_reply_is_booked_by_its_content(
    frames: tuple[int | None, ...], lost: int, repeated: int, reordered: int, foreign: int
) -> None:
    ledger = booked(*frames)
    assert (ledger.lost(6), ledger.repeated, ledger.reordered, ledger.foreign) == (lost, repeated, reordered, foreign)


def test_where_the_content_is_unknown_replies_are_counted() -> None:
    ledger = ReplyLedger(None, held_back=1)
    for _ in range(4):
        ledger.enter(EXPECTED[0])
    assert (ledger.answered, ledger.lost(6)) == (4, 2)
