"""What can go wrong at the edge itself; the errors that both sides share are in `antiphon.errors`.

AntiphonError
├── AudioFileError      a wav file that cannot be read or written
├── RecordingError      an .antiphon file that cannot be written or read
├── CodecFilesError     an exported codec that is missing, damaged, or made by a newer version
├── CredentialsError    an API key that cannot be used, a worker that cannot be trusted, plaintext to another machine
└── AudioDeviceError    no PyAudio, no such device, or a device that refuses or goes away
"""

from __future__ import annotations

from antiphon.errors import AntiphonError


class AudioFileError(AntiphonError):
    """A wav file that cannot be read or written."""


class AudioDeviceError(AntiphonError):
    """No PyAudio, no such device, or a device that refuses or goes away."""


class CodecFilesError(AntiphonError):
    """An exported codec that is missing, damaged, or made by a newer version."""


class CredentialsError(AntiphonError):
    """An API key that cannot be used, a worker that cannot be trusted, or plaintext to another machine."""


class RecordingError(AntiphonError):
    """A recording that cannot be written, or a file that is none or damaged."""
