"""Where the sound of `talk` and `transcribe` comes from, and where the reply goes as sound and text."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import click
from tqdm import tqdm

from antiphon.cli.output_file import OutputFileError
from antiphon.spec import CodecSpec, ModelSpec
from antiphon_edge.audio.microphone import Microphone
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.portaudio import check_device
from antiphon_edge.audio.sound_source import STANDARD_INPUT
from antiphon_edge.audio.speaker import Speaker
from antiphon_edge.audio.volume import gain
from antiphon_edge.audio.wav import WavReader, WavWriter
from antiphon_edge.cli.room_options import Room
from antiphon_edge.talk.sources import in_thread, paced, with_silence
from antiphon_edge.view.watcher import Watcher

T = TypeVar("T")

Frames = Callable[[ModelSpec, bool], AsyncIterator[Pcm]]
"""What the person says to this model; the flag: whether a person listens live."""

LONG_FILE_FRAMES = 125  # 10 s: from here on a file gets a progress line
PIPE_AHEAD_S = 2.0  # what a pipe may hold from before the conversation: it is said at once, or would always stay behind
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def progress(items: Iterable[T], frames: int | None, what: str) -> Iterator[T]:
    """The same items, with a progress line on a terminal where the file is long."""
    short = frames is not None and frames < LONG_FILE_FRAMES
    # None: tqdm looks whether standard error is a terminal
    return iter(tqdm(items, total=frames, desc=what, unit="frame", disable=True if short else None, leave=False))


def say(sentence: str) -> None:
    """Tells the user, and goes on."""
    click.echo(f"antiphon-edge: {sentence}", err=True)


@asynccontextmanager
async def person(
    wav: Path | None,
    device: str | None,
    channel: int,
    spec: CodecSpec,
    as_fast_as_possible: bool,
    watcher: Watcher,
    raw_rate_hz: int | None = None,
    room: Room | None = None,
) -> AsyncIterator[Frames]:
    """Where the person is heard: a wav file, with silence after it while the model's delays run out; a pipe, as it
    brings its wav or, with `raw_rate_hz`, its bare samples, until it ends or Ctrl-C; or a microphone until Ctrl-C."""

    def live_frames(frames: AsyncIterator[Pcm]) -> AsyncIterator[Pcm]:
        return until_interrupted(watcher.hear(frames), watcher.listening)

    if wav is None:
        async with Microphone(
            spec.sample_rate_hz,
            spec.frame_samples,
            device,
            channel=channel,
            canceller=None if room is None else room.canceller,
            far_end=None if room is None else room.far_end,
            on_change=watcher.on_device_change,
        ) as microphone:
            watcher.parts.microphone = microphone
            yield lambda model, live: live_frames(microphone)
        return
    async with AsyncExitStack() as stack:
        reader = stack.enter_context(
            WavReader(wav, spec.sample_rate_hz, spec.frame_samples, channel=channel, raw_rate_hz=raw_rate_hz, warn=say)
        )

        def frames(model: ModelSpec, live: bool) -> AsyncIterator[Pcm]:
            whole = with_silence(reader, spec.frame_samples, model.delay_steps)
            if not reader.is_pipe:
                length = None if reader.frames is None else reader.frames + model.delay_steps
                return paced(progress(whole, length, wav.name), 0 if as_fast_as_possible else spec.frame_s)
            piped = in_thread(whole)
            stack.push_async_callback(piped.aclose)
            # Where nobody listens it goes as fast as it comes: a live source paces itself.
            return live_frames(paced(piped, spec.frame_s if live else 0, PIPE_AHEAD_S))

        yield frames


def check_speaker(wav: Path | None, device: str | None) -> None:
    """Returns where the speaker that the person has named can be opened, before a worker is asked for anything.

    Raises:
        AudioDeviceError: it is not there, or refuses.
    """
    if wav is None and device is not None:
        check_device("output", device)


@asynccontextmanager
async def loudspeaker(
    wav: Path | None,
    device: str | None,
    volume: float,
    spec: CodecSpec,
    model: ModelSpec,
    as_fast_as_possible: bool,
    watcher: Watcher,
    room: Room | None = None,
) -> AsyncIterator[Callable[[Pcm], None]]:
    """Where the reply goes: a wav file, or a speaker that is heard to its end; nowhere where the model only listens.

    Raises:
        UsageError: it goes to a speaker faster than that can play.
    """
    if not model.model_codebooks:
        if wav is not None:
            say(f"{model.name} only listens: {wav} is not written")
        yield lambda pcm: None
    elif wav is not None:
        with WavWriter(wav, spec.sample_rate_hz) as writer:
            yield writer.write
    elif as_fast_as_possible:
        raise click.UsageError("--as-fast-as-possible needs --output-wav too: this model speaks")
    else:
        far_end = None if room is None else room.far_end
        async with Speaker(spec.sample_rate_hz, device, far_end=far_end, on_change=watcher.on_device_change) as speaker:
            watcher.parts.speaker = speaker
            loudness = gain(volume)

            def play(pcm: Pcm) -> None:
                watcher.played(pcm)
                speaker.write(pcm * loudness)

            yield play
            await speaker.drain()


@contextmanager
def transcript(path: Path | None, *, silent: bool = False) -> Iterator[Callable[[str], None]]:
    """Where the reply's text goes, as it comes: a file, or standard output for None and "-"; there nowhere if `silent`.

    Raises:
        OutputFileError: the file cannot be written.
    """
    if path is None or str(path) == STANDARD_INPUT:
        if silent:
            yield lambda text: None
            return
        yield lambda text: click.echo(text, nl=False)
        click.echo()
        return
    with ExitStack() as stack:
        with _write_errors(path):
            # Without a buffer: a reader that follows the file reads as the model speaks.
            file = stack.enter_context(path.open("wb", buffering=0))

        def write(text: str) -> None:
            with _write_errors(path):
                file.write(text.encode())

        yield write
        write("\n")


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFileError(f"{path}: cannot be written ({error.strerror}); choose another path") from error


async def until_interrupted(
    frames: AsyncIterator[Pcm], on_start: Callable[[], None] = lambda: None
) -> AsyncIterator[Pcm]:
    """The same frames, until Ctrl-C or SIGTERM asks for an orderly end; a second signal interrupts at once.

    Args:
        frames: may bring nothing for long.
        on_start: called once a signal would be heard.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def restore() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    def end() -> None:
        restore()
        if not ended.done():
            ended.set_result(None)

    for number in SIGNALS:
        loop.add_signal_handler(number, end)
    on_start()
    frame: asyncio.Future[Pcm] | None = None
    try:
        while not ended.done():
            frame = asyncio.ensure_future(anext(frames))
            await asyncio.wait((frame, ended), return_when=asyncio.FIRST_COMPLETED)
            if not frame.done():
                return
            try:
                pcm = frame.result()
            except StopAsyncIteration:
                return
            yield pcm
    finally:
        restore()
        if frame is not None and not frame.done():
            frame.cancel()
            await asyncio.wait((frame,))
