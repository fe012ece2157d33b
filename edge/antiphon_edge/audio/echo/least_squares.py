"""A response that explains one signal by another: weighted least squares, a few steps at a time.

Preconditioned conjugate gradients (Hestenes and Stiefel 1952; circulant preconditioners: Chan 1988): a product with the
matrix is two convolutions, so that nothing larger than the signals is ever kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from antiphon_edge.audio.pcm import Pcm

Spectrum = npt.NDArray[Any]  # complex64, as numpy 2 has it of float32

EMPHASIS = np.float32(0.9)  # speech falls by 6 dB an octave; without this its high pitches would be learnt last
PRIOR = 1e-2  # of the far end's power: what it tells nothing about stays as it is
PRIOR_REACH_S = 0.1  # the later in a response, the less is to be expected: by e in so long
STIFF = 0.1  # of the power that is left: so much speaks for none of a column
LEVEL = 3e-3  # of the mean spectrum, under which the preconditioner takes it for as much


class LeastSquares:
    """Minimises Σ weight · (mic − response ∗ far)² over the response.

    Args:
        response_samples: L.
        mic_samples: M, of which the far end has L more before.
        sample_rate_hz: of both.
    """

    def __init__(self, response_samples: int, mic_samples: int, sample_rate_hz: int) -> None:
        self._response, self._mic = response_samples, mic_samples
        self._size = _fast(response_samples + mic_samples)
        self._small = _fast(2 * response_samples)
        at_s = np.arange(response_samples) / sample_rate_hz
        self._prior = (PRIOR * response_samples / mic_samples * np.exp(at_s / PRIOR_REACH_S)).astype(np.float32)

    def residual(self, response: Pcm, mic: Pcm, far: Pcm) -> Pcm:
        """What the response [L] leaves of `mic` [M]; `far` is [L + M]."""
        return _pcm(mic - self._apply(np.fft.rfft(far, self._size), response))

    def echoes(self, response: Pcm, fars: Pcm) -> Pcm:
        """What the response [L] makes of several far ends [F, L + M], emphasised, [F, M]."""
        spectrum = np.fft.rfft(response, self._size)
        lines = [np.fft.irfft(np.fft.rfft(emphasised(far), self._size) * spectrum, self._size) for far in fars]
        return _pcm(np.stack([line[self._response : self._response + self._mic] for line in lines]))

    def refine(self, response: Pcm, mic: Pcm, far: Pcm, weights: Pcm, steps: int) -> Pcm:
        """A better response [L] than `response`.

        Args:
            response: to begin with, [L].
            mic: what is to be explained, [M].
            far: what it is explained by, [L + M].
            weights: of each sample of `mic`, [M].
            steps: of conjugate gradients.
        """
        mic, far = emphasised(mic), emphasised(far)
        spectrum = np.fft.rfft(far, self._size)
        prior = _pcm(self._prior * float((far**2).sum()))
        inverse = self._preconditioner(spectrum)
        descent = self._transposed(spectrum, weights * (mic - self._apply(spectrum, response)))
        ahead = self._precondition(descent, inverse)
        direction, progress = ahead, float(descent @ ahead)
        for _ in range(steps):
            image = self._transposed(spectrum, weights * self._apply(spectrum, direction)) + prior * direction
            curvature = float(direction @ image)
            if curvature <= 0 or progress <= 0:  # silence, or nothing left to learn
                break
            step = np.float32(progress / curvature)
            response = _pcm(response + step * direction)
            descent = _pcm(descent - step * image)
            ahead = self._precondition(descent, inverse)
            before, progress = progress, float(descent @ ahead)
            direction = _pcm(ahead + np.float32(progress / before) * direction)
        return response

    def _apply(self, far: Spectrum, response: Pcm) -> Pcm:
        line = np.fft.irfft(far * np.fft.rfft(response, self._size), self._size)
        return _pcm(line[self._response : self._response + self._mic])

    def _transposed(self, far: Spectrum, error: Pcm) -> Pcm:
        late = np.zeros(self._size, np.float32)
        late[self._response : self._response + self._mic] = error
        return _pcm(np.fft.irfft(far.conj() * np.fft.rfft(late), self._size)[: self._response])

    def _preconditioner(self, far: Spectrum) -> Pcm:
        power = np.abs(far) ** 2
        bins = np.arange(self._small // 2 + 1) * (len(power) - 1) / (self._small // 2)
        around = np.convolve(power, np.full(5, 0.2, np.float32), "same")
        smooth = np.interp(bins, np.arange(len(power)), around)
        return _pcm(1 / (smooth + LEVEL * smooth.mean() + 1e-9))

    def _precondition(self, vector: Pcm, inverse: Pcm) -> Pcm:
        return _pcm(np.fft.irfft(np.fft.rfft(vector, self._small) * inverse, self._small)[: self._response])


def emphasised(pcm: Pcm) -> Pcm:
    """`pcm` [N] with its high pitches as loud as its low ones."""
    return _pcm(np.concatenate((pcm[:1], pcm[1:] - EMPHASIS * pcm[:-1])))


def regress(rest: Pcm, columns: Pcm, weights: Pcm) -> Pcm:
    """How much of each column [C, M] is in `rest` [M], [C]: ridge regression.

    The ridge is as strong as there is much left to explain: a curve that few samples tell about stays small.
    """
    weighted = columns * weights
    alike = (weighted @ columns.T).astype(np.float64)
    stiff = np.eye(len(columns)) * (STIFF * float((weights * rest**2).sum()) + 1e-6)
    return _pcm(np.linalg.solve(alike + stiff, (weighted @ rest).astype(np.float64)))


def _pcm(values: npt.NDArray[Any]) -> Pcm:
    pcm: Pcm = values.astype(np.float32, copy=False)
    return pcm


def _fast(least: int) -> int:
    """The next length from `least` on whose Fourier transform is fast."""
    sizes = [size for power in range(4, 24) for size in (1 << power, 9 << power - 3)]
    return min(size for size in sizes if size >= least)
