"""The end-to-end test of installed distributions: digits in, digits out, by the commands that users run."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
from pathlib import Path

import soundfile

from tools.clerk.train.data.examples import PERIOD_S, TEST
from tools.harness.worker_process import worker
from tools.release.distributions import ReleaseError

UTTERANCE = 7  # of the number clerk's test: four digits
TIMEOUT_S = 300.0  # for a conversation of 9 s, on the busiest machine
LOUD = 0.01  # of full scale: speech is louder at its loudest


def converse(worker_programs: Path, edge_programs: Path, scratch: Path) -> str:
    """Says digits to a worker, looks at the page of a gateway before it, and returns the sentence of its answer.

    Args:
        worker_programs: the folder of the commands of a worker.
        edge_programs: the folder of the commands of an edge and a gateway, which may be another installation.
        scratch: a folder to work in; nothing of the checkout can be imported from there.

    Raises:
        ReleaseError: the worker answers something else, its answer has no sound, or the gateway has no page.
    """
    digits, environment = _say_digits(scratch / "digits.wav"), _bare_environment(scratch)
    patient = ("--threads", "1", "--step-budget", "1e9")
    serve, gateway = (worker_programs / "antiphon-cloud", "serve"), (edge_programs / "antiphon-gateway", "serve")
    with worker(*patient, program=serve, cwd=scratch, env=environment) as clerk:
        talk = ["talk", "--server", clerk.address, "--as-fast-as-possible"]
        files = ["--input-wav", "digits.wav", "--output-wav", "reply.wav"]
        said = subprocess.run(
            [edge_programs / "antiphon-edge", *talk, *files],
            check=False,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=scratch,
            env=environment,
        )
        with worker("--server", clerk.address, program=gateway, cwd=scratch, env=environment) as doors:
            _look_at_page(doors.address)
    answer = " ".join(re.findall("[a-z]+", said.stdout))
    if f"you said {digits}" not in answer:
        raise ReleaseError(f"the number clerk was told {digits}, and answered: {said.stdout}{said.stderr}")
    reply, _ = soundfile.read(scratch / "reply.wav")
    if abs(reply).max() < LOUD:
        raise ReleaseError("the number clerk's answer is silence")
    return f"you said {digits}"


def _look_at_page(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    connection.request("GET", "/")
    page = connection.getresponse().read()
    connection.close()
    if b"<html" not in page:
        raise ReleaseError("the gateway serves something else than its page")


def _say_digits(path: Path) -> str:
    """Writes one of the test's people as a wav file, and returns what they say."""
    words = json.loads(TEST.with_suffix(".json").read_text())[UTTERANCE]
    samples, rate = soundfile.read(TEST.with_suffix(".flac"), dtype="float32")
    length = int(PERIOD_S * rate) // 1920 * 1920
    soundfile.write(path, samples[UTTERANCE * length :][:length], rate)
    return " ".join(text for _, _, text in words)


def _bare_environment(home: Path) -> dict[str, str]:
    """This process' environment without what leads back to the checkout, or to the settings of whoever runs this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANTIPHON_", "PYTHON"))}
    return kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "OMP_NUM_THREADS": "1"}
