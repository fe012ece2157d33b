"""Removes terminal control sequences (title, clipboard, colours) from the text of a peer or a file."""

from __future__ import annotations

import unicodedata

# Bidirectional overrides and isolates: they make a terminal show other text than there is.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def plain_text(text: str) -> str:
    """`text` without control characters. Line feed and tab stay, as a model may say them."""
    if text.isprintable():
        return text
    return "".join(each for each in text if each in "\n\t" or not _controls(each))


def plain_line(text: str) -> str:
    """`text` in one line: white space becomes a space, control characters go."""
    if text.isprintable():
        return text
    return " ".join("".join(each for each in text if each.isspace() or not _controls(each)).split())


def _controls(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or character in _DIRECTIONS
