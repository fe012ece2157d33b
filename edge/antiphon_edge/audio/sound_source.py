"""Where the samples of a file or a pipe come from, as they are: any rate, any channels, block by block."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from antiphon_edge.audio.pcm import BEYOND, Pcm
from antiphon_edge.audio.riff import WavHeader, raw_header, read_header
from antiphon_edge.errors import AudioFileError

STANDARD_INPUT = "-"
BLOCK_SAMPLES = 16_384
PIPE_BLOCK_S = 0.02  # a pipe may be live: what it has brought is handed on at once

Warn = Callable[[str], None]


class SoundSource(Protocol):
    """An open source of samples."""

    rate_hz: int
    channels: int
    samples: int | None
    """Of each channel; None where nobody knows before the end."""
    is_pipe: bool

    def blocks(self) -> Iterator[Pcm]:
        """All of it, in blocks [N, channels]; a file's from its beginning each time."""

    def close(self) -> None:
        """Lets it go."""


def open_source(path: str | Path, warn: Warn, raw_rate_hz: int | None = None) -> SoundSource:
    """Opens a sound file, a pipe, or standard input where `path` is "-".

    Args:
        path: a file of any format that libsndfile reads; a pipe must bring a wav.
        warn: called with a sentence that says what is missing from the source.
        raw_rate_hz: it brings bare samples instead, 16-bit little endian of one channel, so many a second.

    Raises:
        AudioFileError: it cannot be opened, or is no sound.
    """
    if str(path) == STANDARD_INPUT:
        return _Pipe(_standard_input(), "standard input", warn, raw_rate_hz)
    try:
        kind = Path(path).stat()
        if stat.S_ISFIFO(kind.st_mode) or (raw_rate_hz and stat.S_ISREG(kind.st_mode)):
            return _Pipe(os.open(path, os.O_RDONLY), str(path), warn, raw_rate_hz)
        if stat.S_ISCHR(kind.st_mode):
            raise AudioFileError(f"{path} is a device: choose a wav file")
        if kind.st_size == 0:
            raise AudioFileError(f"{path} is empty: choose a wav file")
        return _File(path, warn)
    except OSError as error:
        raise AudioFileError(f"{path} cannot be read: {reason(error)}; choose a wav file") from None


def _standard_input() -> int:
    try:
        descriptor = os.dup(0)
    except OSError:
        raise AudioFileError("standard input is closed: pipe a wav into it, or choose a wav file") from None
    if os.isatty(descriptor):
        os.close(descriptor)
        raise AudioFileError("standard input is a terminal: pipe a wav into it, or choose a wav file")
    return descriptor


class _File:
    is_pipe = False

    def __init__(self, path: str | Path, warn: Warn) -> None:
        self._path, self._warn = path, warn
        with Path(path).open("rb") as file:  # the system's reason, which libsndfile would not tell
            header, there = read_header(file.read), os.fstat(file.fileno()).st_size - file.tell()
        with self._open() as sound:
            self.rate_hz: int = sound.samplerate
            self.channels: int = sound.channels
            self.samples: int | None = sound.frames
        if header is not None and header.data_bytes is not None and there < header.data_bytes:
            warn(_cut_off(path, header.seconds(header.data_bytes - there), header.seconds(header.data_bytes)))
        self._unfinished: WavHeader | None = None
        if header is not None and header.data_bytes is None and header.subtype is not None:
            # Whoever wrote it was stopped before the length was known; libsndfile takes a length of 0 at its word.
            self._unfinished = header
            self.samples = there // header.sample_bytes

    def blocks(self) -> Iterator[Pcm]:
        promised, done = self.samples or 0, 0
        for block in self._finished_blocks() if self._unfinished is None else self._unfinished_blocks(self._unfinished):
            done += len(block)
            yield check(block, str(self._path))
        if done < promised:
            self._warn(_cut_off(self._path, (promised - done) / self.rate_hz, promised / self.rate_hz))

    def close(self) -> None:
        pass

    def _finished_blocks(self) -> Iterator[Pcm]:
        done = 0
        with self._open() as sound:  # again for each pass: not every format can go back to its beginning
            while True:
                try:
                    block: Pcm = sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
                except soundfile.LibsndfileError as error:
                    if done:  # what follows is missing
                        return
                    raise AudioFileError(f"{self._path} cannot be read: {reason(error)}") from None
                if not len(block):
                    return
                done += len(block)
                yield block

    def _unfinished_blocks(self, header: WavHeader) -> Iterator[Pcm]:
        with Path(self._path).open("rb") as file:
            file.seek(header.header_bytes)
            yield from _raw_blocks(file.read, header, BLOCK_SAMPLES)

    def _open(self) -> soundfile.SoundFile:
        try:
            return soundfile.SoundFile(os.fsencode(self._path))  # bytes: a name may be none of the locale's
        except (soundfile.LibsndfileError, TypeError):  # TypeError: named *.raw, which would need a description
            raise AudioFileError(
                f"{self._path} is not a wav file: choose one, or convert it (ffmpeg -i IN OUT.wav)"
            ) from None


