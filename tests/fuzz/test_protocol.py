"""Hypothesis plays the edge, well-behaved and not: the worker answers right, or ends the call with the right status.

python -m pytest tests/fuzz --fuzz-messages 100000 --timeout 3600 -s        # the long run; prints what was answered
"""

from __future__ import annotations

from typing import Any, ClassVar

import hypothesis
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from antiphon.history import LONGEST_STEPS, RowLayout
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.server.process import MAX_MESSAGE_BYTES
from tests.fuzz.worker_under_fire import WireCall, WorkerUnderFire, worker_under_fire
from tests.support.servers import CODEC
from tools.harness.stub_runner import SPEC, expected

STEPS_AN_EXAMPLE = 50
MESSAGES_AN_EXAMPLE = 30  # at the least, on average

codes = st.lists(st.integers(0, SPEC.cardinality - 1), min_size=8, max_size=8).map(lambda row: np.array(row, np.int32))
numbers = st.integers(0, 2**32 - 1)
seeds = st.integers(0, 2**64 - 1)
temperatures = st.floats(0, 100)
wrong_temperatures = st.floats().filter(lambda value: not 0 <= value <= 100)

Wrong = tuple[pb.ConverseRequest | bytes, str]  # a message, and the status that it earns


def opening(**fields: Any) -> pb.ConverseRequest:
    return pb.ConverseRequest(open=pb.Open(**{"codec_fingerprint": CODEC.fingerprint, **fields}))


def damaged(steps: int, rows: bytes, fingerprint: bytes) -> Wrong:
    history = pb.History(steps=steps, rows=rows, model=SPEC.name, model_fingerprint=fingerprint)
    return opening(history=history), "INVALID_ARGUMENT" if fingerprint == SPEC.fingerprint else "FAILED_PRECONDITION"


def is_no_message(data: bytes) -> bool:
    try:
        message = pb.ConverseRequest.FromString(data)
    except DecodeError:
        return True
    return not (message.codes or message.HasField("close") or message.HasField("open"))


any_bytes = st.binary(min_size=1, max_size=60).filter(is_no_message).map(lambda data: (data, "INVALID_ARGUMENT"))
too_large = st.integers(MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 4096).map(
    lambda size: (pb.ConverseRequest(codes=bytes(size)), "RESOURCE_EXHAUSTED")
)
anywhere = st.integers(0, 20).flatmap(lambda one_in: too_large if one_in == 20 else any_bytes)  # a large one takes long

wrong_openings = st.one_of(
    anywhere,
    st.sampled_from([pb.ConverseRequest(), pb.ConverseRequest(close=pb.Close())]).map(
        lambda message: (message, "INVALID_ARGUMENT")
    ),
    st.binary(max_size=64)
    .filter(lambda value: value != CODEC.fingerprint)
    .map(lambda value: (opening(codec_fingerprint=value), "FAILED_PRECONDITION")),
    st.builds(
        lambda text, top_k: (
            opening(sampling=pb.Sampling(text_temperature=text, text_top_k=top_k)),
            "INVALID_ARGUMENT",
        ),
        wrong_temperatures,
        numbers,
    ),
    st.builds(
        damaged,
        st.integers(LONGEST_STEPS + 1, 2**32 - 1),
        st.integers(0, 100).map(lambda rows: bytes(RowLayout.of(SPEC).size_bytes * rows)),
        st.just(SPEC.fingerprint),
    ),
    st.builds(
        damaged,
        numbers,
        st.binary(max_size=200).filter(lambda rows: len(rows) % RowLayout.of(SPEC).size_bytes > 0),
        st.sampled_from([SPEC.fingerprint, b"another", b""]),
    ),
)
wrong_frames = st.one_of(
    anywhere,
    st.just((opening(), "INVALID_ARGUMENT")),
    st.binary(max_size=40)
    .filter(lambda value: len(value) != SPEC.user_packer.size_bytes)
    .map(lambda value: (pb.ConverseRequest(codes=value), "INVALID_ARGUMENT")),
)


