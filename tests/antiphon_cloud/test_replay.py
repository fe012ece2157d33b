"""Conversations run offline."""

from pathlib import Path

import numpy as np

from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.replay import replay, write
from tests.support.language_models import GOLDEN, expected


def test_a_seed_is_a_conversation() -> None:
    directory = ModelDirectory.open(GOLDEN / "moshi-tiny")
    user = expected("moshi-tiny")["user_codes"][:8]
    first, again, other = (replay(directory, user, seed=seed)["tokens"] for seed in (5, 5, 6))
    assert first.shape == (7, 9)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    tokens = np.arange(24).reshape(12, 2)
    write(tmp_path / "out", {"tokens": tokens})
    with np.load(tmp_path / "out") as arrays:
        np.testing.assert_array_equal(arrays["tokens"], tokens)
