"""The stage `serve`: a worker on the device, and sessions at frame rate against it through gRPC."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from antiphon_cloud.errors import CheckpointError
from tools import ROOT
from tools.gpu.subject import Bench, FailedError, Tell
from tools.harness import worker_process
from tools.load.load_test import CONNECT_S

SOMEBODYS = ROOT / "tests/golden/moshi-tiny"  # codec and tokenizer
NAMES = {
    "mimi_name": "mimi.safetensors",
    "mimi_config_name": "mimi_config.json",
    "tokenizer_name": "tokenizer_spm_tiny.model",
}
PROCESSES, RAMP_S = 4, 3.0


def run(bench: Bench, tell: Tell) -> None:
    """Serves the model as it would be served, and plays every number of sessions.

    Raises:
        FailedError: the worker does not start, a load cannot be played, or a frame went astray.
    """
    bench.release()
    with TemporaryDirectory(prefix="antiphon-served-") as name, (Path(name) / "worker.log").open("w+") as log:
        options = ("--device", bench.device, "--quantize", bench.quantize, "--kv-cache", "int8", "--drain", "1")
        model = with_a_codec(bench, Path(name) / bench.subject.directory.name)
        try:
            with worker_process.worker("--model", model, *options, "--slots", str(bench.slots), stderr=log) as worker:
                if bench.device == "cuda":
                    free, of_all = torch.cuda.mem_get_info()
                    tell(f"{bench.slots} slots: {(of_all - free) / 1e9:.1f} GB of the card's memory are taken")
                for sessions in bench.sessions:
                    play(worker.address, sessions, bench.seconds, Path(name) / "load.json", tell)
        except SystemExit:
            log.seek(0)
            said = log.read().strip().splitlines() or ["it said nothing"]
            raise FailedError(f"the worker did not start: {said[-1]}") from None


def with_a_codec(bench: Bench, folder: Path) -> Path:
    """The model's directory; one in `folder` with somebody's codec and tokenizer where it has none, as a random one."""
    directory = bench.subject.directory
    try:
        _ = directory.mimi, directory.tokenizer
    except CheckpointError:
        folder.mkdir()
        for file in bench.model.iterdir():
            if file.name not in ("config.json", "codec"):
                (folder / file.name).symlink_to(file.resolve())
        for file_name in NAMES.values():
            if not (folder / file_name).exists():
                (folder / file_name).symlink_to(SOMEBODYS / file_name)
        config = json.loads((bench.model / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | NAMES))
        return folder
    return bench.model


def play(address: str, sessions: int, seconds: float, figures: Path, tell: Tell) -> None:
    """Plays so many sessions, and tells what a frame took.

    Raises:
        FailedError: it cannot be played, or a frame went astray.
    """
    load = ["--sessions", sessions, "--seconds", seconds, "--processes", min(PROCESSES, sessions), "--ramp", RAMP_S]
    command = [sys.executable, "-m", "tools.load.load_test", "--server", address, *load, "--json", figures]
    limit_s = 3 * (seconds + RAMP_S + CONNECT_S) + 30
    try:
        ran = subprocess.run(
            [str(each) for each in command], capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise FailedError(f"a load of {sessions} sessions took longer than {limit_s:.0f} s") from None
    if ran.returncode:
        raise FailedError(f"a load of {sessions} sessions: {(ran.stderr.strip() or 'it failed').splitlines()[-1]}")
    found = json.loads(figures.read_text())
    trip, frames = found["round trip ms"], found["frames"]
    tell(
        f"{sessions:4} sessions: {found['finished']} finished, {found['errors'] or 'no errors'}; a frame's round trip "
        f"p50 {trip.get('p50')} ms, p99 {trip.get('p99')}; {frames['answered']} of {frames['sent']} frames answered",
        kind="load", sessions=sessions, finished=found["finished"], errors=found["errors"], p50_ms=trip.get("p50"),
        p99_ms=trip.get("p99"), sent=frames["sent"], answered=frames["answered"],
    )  # fmt: skip
    if astray := {what: frames[what] for what in ("lost", "repeated", "reordered", "foreign") if frames[what]}:
        raise FailedError(f"a load of {sessions} sessions: frames {astray}")
