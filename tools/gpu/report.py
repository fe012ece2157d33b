"""What a check finds, in a folder: each finding as it comes, and at the end a page to paste."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MACHINE = ("card", "driver", "torch", "triton")


class Report:
    """Keeps findings in `folder`: `found.jsonl`, `report.txt`, and once all is over `table.md`."""

    def __init__(self, folder: Path, subject: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._subject = subject
        self._found: list[dict[str, Any]] = []

    def add(self, found: dict[str, Any]) -> None:
        """Writes a finding down, and its text for people."""
        self._found.append(found)
        with (self.folder / "found.jsonl").open("a") as file:
            file.write(json.dumps(found) + "\n")
        if text := found.get("text"):
            print(text, flush=True)
            with (self.folder / "report.txt").open("a") as file:
                file.write(text + "\n")

    def finish(self) -> str:
        """The page, of all that came."""
        page = tables(self._found, self._subject)
        (self.folder / "table.md").write_text(page)
        return page


def tables(found: list[dict[str, Any]], subject: str) -> str:
    """Findings in Markdown: the machine, the steps, the loads, and how the stages ended."""
    of = {kind: [each for each in found if each["kind"] == kind] for kind in ("environment", "step", "load", "end")}
    machine = of["environment"][-1] if of["environment"] else {}
    lines = [", ".join(f"{what} {machine.get(what, 'unknown')}" for what in MACHINE) + f"; {subject}", ""]
    if of["step"]:
        lines += _table(
            ("batch", "keys and values", "mode", "p50 ms", "p99 ms", "GB/s", "of copies", "predicted ms"),
            [
                (s["batch"], s["cache"], s["mode"], f"{s['p50_ms']:.2f}", f"{s['p99_ms']:.2f}", f"{s['gb_s']:.0f}",
                 f"{s['of_copies']:.2f}", f"{s['predicted_ms']:.2f}")
                for s in of["step"]
            ],
        )  # fmt: skip
    if of["load"]:
        lines += _table(
            ("sessions through gRPC", "finished", "round trip p50 ms", "p99 ms", "frames answered"),
            [
                (o["sessions"], o["finished"], o["p50_ms"], o["p99_ms"], f"{o['answered']}/{o['sent']}")
                for o in of["load"]
            ],
        )
    ended = [(end["stage"], end["text"].removeprefix(f"== {end['stage']}: ")) for end in of["end"]]
    return "\n".join(lines + _table(("stage", "came to"), ended)[:-1]) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines] + [""]
