"""Text outside ASCII: whole characters, wherever a session breaks and goes on."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.history import History
from antiphon.spec import CodecSpec, Limits, ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.sessions.protocol import CallProtocol
from antiphon_cloud.sessions.text_stream import TextStream

TEXTS = ("café", "naïve élève", "日本語", "it’s 5 € 👍🏽", "the cat", "👨‍👩‍👧")
PAD = 3
SPEAKER = ModelSpec("tiny", "moshi", 8, 8, 2048, 400, 1, 40, Sampling(), "float32")
LISTENER = ModelSpec("tiny", "stt", 8, 0, 2048, 400, 0, 40, Sampling(), "float32")
CODEC = CodecSpec(b"\x07" * 32, 24_000, 1920, 8, 2048)
LIMITS = Limits(max_sessions=1, history_steps=100)


@pytest.fixture(scope="module")
def processor() -> sentencepiece.SentencePieceProcessor:
    """A sentencepiece model with byte fallback, as the published ones have, that knows ASCII only."""
    model, lines = io.BytesIO(), ["hello world this is a small text", "the cat sat on the mat", "bonjour le monde"] * 50
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=330, model_type="bpe", byte_fallback=True,
        pad_id=PAD, unk_id=0, bos_id=1, eos_id=2, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


@pytest.fixture(scope="module")
def tokenizer(processor: sentencepiece.SentencePieceProcessor, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    path.write_bytes(processor.serialized_model_proto())
    return Tokenizer(path)


def replies(
    tokens: list[int], tokenizer: Tokenizer, model: ModelSpec, breaks: tuple[int, ...] = ()
) -> list[pb.ConverseResponse]:
    """A conversation in which the model says `tokens`; after the steps `breaks` another worker goes on with it."""
    history, told = History(model, 100), []
    session: CallProtocol | None = None
    codes = np.zeros(8, np.int32)
    for step, token in enumerate([-2] * model.delay_steps + tokens):
        if session is None or step in breaks:
            session = CallProtocol(model, CODEC, LIMITS, tokenizer.piece)
            opening = pb.Open(codec_fingerprint=CODEC.fingerprint)
            if step:
                opening.history.CopyFrom(history.to_message())
            session.receive(pb.ConverseRequest(open=opening))
        session.receive(pb.ConverseRequest(codes=model.user_packer.pack(codes)))
        reply = session.reply(Reply(step, token, codes[: model.model_codebooks], 0, 0, token, token))
        heard = None if token < 0 else reply.text_token if reply.HasField("text_token") else PAD
        history.append(model.user_packer.pack(codes), heard, reply.codes)
        told.append(reply)
    return told


@pytest.mark.parametrize("model", [SPEAKER, LISTENER], ids=["speaks", "listens"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_conversations_text_is_the_text(
    text: str, model: ModelSpec, processor: sentencepiece.SentencePieceProcessor, tokenizer: Tokenizer
) -> None:
    ids = [each for token in processor.encode(text) for each in (PAD, token)]  # padding between all of them
    told = [reply.text for reply in replies(ids, tokenizer, model)]
    assert "".join(told) == " " + text
    assert not any("\ufffd" in part for part in told)


@pytest.mark.parametrize("padding", [0, 2])  # between the character's bytes, also where the session breaks
@pytest.mark.parametrize(("text", "model"), [("naïve", SPEAKER), ("日本", LISTENER), ("a 👍🏽", SPEAKER)])
def test_a_session_goes_on_amid_a_character(
    text: str, model: ModelSpec, padding: int, processor: sentencepiece.SentencePieceProcessor, tokenizer: Tokenizer
) -> None:
    spread = [each for token in processor.encode(text) for each in (token, *[PAD] * padding)]
    unbroken = [reply.text for reply in replies(spread, tokenizer, model)]
    for step in range(1, len(unbroken)):
        broken = replies(spread, tokenizer, model, breaks=(step, step + 1))
        assert [reply.text for reply in broken] == unbroken, step


BROKEN = {
    "a start without an end": (b"caf\xc3", " on", "caf\ufffd on"),
    "an end without a start": (b"caf\xa9", " on", "caf\ufffd on"),
    "three of four bytes": (b"\xf0\x9f\x91", "!", "\ufffd!"),
    "two starts": (b"\xc3\xc3\xa9", "", "\ufffdé"),
    "a byte that is never used": (b"\xff", "日", "\ufffd日"),
    "not complete at the end": (b"caf\xc3", "", "caf"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_character_is_said_once_and_swallows_nothing(case: str) -> None:
    lone, after, wanted = BROKEN[case]
    pieces = [bytes([byte]) for byte in lone] + ([after.encode()] if after else [])
    stream = TextStream(lambda token: pieces[token])
    assert "".join(stream.add(token) for token in range(len(pieces))) == wanted


@settings(max_examples=50)
@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=1), st.text(max_size=2).map(str.encode)), max_size=12),
    st.integers(0, 12),
)
def test_going_on_after_tokens_is_having_had_them(pieces: list[bytes], at: int) -> None:
    whole, after = TextStream(lambda token: pieces[token]), TextStream(lambda token: pieces[token])
    for token in range(min(at, len(pieces))):
        whole.add(token)
    after.go_on_after(reversed(range(min(at, len(pieces)))))
    rest = range(at, len(pieces))
    assert [after.add(token) for token in rest] == [whole.add(token) for token in rest]
