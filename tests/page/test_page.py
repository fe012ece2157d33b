"""The gateway's page in a browser: it hears, shows, survives, and is for everybody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge.transport.channel import open_channel
from tests.support.commands import run, worker
from tests.support.gateways import Utterance, served_gateway
from tests.support.ports import unused_address
from tools import ROOT
from tools.harness.browser import Visit, visit
from tools.harness.worker_process import Worker

AXE = ROOT / "gateway/page/node_modules/axe-core/axe.min.js"
WIDTHS = (320, 390, 1280)  # the narrowest phone, a phone, a screen


def test_digits_that_are_spoken_come_back_in_the_transcript(answered: Visit, utterance: Utterance) -> None:
    assert utterance.answer in answered.transcript
    assert answered.errors == []


def test_it_shows_the_model_and_how_it_goes(answered: Visit) -> None:
    assert answered.page.inner_text("#model") == "number-clerk"
    assert re.fullmatch(r"\d+ ms", answered.page.inner_text("#round-trip"))
    assert re.fullmatch(r"\d+ ms", answered.page.inner_text("#lag"))


@pytest.mark.parametrize("whose", ["microphone", "speaker"])
def test_it_shows_how_loud_both_are(answered: Visit, whose: str) -> None:
    while answered.level(whose) < -40:
        answered.page.wait_for_timeout(20)


def test_nothing_is_asked_of_another_host(answered: Visit, served: Worker) -> None:
    hosts = {url.split("/")[2] for url in answered.requests if not url.startswith(("data:", "blob:"))}
    assert hosts == {served.address}
    assert any("/v1/codec/encoder.onnx?sha256=" in url for url in answered.requests), "the worker's count, too"


def test_a_muted_microphone_is_silence_to_the_model(here: Visit) -> None:
    here.reaches("idle")
    here.page.click("#talk")
    here.reaches("talking")
    here.page.keyboard.press("m")
    mute = here.page.locator("#mute")
    assert mute.get_attribute("aria-pressed") == "true"
    while here.level("microphone") > -60:
        here.page.wait_for_timeout(20)
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
def test_it_fits_and_anybody_can_use_it(chromium: Browser, served: Worker, scheme: str) -> None:
    with visit(chromium, served.address, color_scheme=scheme, bypass_csp=True) as here:
        here.talk()
        here.reads("ready")
        ground = here.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(22, 24, 28)") is (scheme == "dark")
        here.page.add_script_tag(path=AXE)
        for width in WIDTHS:
            here.page.set_viewport_size({"width": width, "height": 640})
            room = here.page.evaluate("document.documentElement.clientWidth")
            assert here.page.evaluate("document.documentElement.scrollWidth") == room
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
    with (
        served_gateway(",".join(each.address for each in two_workers)) as gateway,
        visit(chromium, gateway.address) as here,
    ):
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
        first = stack.enter_context(served_gateway(clerk.address, "--listen", address))
        here = stack.enter_context(visit(chromium, address))
        here.talk()
        here.reads("ready")
        first.kill()
        here.reaches("reconnecting")
        assert here.state.startswith("Reconnecting: ")
        with served_gateway(clerk.address, "--listen", address):
            here.page.locator("#state", has_text="resumed after").wait_for()
            here.reads(utterance.answer)


def test_a_gateway_with_keys_asks_for_one_and_each_call_takes_a_token(
    chromium: Browser, clerk: Worker, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    key = run("antiphon-cloud", "make-key", "kitchen", "--api-keys", keys).out.strip()
    with (
        served_gateway(clerk.address, "--api-keys", keys) as gateway,
        visit(chromium, gateway.address) as here,
    ):
        here.reaches("locked")
        here.page.fill("#key", "antiphon_wrong")
        here.page.keyboard.press("Enter")
        here.page.locator("#state", has_text="does not know").wait_for()
        here.page.fill("#key", key)
        here.page.keyboard.press("Enter")
        here.talk()
        here.reads("ready")


def test_what_the_person_says_is_written_down_where_there_is_a_transcriber(
    chromium: Browser, clerk: Worker, golden: Path, tiny_codec: Path
) -> None:
    with (
        worker("--model", golden / "stt-tiny", "--codec", tiny_codec) as listener,
        served_gateway(clerk.address, "--transcriber", listener.address) as gateway,
        visit(chromium, gateway.address) as here,
    ):
        here.talk()
        here.reads("You")
        here.reads("Model")


def test_voice_and_persona_are_the_workers_and_what_it_refuses_is_said_in_its_words(
    chromium: Browser, golden: Path, tiny_codec: Path
) -> None:
    with (
        worker("--model", golden / "personaplex-tiny", "--codec", tiny_codec) as several,
        served_gateway(several.address) as gateway,
        visit(chromium, gateway.address) as here,
    ):
        here.reaches("idle")
        here.page.select_option("#voice", "TINY")
        here.page.fill("#persona", "hello moshi " * 1000)
        here.page.click("#talk")
        here.page.locator("#state", has_text="open.prompt.text: ").wait_for()
        here.page.fill("#persona", "hello moshi listens and speaks")
        here.talk()
        assert here.page.locator("#voice").is_disabled()


def test_a_gateway_that_is_away_is_said_in_a_sentence(chromium: Browser, clerk: Worker) -> None:
    with served_gateway(clerk.address) as gateway, visit(chromium, gateway.address) as here:
        here.reaches("idle")
        gateway.kill()
        here.page.click("#talk")
        here.page.locator("#state", has_text="The gateway does not answer").wait_for()
        here.reaches("idle")


def test_a_microphone_that_is_not_allowed_is_said_in_a_sentence(here: Visit) -> None:
    here.reaches("idle")
    refusal = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    here.page.evaluate(f"void ({refusal})")
    here.page.click("#talk")
    here.page.locator("#state", has_text="allow it in the browser's address bar").wait_for()
