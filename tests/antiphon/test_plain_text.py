"""What a terminal obeys goes; what people write stays."""

import pytest

from antiphon.plain_text import plain_line, plain_text

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x07"
TITLE = "\x9d0;title\x9c"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("café 日本語 👩‍💻 it’s", "café 日本語 👩‍💻 it’s"),
        (f"good{CLIPBOARD}bye", "good]52;c;cm0gLXJmIH4=bye"),
        (f"{TITLE}\x00\x08\x7f\r", "0;title"),
        ("a\u202eb\u2066c\u2028d", "abcd"),
        ("\u0627\u0644", "\u0627\u0644"),
        ("one\n\ttwo", "one\n\ttwo"),
        ("half a pair \ud83d", "half a pair "),
    ],
)
def test_control_characters_go(text: str, shown: str) -> None:
    assert plain_text(text) == shown


def test_a_line_is_one_line() -> None:
    assert plain_line(f"no\r\n  slot\x0b{CLIPBOARD}\u2029") == "no slot ]52;c;cm0gLXJmIH4="
    assert plain_line("free  as it is") == "free  as it is"
