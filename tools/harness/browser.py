"""Chromium without a screen, whose microphone is a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as OverdueError

CHROMIUM = "chromium"
PATIENCE_MS = 60_000  # for what a busy machine is slow with
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)


def missing() -> str | None:
    """What keeps the browser from running here, in a sentence; None if nothing does."""
    if shutil.which(CHROMIUM) is None:
        return f"{CHROMIUM} is needed: tools/setup/install_browser.sh"
    return None


@contextmanager
def browser(microphone: Path | None = None) -> Iterator[Browser]:
    """The browser, until the block ends; its microphone repeats a wav file, or beeps."""
    said = [] if microphone is None else [f"--use-file-for-fake-audio-capture={microphone}"]
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=shutil.which(CHROMIUM), args=[*ARGUMENTS, *said])
        yield launched
        launched.close()


class Visit:
    """One visit to the gateway's page.

    Args:
        page: of a context of its own.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        """Where anything was asked for."""
        self.errors: list[str] = []
        """What went wrong in the page's own code."""
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda socket: self.requests.append(socket.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.extend([said.text] if said.type == "error" else []))

    @property
    def state(self) -> str:
        """What the page says of itself."""
        return self.page.inner_text("#state")

    @property
    def transcript(self) -> str:
        """What was said."""
        return self.page.inner_text("#transcript")

    def level(self, whose: str) -> float:
        """Decibels below full scale that a meter shows."""
        return float(self.page.locator(f"#{whose}").evaluate("meter => meter.value"))

    def reaches(self, state: str) -> None:
        """Waits for a state of the page."""
        self.page.wait_for_selector(f"body[data-state={state}]")

    def reads(self, text: str) -> None:
        """Waits for a text in the transcript."""
        try:
            self.page.locator("#transcript", has_text=text).wait_for()
        except OverdueError as error:
            shown = self.page.inner_text("main")
            raise AssertionError(f"{text!r} has not come; the page shows {shown!r}, errors {self.errors}") from error

    def talk(self) -> None:
        """Presses the button, and waits for the session."""
        self.reaches("idle")
        self.page.click("#talk")
        self.reaches("talking")


@contextmanager
def visit(chromium: Browser, address: str, script: str = "", **context: Any) -> Iterator[Visit]:
    """A visit, until the block ends.

    Args:
        chromium: the browser.
        address: HOST:PORT of the gateway.
        script: run before the page's own.
        context: as Playwright has it, such as `viewport` and `color_scheme`.
    """
    opened = chromium.new_context(**context)
    try:
        visiting = Visit(opened.new_page())
        visiting.page.add_init_script(script)
        visiting.page.goto(f"http://{address}/")
        yield visiting
    finally:
        opened.close()
