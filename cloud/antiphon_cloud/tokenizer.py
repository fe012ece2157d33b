"""Text tokens as text."""

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
        silent = _SILENT.union(padding)
        self._texts = ["" if i in silent else _text(processor, i) for i in range(processor.GetPieceSize())]

    def text(self, token: int) -> str:
        """What the token adds to the text, spaces included; empty for tokens that carry none."""
        return self._texts[token] if 0 <= token < len(self._texts) else ""


def _text(processor: sentencepiece.SentencePieceProcessor, token: int) -> str:
    if processor.IsControl(token) or processor.IsUnknown(token) or processor.IsUnused(token):
        return ""
    piece: str = processor.IdToPiece(token)
    if processor.IsByte(token):  # "<0x41>": one byte of UTF-8, a character by itself only below 0x80
        return bytes([int(piece[1:-1], 16)]).decode(errors="replace")
    return piece.replace("▁", " ")
