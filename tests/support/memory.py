"""Where a process's memory can be measured."""

from pathlib import Path

import pytest

needs_memory_peak = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux lets the peak of a process's memory count anew"
)
