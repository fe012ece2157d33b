"""Whom a call or a session belongs to.

A client is an API key where the worker knows keys, else the name in its certificate where mutual TLS asks for one, else
the address that it connects from. Behind a load balancer all clients share one address, so limits on addresses are for
workers that edges reach directly.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one client may have; None is no limit."""

    sessions: int | None = None  # at once
    opens_per_minute: float | None = None
    calls_per_second: float | None = None  # of every kind
    leaves_last_slot: bool = False  # to clients that have no session
    longest_s: float | None = None  # of a session


@dataclass(frozen=True, slots=True)
class Client:
    """Who opens sessions."""

    name: str  # as it stands in a sentence, such as "the API key kitchen"
    allowance: Allowance = field(default_factory=Allowance)
    proven: bool = False
    """Whether a key or a certificate proves the name; an address may change under an edge that moves."""
    expires_s: float | None = None
    """When what proves the name expires, in seconds since 1970."""
