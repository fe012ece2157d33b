"""Addresses where nobody listens."""

from tools.harness.fleet import unused_addresses


def unused_address() -> str:
    """An address of this machine where nobody listens, and that the system gives to no other test meanwhile."""
    return unused_addresses(1)[0]
