"""Keeps what PortAudio, ALSA and JACK print on standard error from the person.

They print while PortAudio tries every device that a configuration file has ever heard of, and again when a device goes
away amid a conversation. ALSA and JACK let a program take their messages. PortAudio itself writes to C's `stderr`,
which is led elsewhere: Python's own standard error, where the person is told what matters, is another object over the
same file and stays as it is. Whatever else in the process writes to C's `stderr` is not seen either, from the first use
of a device on; `faulthandler` is.
"""

from __future__ import annotations

import ctypes
import logging
import platform
import sys
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

_ALSA_HANDLER = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)  # file, line, function, error, format; what the format would print is left out
_JACK_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


def _note(*message: object) -> None:
    words = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in message]
    logger.debug("a driver said: %s", " ".join(words))


_take_from_alsa = _ALSA_HANDLER(_note)  # both must outlive every stream
_take_from_jack = _JACK_HANDLER(_note)


@cache
def hush(extension: str) -> None:
    """Keeps the drivers quiet from now on; what they say goes to the log, at level DEBUG, and at that level PortAudio's
    own words are let through to standard error.

    Args:
        extension: the file of PyAudio's compiled half, through which PortAudio and its libraries are found.
    """
    libraries = ctypes.CDLL(extension)
    for name, handler in (
        ("snd_lib_error_set_handler", _take_from_alsa),
        ("jack_set_error_function", _take_from_jack),
        ("jack_set_info_function", _take_from_jack),
    ):
        if hasattr(libraries, name):  # PortAudio may be built without either
            getattr(libraries, name)(handler)
    if not logger.isEnabledFor(logging.DEBUG):
        _lead_c_stderr_away()


def _lead_c_stderr_away() -> None:
    """C's `stderr` becomes /dev/null, where it is a variable: with glibc and on macOS."""
    name = {"linux": "stderr", "darwin": "__stderrp"}.get(sys.platform)
    if name is None or (sys.platform == "linux" and platform.libc_ver()[0] != "glibc"):
        return
    c: Any = ctypes.CDLL(None)
    c.fopen.restype = ctypes.c_void_p
    nowhere = c.fopen(b"/dev/null", b"we")
    if nowhere:
        ctypes.c_void_p.in_dll(c, name).value = nowhere
