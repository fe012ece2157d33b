"""What a GPU's step does around its products, in Triton's interpreter; whole steps are in `test_executors`."""

import pytest
import torch

from antiphon_cloud.backends.cuda.ops import ROTATION
from antiphon_cloud.model.layers import rope
from tests.support.devices import DEVICE, on


@pytest.mark.parametrize("head_dim", [128, 64, 48])
def test_the_rotation_is_the_definitions_however_long_a_session_lasts(head_dim: int) -> None:
    steps = on(torch.tensor([0, 1, 749, 3000, 45_000, 10_000_000]))  # the last: nine days
    pairs = head_dim // 2
    frequencies = on(torch.exp(torch.arange(pairs) * (-torch.log(torch.tensor(10_000.0)) * 2 / head_dim)))
    found = torch.empty(2, len(steps), pairs, device=DEVICE)
    width = 1 << (pairs - 1).bit_length()
    ROTATION.launch((len(steps),), steps, frequencies, found, len(steps), pairs, PAIRS=width, reads=(), writes=())
    angles = (steps.float()[:, None] * frequencies).double()  # rounded as `rope` rounds them
    torch.testing.assert_close(found, torch.stack((angles.cos(), angles.sin())).float(), rtol=0, atol=2e-7)
    wanted = rope(steps[:4, None], head_dim, 10_000.0)[:, :, 0, 0]
    torch.testing.assert_close(found[:, :4], wanted, rtol=0, atol=1e-3)  # as far as their frequencies agree
