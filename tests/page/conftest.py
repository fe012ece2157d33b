"""A gateway before the number clerk, and Chromium before the gateway.

All of it ends with its module: Playwright keeps an event loop in this thread, beside which no other can run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import soundfile
from playwright.sync_api import Browser

from tests.support.commands import worker
from tests.support.gateways import RATE_HZ, Utterance, served_gateway, utterances
from tools.harness.browser import Visit, browser, missing, visit
from tools.harness.worker_process import Worker

SAID = 2  # of the utterances: "seven five seven"


@pytest.fixture(scope="module")
def utterance() -> Utterance:
    """What the person before the browser says, again and again."""
    return utterances()[SAID]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory, utterance: Utterance) -> Iterator[Browser]:
    """Chromium whose microphone repeats the utterance. Skips where it cannot be had; fails in CI."""
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    wav = tmp_path_factory.mktemp("microphone") / "said.wav"
    soundfile.write(wav, utterance.samples, RATE_HZ, subtype="PCM_16")
    with browser(wav) as running:
        yield running


@pytest.fixture(scope="module")
def clerk() -> Iterator[Worker]:
    """A worker that serves the number clerk."""
    with worker() as started:
        yield started


@pytest.fixture(scope="module")
def served(clerk: Worker) -> Iterator[Worker]:
    """A gateway before it."""
    with served_gateway(clerk.address) as started:
        yield started


@pytest.fixture(scope="module")
def answered(chromium: Browser, served: Worker, utterance: Utterance) -> Iterator[Visit]:
    """A visit whose person was answered; the talk goes on."""
    with visit(chromium, served.address) as visiting:
        visiting.talk()
        visiting.reads(utterance.answer)
        yield visiting


@pytest.fixture
def here(chromium: Browser, served: Worker) -> Iterator[Visit]:
    """A visit to the gateway's page."""
    with visit(chromium, served.address) as visiting:
        yield visiting
