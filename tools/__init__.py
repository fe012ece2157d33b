"""Programs for developers, run as `python -m tools.NAME` in the root of a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
