"""The edge's file of settings: in the place that the XDG base directory specification gives it.

server = "worker.example:50051"
tls = true
api-key = "antiphon_…"
input-device = "USB Audio"

[talk]
on-speaking = "gpioset 0 17=1"
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from antiphon.cli.settings_file import Settings

NAME = "edge.toml"
READABLE_BY_OTHERS = 0o077


def default_path() -> Path | None:
    """`antiphon/edge.toml` in the user's folder of configuration; None for a user without a home."""
    try:
        folder = Path(platformdirs.user_config_dir("antiphon"))
    except RuntimeError:  # newer releases raise it without a home
        return None
    return folder / NAME if folder.is_absolute() else None


def holds_key_for_others_to_read(settings: Settings) -> bool:
    """Whether other users may read an API key in the file."""
    keys = [settings.values, *(table for table in settings.values.values() if isinstance(table, dict))]
    if not any("api-key" in table for table in keys):
        return False
    try:
        status = settings.path.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and bool(status.st_mode & READABLE_BY_OTHERS)
