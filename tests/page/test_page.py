"""The gateway's page in a browser: it hears, shows, survives, and is for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser

from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.channel import open_channel
from tests.support.browsers import Visit, visit
from tests.support.commands import worker
from tests.support.gateways import Utterance, served_gateway
from tests.support.ports import unused_address
from tools import ROOT
from tools.harness.worker_process import Worker

AXE = ROOT / "edge/page/node_modules/axe-core/axe.min.js"
PHONE = {"width": 360, "height": 640}
NARROWEST = {"width": 320, "height": 568}


def test_digits_that_are_spoken_come_back_in_the_transcript(here: Visit, utterance: Utterance) -> None:
    here.talk()
    here.reads(utterance.answer)
    assert here.page.inner_text("#model") == "number-clerk"
    assert here.page.inner_text("#round-trip").endswith(" ms")
    assert here.errors == []


def test_both_levels_are_shown(here: Visit) -> None:
    here.talk()
    for name in ("microphone", "speaker"):
        here.page.wait_for_selector(f"#{name}")
        level = here.page.locator(f"#{name}")
        while float(level.evaluate("meter => meter.value")) < -40:
            here.page.wait_for_timeout(50)


def test_nothing_is_asked_of_another_host(here: Visit, served: Worker, utterance: Utterance) -> None:
    here.talk()
    here.reads("you")
    hosts = {url.split("/")[2] for url in here.requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {served.address}


def test_a_muted_microphone_is_silence_to_the_model(here: Visit) -> None:
    here.reaches("idle")
    here.page.click("#talk")
    here.reaches("talking")
    here.page.keyboard.press("m")
    mute = here.page.locator("#mute")
    assert mute.get_attribute("aria-pressed") == "true"
    here.page.wait_for_selector("#microphone")
    while float(here.page.locator("#microphone").evaluate("meter => meter.value")) > -60:
        here.page.wait_for_timeout(50)
    here.page.keyboard.press("m")
    assert mute.get_attribute("aria-pressed") == "false"
    here.reads("you")


def test_the_keyboard_alone_is_enough(here: Visit) -> None:
    here.reaches("idle")
    here.page.keyboard.press("Tab")
    assert here.page.evaluate_handle("document.activeElement").get_property("id").json_value() == "talk"
    here.page.keyboard.press("Enter")
    here.reaches("talking")
    here.page.keyboard.press("Escape")
    here.reaches("idle")
    assert here.state == "Stopped."
    here.page.keyboard.press("Space")
    here.reaches("talking")


def test_a_talk_can_be_begun_again_at_once(here: Visit, utterance: Utterance) -> None:
    for _ in range(3):
        here.talk()
        here.page.click("#talk")
    here.talk()
    here.reads(utterance.answer)
    assert here.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, NARROWEST, {"width": 1280, "height": 800}], ids=str)
def test_it_fits_and_anybody_can_use_it(
    chromium: Browser, served: Worker, viewport: dict[str, int], scheme: str
) -> None:
    with visit(chromium, served.address, viewport=viewport, color_scheme=scheme, bypass_csp=True) as here:
        here.talk()
        here.reads("ready")
        wide = here.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0
        ground = here.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(22, 24, 28)") is (scheme == "dark")
        here.page.add_script_tag(path=AXE)
        found = here.page.evaluate("axe.run().then(({ violations }) => violations.map(({ help }) => help))")
        assert found == []


def sessions(of: Worker) -> int:
    """How many sessions a worker has."""

    async def ask() -> int:
        async with open_channel(of.address) as stub:
            told: pb.GetModelResponse = await stub.GetModel(pb.GetModelRequest())
            return told.load.sessions

    with ThreadPoolExecutor(1) as thread:  # Playwright has the event loop of this one
        return thread.submit(lambda: asyncio.run(ask())).result()


@pytest.fixture
def two_workers() -> Iterator[tuple[Worker, Worker]]:
    with worker() as first, worker() as second:
        yield first, second


def test_a_worker_that_dies_in_mid_talk_is_replaced_and_the_talk_goes_on(
    chromium: Browser, two_workers: tuple[Worker, Worker], utterance: Utterance
) -> None:
    with served_gateway(*(each.address for each in two_workers)) as gateway, visit(chromium, gateway.address) as here:
        here.talk()
        here.reads("ready")
        (busy,) = (each for each in two_workers if sessions(each))
        busy.kill()
        here.page.locator("#state", has_text="resumed after").wait_for()
        here.reads(utterance.answer)


def test_a_gateway_that_restarts_in_mid_talk_is_waited_for_and_the_talk_goes_on(
    chromium: Browser, clerk: Worker, utterance: Utterance
) -> None:
    address = unused_address()
    with ExitStack() as stack:
        first = stack.enter_context(served_gateway(clerk.address, listen=address))
        here = stack.enter_context(visit(chromium, address))
        here.talk()
        here.reads("ready")
        first.kill()
        here.reaches("reconnecting")
        assert here.state.startswith("Reconnecting: ")
        with served_gateway(clerk.address, listen=address):
            here.page.locator("#state", has_text="resumed after").wait_for()
            here.reads(utterance.answer)


def test_a_gateway_that_is_away_is_said_in_a_sentence(chromium: Browser, clerk: Worker) -> None:
    with served_gateway(clerk.address) as gateway, visit(chromium, gateway.address) as here:
        here.reaches("idle")
        gateway.kill()
        here.page.click("#talk")
        here.page.locator("#state", has_text="The connection was lost.").wait_for()
        here.reaches("idle")


def test_a_microphone_that_is_not_allowed_is_said_in_a_sentence(here: Visit) -> None:
    here.reaches("idle")
    refusal = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    here.page.evaluate(f"void ({refusal})")
    here.page.click("#talk")
    here.page.locator("#state", has_text="allow it in the browser's address bar").wait_for()
