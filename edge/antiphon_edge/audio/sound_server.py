"""What the sound server says of its devices and of our streams: PulseAudio, or PipeWire in its place.

PortAudio sees the whole server as one device. So the server's own devices are not to be chosen through it, and when
the server moves a stream to another device (a microphone was unplugged, and what is left is the speaker's monitor) it
does not know. The server's command line client, `pactl`, does. Where there is none, or no server, nothing is known.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon_edge.audio.devices import Direction

VARIABLES: dict[Direction, str] = {"input": "PULSE_SOURCE", "output": "PULSE_SINK"}
NODE = "PIPEWIRE_NODE"
"""The same for PipeWire's own plugin."""
ANSWER_S = 2.0

_KINDS: dict[Direction, tuple[str, str, str]] = {  # devices, streams, and what a stream calls its device
    "input": ("sources", "source-outputs", "source"),
    "output": ("sinks", "sink-inputs", "sink"),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A microphone or a speaker of the server's."""

    index: int
    name: str
    description: str
    channels: int
    rate_hz: int
    monitor_of: str | None
    """The speaker that a monitor hears; None for a real microphone, and for a speaker."""


def endpoints(direction: Direction) -> list[Endpoint]:
    """The server's microphones, monitors among them, or its speakers; none where nobody answers."""
    return [_endpoint(item) for item in _list(_KINDS[direction][0])]


def attached(direction: Direction) -> Endpoint | None:
    """What this process' newest stream in that direction is connected to; None where the server has none of it."""
    stream = _our_stream(direction)
    at = None if stream is None else stream[_KINDS[direction][2]]
    return next((endpoint for endpoint in endpoints(direction) if endpoint.index == at), None)


def move(direction: Direction, name: str) -> None:
    """Connects this process' newest stream to the device of that name, where both are there."""
    stream = _our_stream(direction)
    if stream is not None:
        _ask(f"move-{_KINDS[direction][1][:-1]}", str(stream["index"]), name)


def _our_stream(direction: Direction) -> dict[str, Any] | None:
    ours = [item for item in _list(_KINDS[direction][1]) if _pid(item) == os.getpid()]
    return max(ours, key=lambda item: int(item["index"]), default=None)


def hears_the_speaker(microphone: Endpoint) -> bool:
    """Whether it is the monitor of the speaker that this process plays to, or would."""
    if microphone.monitor_of is None:
        return False
    speaker = attached("output")
    name = _ask("get-default-sink") if speaker is None else speaker.name
    return name is not None and name.strip() == microphone.monitor_of


def chosen_by_hand(direction: Direction) -> str | None:
    """The device that the person has named in the server's own variable."""
    return os.environ.get(VARIABLES[direction])


@contextmanager
def choosing(direction: Direction, name: str | None) -> Iterator[None]:
    """A stream that is opened meanwhile goes to the server's device of this name; None: as it would anyway."""
    if name is None:
        yield
        return
    before = {key: os.environ.get(key) for key in (VARIABLES[direction], NODE)}
    os.environ.update(dict.fromkeys(before, name))
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


class Watch:
    """Calls `on_event` in a thread of its own whenever the server has changed something about its devices or streams in
    one direction, until `close`. Where there is no server it does nothing."""

    def __init__(self, direction: Direction, on_event: Callable[[], object]) -> None:
        self._words = {f" {kind[:-1]} #" for kind in _KINDS[direction][:2]}
        self._on_event = on_event
        self._process: subprocess.Popen[str] | None = None
        if (client := _client()) is not None:
            with suppress(OSError):
                self._process = subprocess.Popen(  # noqa: S603 -- our own words
                    [client, "subscribe"],
                    env=_plain_english(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
                threading.Thread(target=self._read, name="antiphon-sound-server", daemon=True).start()

    def close(self) -> None:
        """Ends the watch."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if any(word in line for word in self._words):
                    self._on_event()


def _client() -> str | None:
    """`pactl`, where it and a server seem to be there: to ask for a server that is not would start one."""
    folders = (os.environ.get("PULSE_RUNTIME_PATH"), f"{os.environ.get('XDG_RUNTIME_DIR')}/pulse", "/run/pulse")
    sockets = (Path(folder) / "native" for folder in folders if folder is not None)
    if os.environ.get("PULSE_SERVER") or any(socket.exists() for socket in sockets):
        return shutil.which("pactl")
    return None


def _ask(*arguments: str) -> str | None:
    client = _client()
    if client is None:
        return None
    try:
        asked = subprocess.run(  # noqa: S603 -- our own words
            [client, *arguments],
            env=_plain_english(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout


def _list(kind: str) -> list[dict[str, Any]]:
    text = _ask("--format=json", "list", kind)
    try:
        items = json.loads(text or "[]")
    except ValueError:  # a client from before it knew JSON
        return []
    return [item for item in items if isinstance(item, dict)]


def _plain_english() -> dict[str, str]:
    return os.environ | {"LC_ALL": "C.UTF-8"}


def _pid(stream: dict[str, Any]) -> int | None:
    with suppress(KeyError, TypeError, ValueError):
        return int(stream["properties"]["application.process.id"])
    return None


def _endpoint(item: dict[str, Any]) -> Endpoint:
    _, channels, rate = str(item.get("sample_specification", "s16le 1ch 48000Hz")).split()
    monitored = item.get("monitor_source") if item.get("properties", {}).get("device.class") == "monitor" else None
    return Endpoint(
        index=int(item["index"]),
        name=str(item["name"]),
        description=str(item.get("description") or item["name"]),
        channels=int(channels.removesuffix("ch")),
        rate_hz=int(rate.removesuffix("Hz")),
        monitor_of=str(monitored) if monitored else None,
    )
