"""Spectra for comparing sounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tools.clerk.train.data.clips import RATE

FLOOR = 0.05  # added to magnitudes, so that the log does not measure silence


class LogMel(nn.Module):
    """Causal log-mel magnitudes: each column ends where its hop ends."""

    window: Tensor
    filters: Tensor

    def __init__(self, size: int, hop: int, mels: int) -> None:
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size))
        self.register_buffer("filters", mel_filters(size, mels))  # [bins, mels]

    def forward(self, pcm: Tensor) -> Tensor:
        """Samples [B, n · hop] to [B, n, mels]."""
        return torch.log(magnitudes(pcm, self.size, self.hop, self.window) @ self.filters + FLOOR)


def magnitudes(pcm: Tensor, size: int, hop: int, window: Tensor) -> Tensor:
    """Magnitudes of the short-time Fourier transform of samples [B, n · hop], [B, n, size / 2 + 1]."""
    padded = functional.pad(pcm, (size - hop, 0))
    spectrum = torch.stft(padded, size, hop, window=window, center=False, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-10).sqrt().transpose(1, 2)


def mel_filters(size: int, mels: int) -> Tensor:
    """Triangles equally spaced on the mel scale (Stevens, Volkmann 1937; O'Shaughnessy's formula), [bins, mels]."""
    top = 2595 * torch.log10(torch.tensor(1 + RATE / 2 / 700))
    edges = 700 * (10 ** (torch.linspace(0, float(top), mels + 2) / 2595) - 1)
    frequency = torch.linspace(0, RATE / 2, size // 2 + 1)[:, None]
    rise = (frequency - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - frequency) / (edges[2:] - edges[1:-1])
    return torch.minimum(rise, fall).clamp(min=0)
