"""The messages of `/api/chat`."""

from __future__ import annotations

import pytest

from antiphon_gateway.errors import MessageError
from antiphon_gateway.wire.chat import Kind, pack, unpack


def test_a_message_is_its_kind_and_its_payload() -> None:
    assert unpack(pack(Kind.AUDIO, b"OggS")) == (Kind.AUDIO, b"OggS")
    assert unpack(b"\x06") == (Kind.PING, b"")


@pytest.mark.parametrize(("message", "words"), [("text", "takes binary"), (b"", "empty"), (b"\x63x", "of kind 99")])
def test_what_is_no_message_is_told_what_one_is(message: bytes | str, words: str) -> None:
    with pytest.raises(MessageError, match=words):
        unpack(message)
