"""What an edge keeps of what it gave to say."""

from __future__ import annotations

from antiphon.script_log import KEPT_BEFORE, Given, ScriptLog
from antiphon.v1 import dialogue_pb2 as pb


def given(log: ScriptLog, text: str, frame: int = 0, *, end: bool = False) -> None:
    log.append(Given(text, 0, end, frame))


def test_another_worker_is_given_all_and_when_it_began() -> None:
    log = ScriptLog()
    given(log, "one tw")
    given(log, "o", end=True)
    log.begin(3, 2, first_step=0)
    assert log.to_message(10) == pb.Script(
        says=[pb.Say(text="one two", end=True)], begun=[pb.BegunWord(said=3, step=2)]
    )


def test_parts_are_given_together_up_to_the_end_of_a_text_or_of_a_turn() -> None:
    """A language model's tokens, each by itself, would be more than a worker reads in one message."""
    log = ScriptLog()
    for text, speaker, end in [("a", 0, False), (" b", 0, False), ("", 0, True), ("c", 0, False), (" d", 1, False)]:
        log.append(Given(text, speaker, end, 0))
    assert list(log.to_message(0).says) == [
        pb.Say(text="a b", end=True),
        pb.Say(text="c"),
        pb.Say(text=" d", speaker=1),
    ]
    for _ in range(10_000):
        given(log, "ab ")
    assert log.to_message(0).ByteSize() < 31_000


def test_what_a_later_frame_brings_is_not_given_before_it() -> None:
    log = ScriptLog()
    given(log, "one ", frame=3)
    given(log, "two ", frame=8)
    assert [log.known(frame) for frame in (2, 3, 7, 8)] == [0, 1, 1, 2]
    assert [say.text for say in log.to_message(7).says] == ["one "]


def test_a_frame_that_is_never_sent_moves_what_comes_after_it() -> None:
    log = ScriptLog()
    for frame in (3, 8, 9):
        given(log, "word ", frame=frame)
    log.withdraw_frame(8)
    assert [log[number].frame for number in range(3)] == [3, 8, 8]


def test_a_script_of_an_hour_takes_no_more_room_than_one_of_a_minute() -> None:
    log, start = ScriptLog(), 0
    for number in range(20_000):
        ends = number % 10 == 9
        given(log, f"word{number} ", end=ends)
        said = start + len(f"word{number}")
        for _ in range(1 + ends):
            log.begin(said, 2 * number, first_step=2 * number - 100)
        start = said + 1
    message = log.to_message(40_000)
    assert len(message.begun) < 200
    assert sum(len(say.text) for say in message.says) < 2000
    assert message.start + sum(len(say.text) for say in message.says) == sum(len(f"word{n} ") for n in range(20_000))
    assert len(log) == 20_000


def test_what_is_left_out_ends_with_a_word() -> None:
    log = ScriptLog()
    given(log, "first words", end=True)
    given(log, "second text")
    log.begin(5, 1, first_step=0)
    log.begin(11, 2, first_step=0)
    log.begin(11, 3, first_step=0)  # the end of the text
    for number in range(KEPT_BEFORE):
        log.begin(17, 100 + number, first_step=0)
    log.begin(22, 400, first_step=164)
    message = log.to_message(500)
    assert (message.start, message.says[0]) == (11, pb.Say(text="second text"))
