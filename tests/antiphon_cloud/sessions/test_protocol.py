"""The protocol of one conversation, without sockets."""

from dataclasses import replace

import numpy as np
import pytest

from antiphon.errors import CodecMismatchError, CodesError, PreconditionError, ProtocolError, SequenceError
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.conditions import Condition
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.runner.settings import SessionSettings
from antiphon_cloud.sessions.prompts.families import strategy
from antiphon_cloud.sessions.protocol import CallProtocol, CloseRequested, FrameReceived, OpenRequested, State

MODEL = ModelSpec("tiny", "moshi", 8, 8, 2048, 256, 1, 40, Sampling(0.7, 25, 0.8, 250), "float32")
STT = ModelSpec("tiny", "stt", 8, 0, 2048, 256, 0, 40, Sampling(0, 25, 0, 250), "float32")
CODEC = CodecSpec(b"\x07" * 32, 24_000, 1920, 8, 2048)
LIMITS = Limits(max_sessions=1, max_frames_in_flight=3)
CODES = MODEL.user_packer.pack(np.arange(8))


def open_request(**fields: object) -> pb.ConverseRequest:
    return pb.ConverseRequest(open=pb.Open(**({"codec_fingerprint": CODEC.fingerprint} | fields)))  # type: ignore[arg-type]


def frame(sequence: int | None = None, codes: bytes = CODES) -> pb.ConverseRequest:
    return pb.ConverseRequest(sequence=sequence, codes=codes)


def new_protocol(model: ModelSpec = MODEL) -> CallProtocol:
    return CallProtocol(model, CODEC, LIMITS, piece_of=lambda token: f"<{token}>".encode())


def open_protocol(**fields: object) -> CallProtocol:
    protocol = new_protocol()
    protocol.receive(open_request(**fields))
    return protocol


def engine_reply(sequence: int, text_token: int = 5) -> Reply:
    return Reply(
        sequence, text_token, np.full(8, 9 if text_token >= 0 else -2, np.int32), 100, 2000, text_token, text_token
    )


def test_a_conversation_goes_open_frames_close() -> None:
    protocol = new_protocol()
    opened = protocol.receive(open_request(seed=42))
    assert opened == OpenRequested(42, MODEL.sampling, mode=pb.MODE_DIALOGUE)
    assert ModelSpec.from_message(protocol.opened("s1", b"").opened.model) == MODEL

    event = protocol.receive(frame(0))
    assert isinstance(event, FrameReceived)
    assert (event.sequence, event.codes.tolist()) == (0, list(range(8)))
    reply = protocol.reply(engine_reply(0))
    assert (reply.sequence, reply.text_token, reply.text) == (0, 5, "<5>")
    assert MODEL.model_packer.unpack(reply.codes).tolist() == [9] * 8

    assert protocol.receive(pb.ConverseRequest(close=pb.Close())) == CloseRequested()
    assert protocol.closed().closed.frames == 1
    assert protocol.state is State.CLOSED


def test_a_reply_that_the_delays_hold_back_carries_neither_codes_nor_text() -> None:
    protocol = open_protocol()
    protocol.receive(frame(0))
    reply = protocol.reply(engine_reply(0, text_token=-2))
    assert (reply.codes, reply.HasField("text_token"), reply.text) == (b"", False, "")


def test_frames_may_leave_their_numbers_out_and_then_so_do_the_replies() -> None:
    protocol = open_protocol()
    for sequence, given in enumerate([None, 1, None]):
        event = protocol.receive(frame(given))
        assert isinstance(event, FrameReceived)
        assert event.sequence == sequence
        reply = protocol.reply(engine_reply(sequence))
        assert reply.HasField("sequence") == (given is not None)


def test_padding_takes_no_bytes() -> None:
    protocol = open_protocol()
    protocol.receive(frame())
    reply = protocol.reply(engine_reply(0, text_token=MODEL.text_padding_token))
    assert (len(reply.codes), reply.HasField("text_token"), reply.text) == (11, False, "")
    assert len(reply.SerializeToString()) == 13


def test_a_reply_has_the_pause_of_the_third_head_where_the_model_hears_pauses() -> None:
    for model, pause in ((replace(STT, hears_pauses=True), 0.5), (STT, None)):
        protocol = new_protocol(model)
        protocol.receive(open_request())
        protocol.receive(frame())
        heard = Reply(0, 5, np.zeros(0, np.int32), 100, 2000, 5, 5, heads=(0.0, 0.25, 0.5, 0.75))
        reply = protocol.reply(heard)
        assert (reply.pause if reply.HasField("pause") else None) == pause


def test_timings_are_kept_only_for_those_who_ask() -> None:
    for asked, expected in ((True, [100]), (False, [])):
        protocol = open_protocol(timings=asked)
        protocol.receive(frame(0))
        protocol.reply(engine_reply(0))
        assert list(protocol.closed().closed.timings.wait_us) == expected


