"""A sound card without hardware: a private PulseAudio with null sinks, heard through ALSA as any program would."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import soundfile

from antiphon_edge.audio.pcm import Pcm

SINKS = {"speaker": (24_000, 1), "speaker48": (48_000, 2), "micbus": (24_000, 1), "micbus16": (16_000, 1)}
MICROPHONES = {"mic": "micbus", "mic16": "micbus16"}
START_S = 20.0


def missing() -> str | None:
    """What keeps the sound server from running here, in a sentence; None if nothing does."""
    if find_spec("pyaudio") is None:
        return "PyAudio is not installed: tools/setup/install_audio.sh && pip install 'antiphon[audio]'"
    commands = ("pulseaudio", "pactl", "paplay", "parec")
    if any(shutil.which(command) is None for command in commands):
        return f"{', '.join(commands)} are needed: tools/setup/install_audio.sh --test"
    return None


@dataclass(slots=True)
class SoundServer:
    """A running PulseAudio. `env` leads a child process to it, and to none of the machine's own devices."""

    folder: Path
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it, for the first time or again."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["pulseaudio", "-n", "-F", str(self.folder / "script"), "--exit-idle-time=-1", "--daemonize=no"],
                env=self.env,
                stderr=log,
            )
        _wait(self.ready, "pulseaudio does not start, see its log: " + str(self.folder / "log"))

    def stop(self) -> None:
        """Ends it, as an update of the system does."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(10)

    def modules(self, words: str) -> list[str]:
        """The numbers of the modules that were loaded with these words."""
        lines = self.control("list", "short", "modules").splitlines()
        return [line.split()[0] for line in lines if words in line]

    def ready(self) -> bool:
        """The last thing the start script does is to choose the default microphone."""
        ask = subprocess.run(["pactl", "get-default-source"], env=self.env, capture_output=True, text=True, timeout=10)
        return ask.stdout.strip() == "mic"

    def child_env(self, sink: str = "speaker", source: str = "mic") -> dict[str, str]:
        """The environment in which the default devices are these."""
        return {**self.env, "PULSE_SINK": sink, "PULSE_SOURCE": source}

    def say(self, bus: str, pcm: Pcm, rate_hz: int, timeout_s: float = 60) -> None:
        """Plays `pcm` [N] into the microphone that hears `bus`, to its end."""
        path = self.folder / "say.wav"
        soundfile.write(path, pcm, rate_hz, subtype="FLOAT")
        subprocess.run(["paplay", f"--device={bus}", str(path)], env=self.env, check=True, timeout=timeout_s)

    @contextmanager
    def hear(self, sink: str, rate_hz: int) -> Iterator[Path]:
        """Records what `sink` plays as raw float32 mono to a file; it has begun when the body does."""
        path = self.folder / "heard.raw"
        command = ["parec", f"--device={sink}.monitor", "--raw", "--format=float32le", "--channels=1"]
        with path.open("wb") as file:
            listener = subprocess.Popen([*command, f"--rate={rate_hz}", "--latency-msec=50"], env=self.env, stdout=file)
        try:
            _wait(lambda: path.stat().st_size > 0, "parec hears nothing")
            yield path
        finally:
            listener.terminate()
            listener.wait(10)

    def control(self, *command: str) -> str:
        """Runs `pactl`."""
        run = subprocess.run(["pactl", *command], env=self.env, check=True, timeout=10, capture_output=True, text=True)
        return run.stdout.strip()


@contextmanager
def sound_server() -> Iterator[SoundServer]:
    """Starts a PulseAudio of our own and ends it; its folder is short, for sockets have no long names."""
    with tempfile.TemporaryDirectory(prefix="antiphon-sound-") as name:  # mode 700, as PulseAudio asks
        folder = Path(name)
        (folder / ".asoundrc").write_text("pcm.!default { type pulse }\nctl.!default { type pulse }\n")
        script = ["load-module module-native-protocol-unix"]
        for sink, (rate_hz, channels) in SINKS.items():
            script.append(f"load-module module-null-sink sink_name={sink} rate={rate_hz} channels={channels}")
        for source, bus in MICROPHONES.items():
            script.append(f"load-module module-remap-source master={bus}.monitor source_name={source}")
        script += ["set-default-sink speaker", "set-default-source mic"]
        (folder / "script").write_text("\n".join(script) + "\n")
        env = {key: value for key, value in os.environ.items() if not key.startswith("PULSE_")}
        env |= {"HOME": name, "XDG_RUNTIME_DIR": name, "XDG_CONFIG_HOME": name}
        server = SoundServer(folder, env)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.02)
