"""Where Hugging Face's tools keep downloads.

`huggingface_hub` knows, but needs fourteen packages, an HTTP client and native code among them.
"""

from __future__ import annotations

import os
from pathlib import Path


def hub_cache() -> Path:
    """The cache of repositories, from the variables that `huggingface_hub.constants` (2.4) reads, in its order."""
    users = os.environ.get("XDG_CACHE_HOME", os.path.join(os.path.expanduser("~"), ".cache"))  # noqa: PTH111, PTH118
    home = _expanded(os.environ.get("HF_HOME", os.path.join(users, "huggingface")))  # noqa: PTH118
    older = os.environ.get("HUGGINGFACE_HUB_CACHE", os.path.join(home, "hub"))  # noqa: PTH118
    return Path(_expanded(os.environ.get("HF_HUB_CACHE", older)))


def _expanded(path: str) -> str:
    return os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111 -- as a text: no home is no error here
