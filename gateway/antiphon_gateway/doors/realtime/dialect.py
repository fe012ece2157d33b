"""Which of the protocol's dialects a client speaks, and the names that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from antiphon_gateway.wire.formats import OPUS, PCM16, Format

SUBPROTOCOL = "realtime"
KEY_SUBPROTOCOL = "openai-insecure-api-key."
BETA_SUBPROTOCOL = "openai-beta.realtime-v1"


@dataclass(frozen=True, slots=True)
class Dialect:
    """Names of the events that go down.

    Args:
        audio: the first part of those that carry sound.
        transcript: of those that carry the text of it.
        text_field: of a transcript's whole.
        item_added: an item has come into the conversation.
        item_done: an item is whole; None where nobody is told.
        content: the type of an item's spoken content.
        flat: whether a session's settings lie in one object.
        whole_words: whether text comes a word at a time, without the space before it.
        sound: what both ways carry where a client asks for nothing.
    """

    audio: str
    transcript: str
    text_field: str
    item_added: str
    item_done: str | None
    content: str
    flat: bool
    whole_words: bool = False
    sound: Format = PCM16


GA = Dialect(
    "response.output_audio",
    "response.output_audio_transcript",
    "transcript",
    "conversation.item.added",
    "conversation.item.done",
    "output_audio",
    flat=False,
)
BETA = Dialect(
    "response.audio",
    "response.audio_transcript",
    "transcript",
    "conversation.item.created",
    None,
    "audio",
    flat=True,
)
UNMUTE = Dialect(
    "response.audio",
    "response.text",
    "text",
    "conversation.item.created",
    None,
    "audio",
    flat=True,
    whole_words=True,
    sound=OPUS,
)


def subprotocols(headers: Mapping[str, str]) -> list[str]:
    """Those that a request offers."""
    return [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]


def key_of(offered: Sequence[str]) -> str | None:
    """The key that a browser, which can send no header, puts among the subprotocols."""
    return next((name.removeprefix(KEY_SUBPROTOCOL) for name in offered if name.startswith(KEY_SUBPROTOCOL)), None)


def spoken(headers: Mapping[str, str], offered: Sequence[str]) -> Dialect:
    """The dialect of a request. Unmute's page offers the subprotocol and nothing else."""
    if headers.get("OpenAI-Beta") == "realtime=v1" or BETA_SUBPROTOCOL in offered:
        return BETA
    if list(offered) == [SUBPROTOCOL] and "Authorization" not in headers:
        return UNMUTE
    return GA
