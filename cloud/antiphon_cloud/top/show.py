"""Shows what was seen: a table for people at a terminal, lines for files and pipes, JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from rich.table import Table
from rich.text import Text

from antiphon.plain_text import plain_line
from antiphon_cloud.timing import STEP_BUDGET_MS
from antiphon_cloud.top.look import Look

COLUMNS = ("worker", "model", "state", "sessions", "free", "step p50", "p99", "late", "refused")
LATE = 0.01  # of the frames: more is heard
STYLES = {"serving": "green", "draining": "yellow", "starting": "yellow", "failed": "red"}


def cells(look: Look) -> tuple[str, ...]:
    """A worker's row."""
    status = look.status
    if status is None:
        return (look.address, "", plain_line(look.problem), *[""] * (len(COLUMNS) - 3))
    return (
        look.address,
        plain_line(status.model) or "…",
        status.state,
        f"{status.sessions}/{status.slots}",
        str(max(status.slots - status.sessions, 0)),
        f"{status.step_p50_ms:.1f} ms",
        f"{status.step_p99_ms:.1f} ms",
        f"{100 * look.late_share:.2f} %",
        str(status.refused),
    )


def table(looks: Sequence[Look]) -> Table:
    """All workers, and their sum."""
    known = [look.status for look in looks if look.status is not None]
    sessions, slots = sum(status.sessions for status in known), sum(status.slots for status in known)
    serving = sum(status.state == "serving" for status in known)
    made = Table(
        title=f"{serving} of {len(looks)} workers serve · {sessions} of {slots} slots taken",
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for name in COLUMNS:
        made.add_column(name, justify="left" if name in COLUMNS[:3] else "right", no_wrap=True, header_style="dim")
    for look in looks:
        row = [Text(cell) for cell in cells(look)]
        if look.status is None:
            row[2].stylize("red")
        else:
            row[2].stylize(STYLES[look.status.state])
            row[6].stylize("red" if look.status.step_p99_ms > STEP_BUDGET_MS else "")
            row[7].stylize("red" if look.late_share > LATE else "")
        made.add_row(*row)
    return made


def lines(looks: Sequence[Look]) -> str:
    """A line a worker, below the columns' names, tabs between."""
    rows = (tuple(name.replace(" ", "_") for name in COLUMNS), *map(cells, looks))
    return "\n".join("\t".join(row).rstrip("\t") for row in rows)


def as_json(looks: Sequence[Look]) -> str:
    """One line, an object a worker."""
    told = []
    for look in looks:
        status = {} if look.status is None else msgspec.to_builtins(look.status)
        problem = {"problem": look.problem} if look.problem else {}
        told.append({"address": look.address} | problem | status | {"late_share": round(look.late_share, 6)})
    return msgspec.json.encode(told).decode()
