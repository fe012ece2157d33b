"""The page on the operators' port in a browser: it shows how a server is, by itself, and asks nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import pytest
from playwright.sync_api import Browser
from prometheus_client import CollectorRegistry

from antiphon.serving.monitor import Monitor
from antiphon.serving.status import Status
from tests.page.test_page import AXE, WIDTHS
from tools.harness.browser import visit

CLERK = Status(
    "worker",
    "serving",
    version="1.2.3",
    model="number-clerk",
    sessions=3,
    slots=8,
    step_p50_ms=12.34,
    step_p99_ms=71.5,
    frames=123_456,
    late=1234,
    refused=7,
)


@dataclass
class Operated:
    """A server's port, and what it says of itself."""

    status: Status = CLERK
    address: str = ""
    monitor: Monitor = field(init=False)

    def __post_init__(self) -> None:
        self.monitor = Monitor("127.0.0.1:0", CollectorRegistry(), {}, lambda: self.status)
        self.address = self.monitor.start()


@pytest.fixture
def operated() -> Iterator[Operated]:
    running = Operated()
    yield running
    running.monitor.stop()


def test_it_shows_model_state_slots_step_times_and_counts(chromium: Browser, operated: Operated) -> None:
    with visit(chromium, operated.address) as shown:
        page = shown.page
        page.locator("#model", has_text="number-clerk").wait_for()
        text = {name: page.inner_text(f"#{name}") for name in ("state", "version", "sessions", "slots", "p50", "p99")}
        assert text == {
            "state": "serving",
            "version": "1.2.3",
            "sessions": "3",
            "slots": "8",
            "p50": "12.3",
            "p99": "71.5",
        }
        counts = [page.inner_text(f"#{name}") for name in ("frames", "late", "refused")]
        assert counts == ["123,456", "1,234 (1.00 %)", "7"]
        assert page.title() == "3/8 · Antiphon"
        assert shown.errors == []


def test_it_is_refreshed_by_itself_and_says_when_the_server_is_gone(chromium: Browser, operated: Operated) -> None:
    with visit(chromium, operated.address) as shown:
        shown.page.locator("#state", has_text="serving").wait_for()
        operated.status = msgspec.structs.replace(CLERK, state="draining", sessions=1)
        shown.page.locator("#state", has_text="draining").wait_for()
        assert shown.page.inner_text("#sessions") == "1"
        points = shown.page.locator("#sessions-line polyline").get_attribute("points")
        assert points is not None
        assert len(points.split()) >= 2
        operated.monitor.stop()
        shown.page.locator("#problem", has_text="No answer").wait_for()
        assert shown.page.inner_text("#sessions") == "1"


def test_a_gateway_has_no_steps(chromium: Browser, operated: Operated) -> None:
    operated.status = Status("gateway", "serving", model="number-clerk", slots=64)
    with visit(chromium, operated.address) as shown:
        shown.page.locator("#kind", has_text="gateway").wait_for()
        assert shown.page.is_hidden("#steps")


def test_it_asks_no_other_host_and_no_script_of_another_would_run(chromium: Browser, operated: Operated) -> None:
    with visit(chromium, operated.address) as shown:
        shown.page.locator("#state", has_text="serving").wait_for()
        hosts = {url.split("/")[2] for url in shown.requests if not url.startswith("data:")}
        assert hosts == {operated.address}
        ran = "new Promise(done => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        shown.page.evaluate(ran + "document.head.append(s); setTimeout(done, 0) })")
        assert shown.page.evaluate("window.ran === undefined")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_is_for_everybody_dark_and_light_on_every_width(chromium: Browser, operated: Operated, scheme: str) -> None:
    with visit(chromium, operated.address, color_scheme=scheme, bypass_csp=True) as shown:
        page = shown.page
        page.locator("#state", has_text="serving").wait_for()
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(20, 23, 28)") is (scheme == "dark")
        page.add_script_tag(path=AXE)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 640})
            room = page.evaluate("document.documentElement.clientWidth")
            assert page.evaluate("document.documentElement.scrollWidth") == room
            found = page.evaluate("axe.run().then(({ violations }) => violations.map(({ help }) => help))")
            assert found == []
