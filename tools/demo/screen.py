"""Draws a conversation as its person saw it on the terminal, from the events that `talk --json-lines` printed.

antiphon-edge talk --json-lines > talk.jsonl
python -m tools.demo.screen talk.jsonl docs/screen.svg [--until SECONDS]
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.terminal_theme import MONOKAI

from antiphon_edge.view import events
from antiphon_edge.view.screen import Screen

COLUMNS = 90
FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # would be loaded from somewhere else


def draw(lines: bytes, until_s: float = float("inf")) -> str:
    """The screen after the events of the first `until_s` seconds, as SVG; the end of the conversation is left out."""
    console = Console(file=io.StringIO(), width=COLUMNS, record=True, force_terminal=False, highlight=False)
    levels: tuple[float | None, float | None] = (None, None)
    screen = Screen(lambda: levels, console)
    for line in lines.splitlines():
        at_s, event = msgspec.json.decode(line)["at_s"], decode(line)
        if at_s > until_s or isinstance(event, events.Ended):
            break
        if isinstance(event, events.Status):
            levels = event.microphone_dbfs, event.speaker_dbfs
        screen.show(event, at_s)
    console.print(screen.draw())
    picture = console.export_svg(title="antiphon-edge talk", theme=MONOKAI, unique_id="antiphon")
    return FONT_FACE.sub("", picture)


def decode(line: bytes) -> events.Event:
    """The event of a line."""
    kinds = {kind.__name__.lower(): kind for kind in events.Event.__subclasses__()}
    fields = msgspec.json.decode(line)
    return msgspec.convert(fields, kinds[fields["event"]])


@click.command(help=__doc__)
@click.argument("lines", type=click.File("rb"))
@click.argument("picture", type=click.Path(path_type=Path))
@click.option("--until", "until_s", type=float, default=float("inf"), help="Leave out what came later, in seconds.")
def main(lines: io.BufferedReader, picture: Path, until_s: float) -> None:
    """Writes the picture."""
    picture.write_text(draw(lines.read(), until_s))


if __name__ == "__main__":
    main()
