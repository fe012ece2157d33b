"""Who gets in at a door that speaks HTTP: by key or token, and from which page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who calls.

    Args:
        name: as it stands in a sentence, such as "the address 127.0.0.1".
    """

    name: str


class Access:
    """Lets callers in."""

    def admit(self, remote: str, headers: Mapping[str, str], keys: tuple[str | None, ...] = ()) -> Visitor:
        """The visitor.

        Args:
            remote: the address that it calls from.
            headers: of its request.
            keys: what it gives for a key in other places than `Authorization: Bearer KEY`.

        Raises:
            UnauthenticatedError: a key is needed, and it gives none that is known.
            PermissionDeniedError: its page is another site's.
        """
        return Visitor(f"the address {remote}")
