"""Pieces as text."""

import io
from pathlib import Path

import pytest
import sentencepiece

from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.errors import CheckpointError
from tests.support.language_models import GOLDEN

TINY = GOLDEN / "moshi-tiny" / "tokenizer_spm_tiny.model"


def test_pieces_join_to_the_text() -> None:
    tokenizer = Tokenizer(TINY)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(TINY))
    ids = processor.encode("hello moshi speaks")
    assert b"".join(tokenizer.piece(i) for i in ids) == b" hello moshi speaks"


@pytest.mark.parametrize("token", [0, 1, 2, 3, 7, -2, 256, 10_000])
def test_tokens_without_text_are_empty(token: int) -> None:
    assert Tokenizer(TINY, padding=(7,)).piece(token) == b""


def test_a_byte_is_one_byte(tmp_path: Path) -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["hello to all"] * 50), model_writer=model, vocab_size=275, byte_fallback=True,
        hard_vocab_limit=False, model_type="bpe", pad_id=3, minloglevel=2,
    )  # fmt: skip
    path = tmp_path / "bytes.model"
    path.write_bytes(model.getvalue())
    tokenizer, processor = Tokenizer(path), sentencepiece.SentencePieceProcessor(model_file=str(path))
    assert tokenizer.piece(processor.piece_to_id("<0x41>")) == b"A"
    assert tokenizer.piece(processor.piece_to_id("<0xC3>")) == b"\xc3"


def test_files_that_are_no_tokenizer_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.model: cannot be read"):
        Tokenizer(tmp_path / "gone.model")
    for content in (b"", b"no model"):
        (tmp_path / "bad.model").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"bad\.model: not a sentencepiece model"):
            Tokenizer(tmp_path / "bad.model")
