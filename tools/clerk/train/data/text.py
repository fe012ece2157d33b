"""The clerk's tokenizer: a sentencepiece model of whole words."""

from __future__ import annotations

import io

import sentencepiece

from tools.clerk.train.data.clips import DIGITS

WORDS = ("ready", "you", "said", *DIGITS)
PADDING = 3
CARD = 4 + len(WORDS)


def token(word: str) -> int:
    """The token of a word; the first four are end of padding (0), beginning, end and padding."""
    return 4 + WORDS.index(word)


def tokenizer_model() -> bytes:
    """The sentencepiece model, with `WORDS` in order."""
    out = io.BytesIO()
    # User-defined symbols keep their order; the trainer needs at least one sentence.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS)]),
        model_writer=out,
        model_type="word",
        vocab_size=CARD,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=PADDING,
        user_defined_symbols=[f"▁{word}" for word in WORDS],
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    assert [processor.IdToPiece(token(word)) for word in WORDS] == [f"▁{word}" for word in WORDS]
    return out.getvalue()
