"""Packages that only training and evaluating need: `make voices` unpacks them into a folder of their own."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from tools import ROOT

FOLDER = ROOT / ".venv/voices"


def module(name: str, folder: Path = FOLDER) -> Any:
    """A module of that folder, or an installed one, which comes first.

    Raises:
        ImportError: there is none.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return importlib.import_module(name)
