"""The arguments of `connect`, checked before anything goes to a network."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from antiphon.address import split_address
from antiphon.codes import CodePacker
from antiphon.errors import ArgumentError, CodesError
from antiphon.spec import CodecSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb

T = TypeVar("T")

MAX_SEED = 2**64 - 1
MAX_TOP_K = 2**32 - 1
MODES = {
    "dialogue": pb.MODE_DIALOGUE,
    "transcription": pb.MODE_TRANSCRIPTION,
    "speech": pb.MODE_SPEECH,
    "text": pb.MODE_TEXT,
}


def check_addresses(address: str | Sequence[str]) -> list[str]:
    """The addresses, one or several.

    Raises:
        ArgumentError: there is none, or one is no HOST:PORT.
    """
    addresses = [address] if isinstance(address, str) else list(address)
    if not addresses:
        raise ArgumentError("address: the list is empty: give HOST:PORT of at least one worker")
    for each in addresses:
        if not isinstance(each, str):
            raise ArgumentError(f"address: expected HOST:PORT, got {_shown(each)}")
        try:
            split_address(each, least_port=1)
        except ArgumentError as error:
            raise ArgumentError(f"address: {error}") from None
    return addresses


def check_seed(seed: Any) -> int:
    """The seed as an int.

    Raises:
        ArgumentError: it is no whole number of 64 bits.
    """
    number = _whole(seed, "seed")
    if not 0 <= number <= MAX_SEED:
        raise ArgumentError(f"seed: {number} is outside [0, 2**64): give another, or None to draw one")
    return number


def check_mode(mode: pb.Mode | str | None) -> pb.Mode:
    """The mode, which may be given by name: "dialogue", "transcription", "speech" or "text"; None takes
    whatever the model does.

    Raises:
        ArgumentError: there is no such mode.
    """
    if mode is None:
        return pb.MODE_UNSPECIFIED
    if isinstance(mode, str) and mode.lower() in MODES:
        return MODES[mode.lower()]
    for known in (pb.MODE_UNSPECIFIED, *MODES.values()):
        if isinstance(mode, int) and mode == known:
            return known
    raise ArgumentError(f"mode: expected {' or '.join(map(repr, MODES))}, got {_shown(mode)}")


def check_sampling(sampling: Any) -> Sampling | None:
    """The sampling; None for the model's own.

    Raises:
        ArgumentError: a field is of no use; the message names it.
    """
    if sampling is None:
        return None
    given = check_type(sampling, Sampling, "sampling")
    for name in ("text_temperature", "audio_temperature"):
        value = getattr(given, name)
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ArgumentError(f"sampling.{name}: expected a number of 0 or more, got {_shown(value)}")
    for name in ("text_top_k", "audio_top_k"):
        if not 0 <= _whole(getattr(given, name), f"sampling.{name}") <= MAX_TOP_K:
            raise ArgumentError(f"sampling.{name}: {getattr(given, name)} is outside [0, 2**32)")
    return given


def check_conditions(conditions: Any) -> dict[str, str]:
    """The conditions, by name; the worker knows which there are.

    Raises:
        ArgumentError: they are no mapping of names to values, which both are text.
    """
    if not isinstance(conditions, Mapping | None):
        raise ArgumentError(f"conditions: expected names with their values, got {_shown(conditions)}")
    given: dict[str, str] = dict(conditions or {})
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ArgumentError(f"conditions: expected names and values as text, got {_shown(name)}: {_shown(value)}")
    return given


def check_text(text: Any) -> str:
    """The text, which can be sent.

    Raises:
        ArgumentError: it is no text.
    """
    try:
        check_type(text, str, "text").encode()
    except UnicodeEncodeError as error:
        raise ArgumentError(f"text: what no UTF-8 holds, at character {error.start}") from None
    return str(text)


def check_prompt(voice: Any, persona: Any, prompt_text: Any, codec: CodecSpec) -> pb.Prompt | None:
    """What the session begins with; None for what the model begins with by itself.

    Args:
        voice: its name on the worker, the names of several speakers' voices, or its frames of codes [T, K].
        persona: text, for a model that speaks.
        prompt_text: text, for a model that listens.
        codec: the codec of the codes.

    Raises:
        ArgumentError: it is neither a name nor codes, or no text; or a code is out of range; or there are two texts.
    """
    if voice is None and persona is None and prompt_text is None:
        return None
    if persona is not None and prompt_text is not None:
        raise ArgumentError("prompt_text: a model takes one text: a persona where it speaks, this where it listens")
    text = check_type("" if persona is None else persona, str, "persona")
    prompt = pb.Prompt(text=text or check_type("" if prompt_text is None else prompt_text, str, "prompt_text"))
    if isinstance(voice, str):
        if not voice:
            raise ArgumentError("voice: the name is empty: give one that the worker has, or None")
        prompt.voices.append(voice)
    elif isinstance(voice, list | tuple) and voice and all(isinstance(name, str) and name for name in voice):
        prompt.voices.extend(voice)
    elif voice is not None:
        frames = np.asarray(voice)
        if frames.ndim != 2 or not frames.size:
            raise ArgumentError(
                f"voice: expected a name, or codes [T, K] as encode_voice makes them, got shape {list(frames.shape)}"
            )
        packer = CodePacker(frames.shape[1], codec.cardinality)
        try:
            prompt.voice_codes = b"".join(packer.pack(frame) for frame in frames)
        except CodesError as error:
            raise ArgumentError(f"voice: {error}") from None
    return prompt


def check_type(value: Any, wanted: type[T], name: str, instead: str = "") -> T:
    """The value, where it is of that type.

    Raises:
        ArgumentError: it is not; the message names the argument.
    """
    if not isinstance(value, wanted):
        raise ArgumentError(f"{name}: expected {wanted.__name__}{instead}, got {_shown(value)}")
    return value


def _whole(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ArgumentError(f"{name}: expected a whole number, got {_shown(value)}") from None


def _shown(value: Any) -> str:
    """A value in a sentence: as it was written where that is short, by its type otherwise."""
    return repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"