class Edge(RuleBasedStateMachine):
    """One edge, call after call; `step` is where its session stands, None before Open."""

    worker: ClassVar[WorkerUnderFire]

    @initialize()
    def begin(self) -> None:
        self.call = WireCall(self.worker.channel)
        self.step: int | None = None

    def teardown(self) -> None:
        self.call.cancel()
        self.worker.neighbour.talk()

    def exchange(self, message: pb.ConverseRequest | bytes) -> pb.ConverseResponse | str:
        self.call.send(message)
        answer = self.call.answer()
        self.worker.count(answer)
        return answer

    def refused(self, message: pb.ConverseRequest | bytes, status: str) -> None:
        """The message ends the call with that status; the next call begins."""
        answer = self.exchange(message)
        assert answer == status, f"{answer} where {status} was due"
        self.begin()

    def opened(self, message: pb.Open, step: int) -> None:
        answer = self.exchange(pb.ConverseRequest(open=message))
        assert isinstance(answer, pb.ConverseResponse), answer
        assert answer.WhichOneof("control") == "opened", answer
        assert answer.opened.step_offset == step
        self.seed, self.step, self.first = message.seed, step, step

    # What an edge should do.

    @precondition(lambda self: self.step is None)
    @rule(seed=seeds, sampling=st.none() | st.tuples(temperatures, temperatures), timings=st.booleans())
    def open(self, seed: int, sampling: tuple[float, float] | None, timings: bool) -> None:
        message = pb.Open(codec_fingerprint=CODEC.fingerprint, seed=seed, timings=timings)
        if sampling is not None:
            message.sampling.text_temperature, message.sampling.audio_temperature = sampling
        self.opened(message, 0)

    @precondition(lambda self: self.step is None)
    @rule(seed=seeds, steps=st.integers(0, 60), data=st.data())
    def open_with_history(self, seed: int, steps: int, data: st.DataObject) -> None:
        row = RowLayout.of(SPEC).pack(
            SPEC.user_packer.pack(data.draw(codes)), 7, SPEC.model_packer.pack(data.draw(codes))
        )
        message = pb.Open(codec_fingerprint=CODEC.fingerprint, seed=seed)
        message.history.CopyFrom(pb.History(steps=steps, rows=row * steps, model_fingerprint=SPEC.fingerprint))
        self.opened(message, steps)

    @precondition(lambda self: self.step is not None)
    @rule(burst=st.lists(st.tuples(codes, st.booleans()), min_size=1, max_size=24))
    def frames(self, burst: list[tuple[Any, bool]]) -> None:
        assert self.step is not None
        for step, (user, numbered) in enumerate(burst, self.step):
            message = pb.ConverseRequest(codes=SPEC.user_packer.pack(user), sequence=step if numbered else None)
            self.call.send(message)
        for user, numbered in burst:
            reply = self.call.answer()
            self.worker.count(reply)
            assert isinstance(reply, pb.ConverseResponse), reply
            assert reply.HasField("sequence") == numbered
            if self.step < SPEC.delay_steps:
                assert reply.codes == b""
            else:
                assert (SPEC.model_packer.unpack(reply.codes) == expected(user, self.seed, self.step)).all()
            self.step += 1

    @precondition(lambda self: self.step is not None)
    @rule(by_message=st.booleans())
    def close(self, by_message: bool) -> None:
        if by_message:
            self.call.send(pb.ConverseRequest(close=pb.Close()))
        else:
            self.call.end_sending()
        closed = self.call.answer()
        self.worker.count(closed)
        assert isinstance(closed, pb.ConverseResponse), closed
        assert closed.closed.frames == self.step
        assert self.call.answer() == "OK"
        self.begin()

    @rule()
    def vanish(self) -> None:
        self.call.cancel()
        self.begin()

    # What it should not.

    @precondition(lambda self: self.step is None)
    @rule(wrong=wrong_openings)
    def begin_wrong(self, wrong: Wrong) -> None:
        self.refused(*wrong)

    @precondition(lambda self: self.step is None)
    @rule()
    def end_without_open(self) -> None:
        self.call.end_sending()
        answer = self.call.answer()
        self.worker.count(answer)
        assert answer == "INVALID_ARGUMENT"
        self.begin()

    @precondition(lambda self: self.step is not None)
    @rule(wrong=wrong_frames)
    def go_on_wrong(self, wrong: Wrong) -> None:
        self.refused(*wrong)

    @precondition(lambda self: self.step is not None)
    @rule(codes=codes, sequence=numbers)
    def frame_out_of_turn(self, codes: Any, sequence: int) -> None:
        hypothesis.assume(sequence != self.step)
        packed = SPEC.user_packer.pack(codes)
        self.refused(pb.ConverseRequest(codes=packed, sequence=sequence), "INVALID_ARGUMENT")


def test_any_course_of_a_call_ends_as_the_contract_says(pytestconfig: pytest.Config) -> None:
    wanted: int = pytestconfig.getoption("--fuzz-messages")
    with worker_under_fire() as worker:
        Edge.worker = worker
        rounds = 0
        while worker.messages < wanted:
            examples = max((wanted - worker.messages) // MESSAGES_AN_EXAMPLE, 1)
            settings = hypothesis.settings(
                max_examples=examples,
                stateful_step_count=STEPS_AN_EXAMPLE,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            run_state_machine_as_test(hypothesis.seed(rounds)(Edge), settings=settings)
            rounds += 1
        print(f"\n{worker.messages} messages: {dict(worker.outcomes.most_common())}")  # noqa: T201
