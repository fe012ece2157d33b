"""Text tokens as pieces of text."""

from __future__ import annotations

from pathlib import Path

import sentencepiece

from antiphon_cloud.errors import CheckpointError

_SILENT = frozenset((0, 1, 2, 3))  # end of padding, beginning, end, padding: no text, whatever their pieces say


class Tokenizer:
    """The words of a model's inner monologue, piece by piece.

    Args:
        path: a sentencepiece model.
        padding: tokens beyond 0 to 3 that carry no text.

    Raises:
        CheckpointError: the file is missing or no sentencepiece model.
    """

    def __init__(self, path: Path, padding: tuple[int, ...] = ()) -> None:
        processor = sentencepiece.SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(path.read_bytes())
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        except RuntimeError as error:
            raise CheckpointError(f"{path}: not a sentencepiece model; download it again") from error
        self._processor = processor
        silent = _SILENT.union(padding)
        self._pieces = [b"" if i in silent else _piece(processor, i) for i in range(processor.GetPieceSize())]

    def piece(self, token: int) -> bytes:
        """The token's UTF-8 text, spaces included; empty for tokens without text. It is whole characters, or one byte
        of a character of several: see `TextStream`."""
        return self._pieces[token] if 0 <= token < len(self._pieces) else b""

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        tokens: list[int] = self._processor.EncodeAsIds(text)
        return tokens


def _piece(processor: sentencepiece.SentencePieceProcessor, token: int) -> bytes:
    if processor.IsControl(token) or processor.IsUnknown(token) or processor.IsUnused(token):
        return b""
    piece: str = processor.IdToPiece(token)
    if processor.IsByte(token):  # "<0x41>"
        return bytes([int(piece[1:-1], 16)])
    return piece.replace("▁", " ").encode()
