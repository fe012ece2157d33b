"""Sound on its way to a telephone."""

from __future__ import annotations

import numpy as np

from antiphon_gateway.doors.telephony.outbox import Outbox


def test_sound_goes_out_in_the_pieces_that_are_asked_for() -> None:
    outbox = Outbox(1000)
    outbox.put(np.arange(5, dtype=np.float32))
    assert outbox.take(3).tolist() == [0, 1, 2]
    assert outbox.take(3).tolist() == [3, 4]
    assert outbox.take(3).tolist() == []


def test_a_full_outbox_drops_the_oldest() -> None:
    outbox = Outbox(4)
    outbox.put(np.arange(3, dtype=np.float32))
    outbox.put(np.arange(3, 7, dtype=np.float32))
    assert outbox.take(10).tolist() == [3, 4, 5, 6]
