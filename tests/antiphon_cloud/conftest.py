"""For all tests of the cloud."""

import torch

torch.set_num_threads(1)  # small tensors: threads that wait for each other cost more than they compute