class _Pipe:
    is_pipe = True

    def __init__(self, descriptor: int, name: str, warn: Warn, raw_rate_hz: int | None) -> None:
        self._file = open(descriptor, "rb", buffering=0)  # noqa: SIM115 -- a descriptor; `close` closes it
        self._name, self._warn = name, warn
        self._bytes_read = 0
        try:
            self._header = raw_header(raw_rate_hz) if raw_rate_hz else self._read_header()
        except BaseException:
            self._file.close()
            raise
        self.rate_hz, self.channels = self._header.rate_hz, self._header.channels
        data_bytes = self._header.data_bytes
        self.samples = None if data_bytes is None else data_bytes // self._header.sample_bytes

    def blocks(self) -> Iterator[Pcm]:
        if self._file.closed:
            raise AudioFileError(f"{self._name} is a pipe, which can be read once: choose a wav file")
        done = 0
        with self._file:
            for block in _raw_blocks(self._read, self._header, max(1, round(self.rate_hz * PIPE_BLOCK_S))):
                done += len(block)
                yield check(block, self._name)
        if self.samples is not None and done < self.samples:
            self._warn(_cut_off(self._name, (self.samples - done) / self.rate_hz, self.samples / self.rate_hz))
        elif self.samples is None and (self._bytes_read - self._header.header_bytes) % self._header.sample_bytes:
            self._warn(f"{self._name} ends amid a sample, which is left out: is it 16-bit, of one channel?")

    def close(self) -> None:
        self._file.close()

    def _read(self, size: int) -> bytes:
        data = b""
        try:
            while len(data) < size and (more := self._file.read(size - len(data))):
                data += more
        except OSError as error:
            raise AudioFileError(f"{self._name} cannot be read: {reason(error)}") from None
        self._bytes_read += len(data)
        return data

    def _read_header(self) -> WavHeader:
        header = read_header(self._read)
        if header is None:
            raise AudioFileError(f"{self._name} brings no wav: pipe one into it (arecord -t wav, ffmpeg -f wav)")
        if header.subtype is None:
            raise AudioFileError(
                f"{self._name} brings a compressed wav, which cannot be read from a pipe: name the file instead, or "
                "convert it (ffmpeg -i IN OUT.wav)"
            )
        return header


def _raw_blocks(read: Callable[[int], bytes], header: WavHeader, block_samples: int) -> Iterator[Pcm]:
    """The samples after a header, [N, channels], up to where it says that they end, or to the end of all."""
    left = header.data_bytes
    while left is None or left > 0:
        wanted = block_samples * header.sample_bytes
        data = read(wanted if left is None else min(wanted, left))
        data = data[: len(data) // header.sample_bytes * header.sample_bytes]
        if not data:
            return
        left = None if left is None else left - len(data)
        block: Pcm
        block, _ = soundfile.read(
            io.BytesIO(data),
            dtype="float32",
            always_2d=True,
            samplerate=header.rate_hz,
            channels=header.channels,
            format="RAW",
            subtype=header.subtype,
            endian="LITTLE",
        )
        yield block


def check(block: Pcm, name: str) -> Pcm:
    """The same samples.

    Raises:
        AudioFileError: some are not numbers, or far beyond full scale.
    """
    peak = np.abs(block).max(initial=0.0)
    if not np.isfinite(peak):
        raise AudioFileError(f"{name} is damaged: it holds samples that are not numbers; record it again")
    if peak > BEYOND:
        raise AudioFileError(f"{name} holds a sample of {peak:.0f} where full scale is 1: scale it down")
    return block


def _cut_off(name: str | Path, missing_s: float, whole_s: float) -> str:
    return f"{name} is cut off: {missing_s:.2f} s of {whole_s:.2f} s are missing; what is there is read"


def reason(error: OSError | soundfile.LibsndfileError) -> str:
    """Why, in the system's or the library's words."""
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error.error_string).rstrip(".").lower()
