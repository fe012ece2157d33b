"""Who calls, and what they may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who calls.

    Args:
        name: as it stands in a sentence, such as "the address 127.0.0.1".
        calls: at once; None for as many as there are.
        settings: of the session, where whoever made the visitor's token chose them.
        expires_s: when the key or token expires, and the visitor's calls with it, in seconds since 1970.
        proven: whether a key proves the name.
    """

    name: str
    calls: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    expires_s: float | None = None
    proven: bool = False
