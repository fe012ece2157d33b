"""Wav files as streams of frames: any file or pipe in, 16-bit out, in memory never more than a block."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
import soxr

from antiphon.errors import AntiphonError
from antiphon_edge.audio.pcm import BlockBuffer, Pcm, Samples, as_array, as_pcm, one_channel
from antiphon_edge.audio.sound_source import STANDARD_INPUT, Warn, open_source, reason
from antiphon_edge.errors import AudioFileError

RATES_HZ = (1_000, 768_000)  # beyond, a header lies: one second would become a day, or the other way round

logger = logging.getLogger(__name__)


class WavReader:
    """One channel of a wav file of any rate and sample format, read as frames; a context manager.

    Iterating yields float32 frames [frame_samples] at `sample_rate_hz`, the last one padded with zeros; each iteration
    starts at the beginning of the file. A pipe is read as it comes, once.

    Args:
        path: a sound file, or a pipe that brings a wav; "-" for standard input.
        sample_rate_hz: the rate of the frames, whatever the file's.
        frame_samples: samples in a frame.
        channel: which one, from 1; the others are left out.
        raw_rate_hz: it brings bare samples instead of a wav, 16-bit little endian of one channel, so many a second.
        warn: called with a sentence where the file is cut off; what there is of it is read. By default it is logged.

    Raises:
        AudioFileError: there is no such file or channel, it is no sound file, it holds no audio, or (while iterating)
            a pipe brings none, or it holds samples that are not numbers.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate_hz: int,
        frame_samples: int,
        *,
        channel: int = 1,
        raw_rate_hz: int | None = None,
        warn: Warn = logger.warning,
    ) -> None:
        self._frame_samples = frame_samples
        self._rate_hz = sample_rate_hz
        self._channel = channel
        self._path = path
        self._source = open_source(path, warn, raw_rate_hz)
        try:
            if not RATES_HZ[0] <= self._source.rate_hz <= RATES_HZ[1]:
                raise AudioFileError(f"{path} is damaged: it claims {self._source.rate_hz} samples a second")
            if not 1 <= channel <= self._source.channels:
                count = "1 channel" if self._source.channels == 1 else f"{self._source.channels} channels"
                raise AudioFileError(f"{path} has {count}: there is no channel {channel}")
            if self.samples == 0:
                raise self._no_audio()
        except BaseException:
            self._source.close()
            raise

    @property
    def is_pipe(self) -> bool:
        """Whether it is read as it comes, and `next` may wait for long."""
        return self._source.is_pipe

    @property
    def samples(self) -> int | None:
        """Samples at `sample_rate_hz`, before the last frame is padded; None where a pipe does not say."""
        return None if self._source.samples is None else self._resampled(self._source.samples)

    @property
    def frames(self) -> int | None:
        """Frames that an iteration yields, where nothing of the file is missing; None where a pipe does not say."""
        return None if self.samples is None else -(-self.samples // self._frame_samples)

    def __iter__(self) -> Iterator[Pcm]:
        buffer, silent = BlockBuffer(), True
        for block in self._blocks():
            silent = silent and not len(block)
            buffer.put(block)
            yield from buffer.frames(self._frame_samples)
        if silent and self._source.samples is None:
            raise self._no_audio()
        if len(buffer):
            rest = buffer.take(len(buffer))
            yield np.pad(rest, (0, self._frame_samples - len(rest)))

    def close(self) -> None:
        """Closes the file."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _no_audio(self) -> AudioFileError:
        name = "standard input" if str(self._path) == STANDARD_INPUT else self._path
        return AudioFileError(f"{name} holds no audio: choose a wav with at least a few samples")

    def _blocks(self) -> Iterator[Pcm]:
        """The channel at our rate, in blocks [N]."""
        blocks = (one_channel(block, self._channel) for block in self._source.blocks())
        if self._source.rate_hz == self._rate_hz:
            yield from blocks
            return
        resampler = soxr.ResampleStream(self._source.rate_hz, self._rate_hz, 1, dtype="float32")
        read = given = 0
        for block in blocks:
            read += len(block)
            resampled = resampler.resample_chunk(block)
            given += len(resampled)
            yield resampled
        # What the filter still holds; it rounds the length up or down where we do not, by one sample.
        missing = self._resampled(read) - given
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
        yield np.pad(rest, (0, missing - len(rest)))

    def _resampled(self, samples: int) -> int:
        return round(samples * self._rate_hz / self._source.rate_hz)


class WavWriter:
    """A 16-bit wav file, written block by block; a context manager.

    A sample that was read from a 16-bit file at the same rate is written back bit by bit.

    Raises:
        AudioFileError: the file cannot be created, or (while writing) the disk is full.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int, channels: int = 1) -> None:
        self._path, self._channels = path, channels
        try:
            Path(path).open("wb").close()  # the system's reason, which libsndfile would not tell
            self._file = soundfile.SoundFile(
                os.fsencode(path), "w", samplerate=sample_rate_hz, channels=channels, format="WAV", subtype="PCM_16"
            )
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioFileError(f"{path} cannot be written: {reason(error)}; choose another path") from None

    def write(self, pcm: Samples) -> None:
        """Appends `pcm` [N], or [N, channels]; what is beyond full scale is clipped.

        Raises:
            AntiphonError: other channels than the file's, or no samples; see `as_pcm`.
        """
        block = as_array(pcm, "pcm", AntiphonError)
        if self._channels != (block.shape[1] if block.ndim == 2 else 1):
            wanted = "[N]" if self._channels == 1 else f"[N, {self._channels}]"
            raise AntiphonError(f"pcm: expected samples {wanted}, got shape {list(block.shape)}")
        samples = as_pcm(block.ravel(), math.inf).reshape(block.shape)
        integers = np.clip(np.rint(samples * 32_768.0), -32_768, 32_767).astype(np.int16)
        try:
            self._file.write(integers)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(f"{self._path} cannot be written: {reason(error)}; is the disk full?") from None

    def close(self) -> None:
        """Completes the header and closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
