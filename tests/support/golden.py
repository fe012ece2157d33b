"""The golden models, which lie in `tests/golden` in part."""

from __future__ import annotations

from tools.harness.golden import golden

GOLDEN = golden()
"""The folder of the cases, for as long as this process lives."""