def test_sampling_takes_the_models_own_top_k_for_zero() -> None:
    event = new_protocol().receive(open_request(sampling=pb.Sampling(audio_temperature=0.5, text_top_k=7)))
    assert event == OpenRequested(0, Sampling(0.0, 7, 0.5, 250), mode=pb.MODE_DIALOGUE)


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        (pb.Sampling(text_temperature=-1), "text_temperature"),
        (pb.Sampling(audio_temperature=float("nan")), "audio_temperature"),
        (pb.Sampling(audio_temperature=float("inf")), "audio_temperature"),
        (pb.Sampling(text_temperature=1e300), "text_temperature"),
        (pb.Sampling(audio_top_k=513), "audio_top_k"),
    ],
)
def test_sampling_out_of_range_names_its_field(sampling: pb.Sampling, field: str) -> None:
    with pytest.raises(ProtocolError, match=f"open.sampling.{field}"):
        new_protocol().receive(open_request(sampling=sampling))


def test_another_codec_is_refused_naming_both() -> None:
    with pytest.raises(CodecMismatchError, match=r"abab.*0707"):
        new_protocol().receive(open_request(codec_fingerprint=b"\xab" * 32))


@pytest.mark.parametrize(("model", "mode"), [(STT, pb.MODE_DIALOGUE), (MODEL, pb.MODE_TRANSCRIPTION)])
def test_a_mode_that_the_model_lacks_is_refused(model: ModelSpec, mode: pb.Mode) -> None:
    with pytest.raises(PreconditionError, match=r"open\.mode"):
        new_protocol(model).receive(open_request(mode=mode))


@pytest.mark.parametrize(
    ("messages", "error", "words"),
    [
        ([frame(0)], ProtocolError, "frame: came before Open"),
        ([pb.ConverseRequest(close=pb.Close())], ProtocolError, "close: came before Open"),
        ([open_request(), pb.ConverseRequest()], CodesError, "expected 11 bytes .* got 0"),
        ([open_request(), open_request()], ProtocolError, "open already"),
        ([open_request(), frame(1)], SequenceError, "expected 0, got 1"),
        ([open_request(), frame(0), frame(0)], SequenceError, "expected 1, got 0"),
        ([open_request(), frame(0), frame(2)], SequenceError, "expected 1, got 2"),
        ([open_request(), frame(0, b"short")], CodesError, "expected 11 bytes"),
        ([open_request(), frame(0, b"")], CodesError, "got 0"),
        ([open_request(), pb.ConverseRequest(close=pb.Close()), frame(0)], ProtocolError, "after Close"),
    ],
)
def test_a_message_out_of_turn_is_named(messages: list[pb.ConverseRequest], error: type[Exception], words: str) -> None:
    protocol = new_protocol()
    for message in messages[:-1]:
        protocol.receive(message)
    with pytest.raises(error, match=words):
        protocol.receive(messages[-1])


def test_a_code_beyond_the_cardinality_is_refused() -> None:
    small = ModelSpec("tiny", "moshi", 8, 8, 2000, 256, 1, 40, Sampling(), "float32")
    protocol = new_protocol(small)
    protocol.receive(open_request())
    with pytest.raises(CodesError, match="code 2047"):
        protocol.receive(frame(0, b"\xff" * 11))


def test_a_session_chooses_conditions_that_the_model_has() -> None:
    conditions = (Condition("description", ("bad", "good"), "good"),)
    protocol = CallProtocol(MODEL, CODEC, LIMITS, lambda token: b"", conditions=conditions)
    with pytest.raises(PreconditionError, match="condition description: 'great' is not one of its values"):
        protocol.receive(open_request(conditions={"description": "great"}))
    opened = protocol.receive(open_request(conditions={"description": "bad"}))
    assert isinstance(opened, OpenRequested)
    assert opened.settings == SessionSettings({"description": "bad"})


def test_a_prompt_is_said_in_opened_and_its_steps_are_counted_by_no_frame() -> None:
    plex = replace(MODEL, model_type="personaplex", delay_steps=0, context_steps=100)
    prompts = strategy(plex, lambda text: [7] * len(text.split()))
    protocol = CallProtocol(plex, CODEC, LIMITS, lambda token: b"", prompts)
    event = protocol.receive(open_request(prompt=pb.Prompt(text="be kind")))
    assert isinstance(event, OpenRequested)
    assert event.past is not None
    assert (event.history, event.past.steps, event.settings.prompt_steps) == (None, 16, 16)
    opened = protocol.opened("s1", b"").opened
    assert (opened.prompt_steps, opened.step_offset, opened.prompt_sha256) == (16, 0, event.settings.prompt_sha256)
    first = protocol.receive(frame())
    assert isinstance(first, FrameReceived)
    assert first.sequence == 0
