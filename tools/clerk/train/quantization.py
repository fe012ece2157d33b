"""Adds training to the product's quantizer: a straight-through gradient, and codebooks as moving averages."""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.nn import functional

from antiphon_cloud.codec.mimi.quantizer import QuantizerEncoder

DECAY = 0.97
RARE = 0.03  # of the mean usage: a centroid used less is moved to a vector of the batch


class Codebooks:
    """Centroids as exponential moving averages of what they code (van den Oord et al. 2017, arXiv:1711.00937)."""

    def __init__(self, quantizer: QuantizerEncoder) -> None:
        self.quantizer, self.codebooks = quantizer, quantizer.first + quantizer.rest
        self.bins = quantizer.get_parameter("centroids_0").shape[0]
        for k in range(self.codebooks):
            quantizer.get_parameter(f"centroids_{k}").requires_grad_(False)
            quantizer.get_parameter(f"offset_{k}").requires_grad_(False)
        self.usage = torch.ones(self.codebooks, self.bins)
        tables: list[Tensor] = [quantizer.get_parameter(f"centroids_{k}") for k in range(self.codebooks)]
        self.sums = torch.stack(tables).detach()

    def state_dict(self) -> dict[str, Tensor]:
        """The state for a checkpoint."""
        return {"usage": self.usage, "sums": self.sums}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores the state from a checkpoint."""
        self.usage, self.sums = state["usage"], state["sums"]

    def project(self, latent: Tensor) -> Tensor:
        """Latents [*, T, C] to the inputs of both quantizers, [*, T, 2 · D]."""
        return latent @ self.quantizer.input_proj

    def quantize(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantizes latents [*, T, C].

        Returns:
            The quantized projections [*, T, 2 · D], with the gradient of the unquantized ones (Bengio et al. 2013,
            arXiv:1308.3432); the codes [*, T, K]; the commitment loss.
        """
        projected = self.project(latent)
        with torch.no_grad():
            codes = self.quantizer(latent)
        vectors = self.look_up(codes)
        commitment = functional.mse_loss(projected, vectors)
        return projected + (vectors - projected).detach(), codes, commitment

    def look_up(self, codes: Tensor) -> Tensor:
        """Codes [*, T, K] to vectors [*, T, 2 · D]."""
        levels = [
            functional.embedding(codes[..., k], self.quantizer.get_parameter(f"centroids_{k}"))
            for k in range(self.codebooks)
        ]
        return torch.cat([levels[0], torch.stack(levels[1:]).sum(0)], -1)

    @torch.no_grad()
    def start(self, latent: Tensor) -> None:
        """Draws every centroid from its level's inputs, for latents [N, C]."""
        for k in range(self.codebooks):
            _, residual = self._residuals(latent, self.quantizer(latent))[k]  # the levels before k are initialized
            rows = residual[torch.randint(len(residual), (self.bins,))]
            self.sums[k] = rows + 0.01 * residual.std() * torch.randn_like(rows)
            self.usage[k] = 1.0
            self._write(k)

    @torch.no_grad()
    def follow(self, latent: Tensor, codes: Tensor) -> None:
        """Updates the centroids from a batch of latents [N, C] and their codes [N, K]."""
        for k, residual in self._residuals(latent, codes):
            used = torch.bincount(codes[:, k], minlength=self.bins).float()
            self.usage[k].mul_(DECAY).add_(used, alpha=1 - DECAY)
            sums = torch.zeros_like(self.sums[k]).index_add_(0, codes[:, k], residual)
            self.sums[k].mul_(DECAY).add_(sums, alpha=1 - DECAY)
            rare = self.usage[k] < RARE * len(codes) / self.bins
            count = int(rare.sum())
            if count:
                self.sums[k][rare] = residual[torch.randint(len(residual), (count,))] * len(codes) / self.bins
                self.usage[k][rare] = len(codes) / self.bins
            self._write(k)

    def share(self) -> None:
        """Broadcasts the first process's codebooks to all processes."""
        distributed.broadcast(self.usage, 0)
        distributed.broadcast(self.sums, 0)
        with torch.no_grad():
            for k in range(self.codebooks):
                self._write(k)

    def _residuals(self, latent: Tensor, codes: Tensor) -> list[tuple[int, Tensor]]:
        first, residual = self.project(latent).chunk(2, -1)
        out = [(0, first)]
        for k in range(1, self.codebooks):
            out.append((k, residual))
            residual = residual - functional.embedding(codes[:, k], self.quantizer.get_parameter(f"centroids_{k}"))
        return out

    def _write(self, k: int) -> None:
        table = self.sums[k] / self.usage[k].clamp(min=1e-5)[:, None]
        self.quantizer.get_parameter(f"centroids_{k}").copy_(table)
        self.quantizer.get_parameter(f"offset_{k}").copy_(-0.5 * table.square().sum(1))
