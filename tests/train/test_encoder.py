from itertools import islice

import torch

from tests.support.clips import tones
from train.clips import DIGITS, FRAME
from train.encoder import FRAMES, Scenes

BANK, UNITS = tones(), dict(zip(DIGITS, tones(), strict=True))


def test_a_batch_is_the_same_wherever_a_run_starts() -> None:
    whole = list(islice(Scenes(BANK, UNITS, 2, (5, 0)), 3))
    rest = list(islice(Scenes(BANK, UNITS, 2, (5, 0), first=1), 2))
    for (samples, labels), (again, labels_again) in zip(whole[1:], rest, strict=True):
        assert samples.shape == (2, FRAMES * FRAME)
        assert labels.shape == (2, FRAMES)
        assert torch.equal(samples, again)
        assert torch.equal(labels, labels_again)


def test_batches_differ_by_number_and_by_process() -> None:
    first, second = islice(Scenes(BANK, UNITS, 2, (5, 0)), 2)
    (other,) = islice(Scenes(BANK, UNITS, 2, (5, 1)), 1)
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(first[0], other[0])
