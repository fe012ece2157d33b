"""What can go wrong at the gateway itself; the errors that all sides share are in `antiphon.errors`.

AntiphonError
├── MessageError        a client's message that is none of its protocol's, or is too large
└── SlowClientError     a client that does not read what it is sent
"""

from __future__ import annotations

from antiphon.errors import AntiphonError, ProtocolError


class MessageError(ProtocolError):
    """A client's message that is none of its protocol's, or is too large; the message names what is wrong."""


class SlowClientError(AntiphonError):
    """A client that does not read what it is sent."""

    status = "DEADLINE_EXCEEDED"
