"""Takes the pictures of what an operator sees: the page on a worker's operators' port, and `antiphon-cloud top`.

    python -m tools.demo.sight docs/status.png docs/top.svg ADDRESS... [--seconds 60]

Watches the workers at the addresses for a while first, so that the page's lines have something to show. Needs Chromium
(tools/setup/install_browser.sh).
"""

from __future__ import annotations

import io
import time
from pathlib import Path

import click
from rich.console import Console
from rich.terminal_theme import MONOKAI

from antiphon_cloud.top.look import Watcher
from antiphon_cloud.top.show import table
from tools.demo.screen import FONT_FACE
from tools.harness.browser import browser, visit

COLUMNS = 106
VIEW = {"width": 900, "height": 300}


@click.command(help=__doc__)
@click.argument("page", type=click.Path(path_type=Path))
@click.argument("top", type=click.Path(path_type=Path))
@click.argument("addresses", nargs=-1, required=True)
@click.option("--seconds", type=float, default=60.0, help="Watch for so long first.")
def main(page: Path, top: Path, addresses: tuple[str, ...], seconds: float) -> None:
    """Takes both."""
    watcher = Watcher(addresses)
    watcher.look()
    with browser() as chromium, visit(chromium, addresses[0], viewport=VIEW, color_scheme="dark") as visiting:
        time.sleep(seconds)
        visiting.page.locator("#state", has_text="serving").wait_for()
        visiting.page.screenshot(path=page)
    console = Console(file=io.StringIO(), width=COLUMNS, record=True, force_terminal=False, highlight=False)
    console.print(table(watcher.look()))
    picture = console.export_svg(title="antiphon-cloud top", theme=MONOKAI, unique_id="antiphon-top")
    top.write_text(FONT_FACE.sub("", picture))


if __name__ == "__main__":
    main()
