"""Programs for developers, run as `python -m tools.NAME` in the root of a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("proto", "edge", "gateway", "cloud", "clerk")
"""The source roots: folders of packages, no packages themselves."""
