"""A live conversation of many minutes: does it get later or larger, what does it lose, and what does it cost?

    python -m tools.talk.soak [--minutes 10] [--codec DIR] [--stop 1 --stop 5]

`antiphon-edge talk` runs as a person runs it, between null sinks of a private PulseAudio, with a worker that says what
it heard. Prints for each minute the delay from mouth to ear, the memory and the share of a core of the whole edge
program, and what was lost. With --stop it is stopped (SIGSTOP) for so many seconds at the end of each minute in turn.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from tools.harness.process_memory import memory_bytes
from tools.harness.worker_process import BIN, STUB, worker
from tools.talk.latency import CLERK
from tools.talk.rig import EVERY_S, RATE_HZ, bursts, ear, pairs
from tools.talk.sound_server import SoundServer, sound_server

MINUTE_S = 60.0
BACK_S = 2.0  # of sound after a stop, in which the delay may still be longer


@dataclass
class Edge:
    """`antiphon-edge talk`, and what it tells."""

    process: subprocess.Popen[str]
    lost: dict[str, int] = field(default_factory=dict)
    frames: int = 0
    text: list[str] = field(default_factory=list)
    connected: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def following(self) -> Iterator[Edge]:
        """Reads its lines while the body runs, which begins when it is heard; ends it then."""
        follower = threading.Thread(target=self._follow)
        follower.start()
        try:
            self.connected.wait()
            yield self
        finally:
            self.process.terminate()
            follower.join()

    def _follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event: dict[str, Any] = json.loads(line)
            match event.pop("event"):
                case "listening":
                    self.connected.set()
                case "status":
                    self.frames = event["frames_down"]
                case "text":
                    self.text.append(event["text"])
                case "lost":
                    for name in set(event) - {"version", "at_s"}:
                        self.lost[name] = self.lost.get(name, 0) + event[name]

    def take_lost(self) -> str:
        """What was lost since the last call."""
        lost, self.lost = self.lost, {}
        return ", ".join(f"{name} {count}" for name, count in sorted(lost.items()) if count) or "nothing"

    def take_text(self) -> str:
        """What the model has written since the last call, its words one space apart."""
        text, self.text = self.text, []
        return " ".join("".join(text).split())

    @property
    def cpu_s(self) -> float:
        """Seconds of a core that it has had."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory_mib(self) -> float:
        """What of its memory is in the machine's."""
        return memory_bytes(pid=self.process.pid) / 2**20

    def stop(self, seconds: float) -> None:
        """Suspends it for so long."""
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.process.send_signal(signal.SIGCONT)


@click.command()
@click.option("--minutes", default=10, show_default=True)
@click.option("--codec", type=click.Path(path_type=Path), default=CLERK, help="The number clerk's where absent.")
@click.option("--stop", "stops_s", multiple=True, type=float, help="Stop the edge for so many seconds.")
def main(minutes: int, codec: Path, stops_s: tuple[float, ...]) -> None:
    """Talks, and prints a line for each minute."""
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory())
        sound = stack.enter_context(sound_server())
        said = stack.enter_context(ear(sound, "micbus"))
        heard = stack.enter_context(ear(sound, "speaker"))
        serving = stack.enter_context(worker("--echo", codec, program=STUB))
        command = [BIN / "antiphon-edge", "talk", "--server", serving.address, "--codec", codec, "--json-lines"]
        process = stack.enter_context(
            subprocess.Popen(
                list(map(str, command)),
                env=sound.child_env() | {"TMPDIR": scratch},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        edge = stack.enter_context(Edge(process).following())
        spoken_s = minutes * MINUTE_S + sum(stops_s) + 3 * BACK_S * len(stops_s) + 5
        speaking = threading.Thread(target=speak, args=(sound, spoken_s), daemon=True)
        speaking.start()
        print(f"{'minute':>6}{'delay ms':>10}{'p95':>6}{'RSS MiB':>9}{'core':>7}  lost")
        for minute in range(1, minutes + 1):
            print(one_minute(minute, edge, said, heard), flush=True)
            if minute <= len(stops_s):
                print(stopped(edge, said, heard, stops_s[minute - 1]), flush=True)
        speaking.join()


def speak(sound: SoundServer, seconds: float) -> None:
    """Says bursts for so long."""
    sound.say("micbus", bursts(seconds), RATE_HZ, timeout_s=2 * seconds)


def one_minute(minute: int, edge: Edge, said: list[float], heard: list[float]) -> str:
    """Waits for it; its line."""
    start_s, cpu_s = time.monotonic(), edge.cpu_s
    time.sleep(MINUTE_S)
    share = (edge.cpu_s - cpu_s) / (time.monotonic() - start_s)
    delays_ms = [delay_ms for _, delay_ms in delays(said, heard, start_s, start_s + MINUTE_S - EVERY_S)]
    p50, p95 = np.percentile(delays_ms, [50, 95])
    return f"{minute:6d}{p50:10.0f}{p95:6.0f}{edge.memory_mib:9.1f}{share:7.1%}  {edge.take_lost()}"


def stopped(edge: Edge, said: list[float], heard: list[float], seconds: float) -> str:
    """Stops the edge; the delays of the bursts after it, with the seconds since."""
    edge.stop(seconds)
    start_s = time.monotonic()
    time.sleep(3 * BACK_S)
    after = delays(said, heard, start_s - seconds, start_s + 3 * BACK_S - EVERY_S)
    told = ", ".join(f"{delay_ms:.0f} ms at {at_s - start_s:+.1f} s" for at_s, delay_ms in after)
    return f"stopped for {seconds:.0f} s; bursts since: {told}; lost: {edge.take_lost()}"


def delays(said: list[float], heard: list[float], start_s: float, end_s: float) -> list[tuple[float, float]]:
    """When a burst was said between the two times, and after how many milliseconds it was heard."""
    return [(at_s, (ear_s - at_s) * 1e3) for at_s, ear_s in pairs(list(said), list(heard)) if start_s <= at_s < end_s]


if __name__ == "__main__":
    main()
