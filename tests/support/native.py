"""The compiled CPU step, where tests need it."""

import os

import pytest

from antiphon_cloud.backends.cpu.library import library

needs_library = pytest.mark.skipif(
    library() is None and not os.environ.get("CI"), reason="the CPU step is not compiled here; the log says why"
)
