"""Wav files as streams of frames: any file in, 16-bit mono out, in memory never more than a block."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile
import soxr

from antiphon_edge.errors import AudioFileError
from antiphon_edge.pcm import BlockBuffer, Pcm, mono

BLOCK_SAMPLES = 16_384


class WavReader:
    """A wav file of any rate, channel count and sample format, read as mono frames; a context manager.

    Iterating yields float32 frames [frame_samples] at `sample_rate_hz`, the last one padded with zeros; each
    iteration starts at the beginning of the file.

    Raises:
        AudioFileError: there is no such file, it is no sound file, it holds no audio, or (while iterating) it ends
            early or holds samples that are not numbers.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int, frame_samples: int) -> None:
        self._path = path
        self._frame_samples = frame_samples
        self._rate_hz = sample_rate_hz
        self._file = _open(path)
        if self.samples == 0:
            self._file.close()
            raise AudioFileError(f"{path} holds no audio: choose a wav file with at least a few samples")

    @property
    def samples(self) -> int:
        """Samples at `sample_rate_hz`, before the last frame is padded."""
        return self._resampled(self._file.frames)

    @property
    def frames(self) -> int:
        """Frames that an iteration yields."""
        return -(-self.samples // self._frame_samples)

    def __iter__(self) -> Iterator[Pcm]:
        buffer = BlockBuffer()
        for block in self._blocks():
            buffer.put(block)
            yield from buffer.frames(self._frame_samples)
        if len(buffer):
            rest = buffer.take(len(buffer))
            yield np.pad(rest, (0, self._frame_samples - len(rest)))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _blocks(self) -> Iterator[Pcm]:
        """The file at our rate, in blocks that add up to `samples`."""
        source_hz = self._file.samplerate
        if source_hz == self._rate_hz:
            yield from self._source_blocks()
            return
        resampler = soxr.ResampleStream(source_hz, self._rate_hz, 1, dtype="float32")
        missing = self.samples
        for block in self._source_blocks():
            resampled = resampler.resample_chunk(block)
            missing -= len(resampled)
            yield resampled
        # What the filter still holds; it rounds the length up or down where we do not, by one sample.
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
        yield np.pad(rest, (0, missing - len(rest)))

    def _source_blocks(self) -> Iterator[Pcm]:
        self._file.seek(0)
        missing = self._file.frames
        while missing:
            block = self._read()  # [N, channels]
            if not len(block):
                raise AudioFileError(f"{self._path} is damaged: it ends {missing} samples early; record it again")
            if not np.isfinite(block).all():
                raise AudioFileError(f"{self._path} is damaged: it holds samples that are not numbers; record it again")
            missing -= len(block)
            yield mono(block)

    def _read(self) -> Pcm:
        try:
            block: Pcm = self._file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(f"{self._path} cannot be read: {_reason(error)}") from None
        return block

    def _resampled(self, samples: int) -> int:
        source_hz: int = self._file.samplerate
        return round(samples * self._rate_hz / source_hz)


class WavWriter:
    """A 16-bit wav file, written block by block; a context manager.

    A sample that was read from a 16-bit file at the same rate is written back bit by bit.

    Raises:
        AudioFileError: the file cannot be created, or (while writing) the disk is full.
    """

    def __init__(self, path: str | Path, sample_rate_hz: int, channels: int = 1) -> None:
        self._path = path
        try:
            Path(path).open("wb").close()  # the system's reason, which libsndfile would not tell
            self._file = soundfile.SoundFile(
                os.fsencode(path), "w", samplerate=sample_rate_hz, channels=channels, format="WAV", subtype="PCM_16"
            )
        except (OSError, soundfile.LibsndfileError) as error:
            raise AudioFileError(f"{path} cannot be written: {_reason(error)}; choose another path") from None

    def write(self, pcm: Pcm) -> None:
        """Appends `pcm` [N], or [N, channels]; what is beyond full scale is clipped."""
        integers = np.clip(np.rint(pcm * 32_768.0), -32_768, 32_767).astype(np.int16)
        try:
            self._file.write(integers)
        except soundfile.LibsndfileError as error:
            raise AudioFileError(f"{self._path} cannot be written: {_reason(error)}; is the disk full?") from None

    def close(self) -> None:
        """Completes the header and closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _open(path: str | Path) -> soundfile.SoundFile:
    try:
        kind = Path(path).stat()
        if stat.S_ISFIFO(kind.st_mode) or stat.S_ISCHR(kind.st_mode):
            raise AudioFileError(f"{path} is a pipe or a device: choose a wav file")
        if kind.st_size == 0:
            raise AudioFileError(f"{path} is empty: choose a wav file")
        Path(path).open("rb").close()
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {_reason(error)}; choose a wav file") from None
    try:
        return soundfile.SoundFile(os.fsencode(path))  # bytes: a name may be none of the locale's
    except (soundfile.LibsndfileError, TypeError):  # TypeError: named *.raw, which would need a description
        raise AudioFileError(f"{path} is not a wav file: choose one, or convert it (ffmpeg -i IN OUT.wav)") from None


def _reason(error: OSError | soundfile.LibsndfileError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error.error_string).rstrip(".").lower()
