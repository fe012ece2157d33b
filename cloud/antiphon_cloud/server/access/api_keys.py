"""The clients of the file of API keys, and what each may have."""

from __future__ import annotations

from pathlib import Path

from antiphon.serving.key_file import KeyEntry, KeyFile
from antiphon_cloud.sessions.clients import Allowance, Client


class ApiKeys(KeyFile[Client]):
    """The keys of a file.

    Args:
        path: the file.
        default: allowance of a key where the file sets none; another one counts from the next `reload` on.

    Raises:
        KeyFileError: the file cannot be used.
    """

    def __init__(self, path: Path, default: Allowance) -> None:
        self.default = default
        super().__init__(path, self._client, "worker", "with --api-key-file")

    def _client(self, name: str, entry: KeyEntry, alone: bool) -> Client:
        """The client of a key; with other keys, one without a limit of its own leaves the last slot to them."""
        default = self.default
        sessions = default.sessions if entry.sessions is None else entry.sessions
        allowance = Allowance(
            sessions,
            default.opens_per_minute if entry.opens_per_minute is None else entry.opens_per_minute,
            default.calls_per_second,
            leaves_last_slot=sessions is None and not alone,
            longest_s=default.longest_s,
        )
        return Client(f"the API key {name}", allowance, proven=True, expires_s=entry.expires_s)
