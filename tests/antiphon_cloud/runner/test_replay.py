"""Conversations run offline."""

import numpy as np

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.runner.replay import replay
from tests.support.language_models import GOLDEN, expected


def test_a_seed_is_a_conversation() -> None:
    directory = ModelDirectory.open(GOLDEN / "moshi-tiny")
    user = expected("moshi-tiny")["user_codes"][:8]
    first, again, other = (replay(directory, user, seed=seed)["tokens"] for seed in (5, 5, 6))
    assert first.shape == (7, 9)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
