"""A session's text, token by token, in whole characters.

A character that no piece of the tokenizer has comes as the bytes of its UTF-8, one token each (byte fallback). Its text
comes with the last of them; padding between them changes nothing. What is no character becomes one U+FFFD, and nothing
after it is lost. A character that is not complete when the session ends is never said: no reply is left to carry it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable

LONGEST = 4  # bytes of a character


class TextStream:
    """What each token of a session adds to its text.

    Args:
        piece_of: a text token's bytes; empty for tokens that carry no text.
    """

    def __init__(self, piece_of: Callable[[int], bytes]) -> None:
        self._piece_of = piece_of
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def go_on_after(self, tokens: Iterable[int]) -> None:
        """Stands where a stream stands that has had these tokens last; the newest comes first."""
        begun = b""
        for token in tokens:
            piece = self._piece_of(token)
            begun = piece + begun
            if len(piece) > 1 or len(begun) >= LONGEST:
                break  # more than a byte is whole characters, and of the bytes before these none is wanted
        self._decoder.reset()
        self._decoder.decode(begun)

    def add(self, token: int) -> str:
        """The characters that the token completes, spaces included."""
        return self._decoder.decode(self._piece_of(token))
