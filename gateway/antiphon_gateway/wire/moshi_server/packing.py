"""A message: a msgpack map with a `type`. Sound and probabilities are lists of single floats, times are double ones.

So moshi-server writes them (serde's internally tagged enums through rmp-serde, with names).
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from antiphon_edge.audio.pcm import Pcm, as_pcm
from antiphon_gateway.errors import MessageError

_SINGLE = np.dtype([("marker", "u1"), ("value", ">f4")])  # as msgpack has a single float
SINGLE_MARKER = 0xCA


def pack(kind: str, **fields: Any) -> bytes:
    """A message; arrays of float32 [N] become lists of single floats."""
    packer = msgpack.Packer()
    parts = [packer.pack_map_header(1 + len(fields)), packer.pack("type"), packer.pack(kind)]
    for name, value in fields.items():
        parts.append(packer.pack(name))
        if isinstance(value, np.ndarray):
            parts += [packer.pack_array_header(len(value)), _singles(value)]
        else:
            parts.append(packer.pack(value))
    return b"".join(parts)


def unpack(data: bytes) -> dict[str, Any]:
    """The message's fields, with a `type` that is a string.

    Raises:
        MessageError: it is no such map.
    """
    try:
        message = msgpack.unpackb(data)
    except (ValueError, msgpack.UnpackException):  # its own errors derive from either
        raise MessageError("the message is no msgpack: send a map with a type, packed as binary") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MessageError("the message is no map with a type: send one such as {type: Audio, pcm: [...]}")
    return message


def field(message: dict[str, Any], name: str, kind: type) -> Any:
    """A field of the message.

    Raises:
        MessageError: it is missing or of another type.
    """
    value = message.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise MessageError(f"{message['type']}.{name}: expected a {kind.__name__}, got {found}")
    return value


def samples(message: dict[str, Any], name: str) -> Pcm:
    """A field that is a list of floats, [N].

    Raises:
        MessageError: it is none.
        AntiphonError: it is no sound; see `as_pcm`.
    """
    values = field(message, name, list)
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.zeros((0, 0))
    if array.ndim != 1 or array.dtype.kind not in "fiu":  # packers of JavaScript write 0.0 as an integer
        raise MessageError(f"{message['type']}.{name}: expected a list of floats")
    with np.errstate(over="ignore"):
        return as_pcm(array.astype(np.float32))


def _singles(values: npt.NDArray[np.float32]) -> bytes:
    packed = np.empty(len(values), _SINGLE)
    packed["marker"], packed["value"] = SINGLE_MARKER, values
    return packed.tobytes()
