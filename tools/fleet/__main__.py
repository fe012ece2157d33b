"""Plays a day of arrivals over the workers of three regions, and what can go wrong in one.

    python -m tools.fleet [--workers 10000] [--gpu H100 | --worker FILE.json] [--json OUT] [--plots FOLDER]

Prints a line of JSON for each case: days by policy and target (refusals, waiting, utilization, the cost of a session
hour, sessions that were moved); a crowd, by how long a worker takes to be ready; streams that break, with and without
resume affinity; and the loss of a region at the worst hour, by how its sessions go on. Figures of a worker are
predicted by the model of cost, or read from a file of measured ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tools.fleet.breaks import breaks
from tools.fleet.crowd import crowd
from tools.fleet.day import Day, Rules
from tools.fleet.demand import Demand
from tools.fleet.loss import Loss, Resume, lose_region
from tools.fleet.placement import POLICIES
from tools.fleet.plots import plot_day, plot_losses
from tools.fleet.worker import WorkerKind, measured, predicted

TARGET = 0.8
DAYS = (
    *(Rules(placement, TARGET) for placement in POLICIES),
    Rules(target=TARGET, hand_over=False),
    Rules(target=0.85),
    Rules(target=0.9),
)
CROWD_AT_S = 18 * 3600.0
READY_S = (30.0, 90.0, 300.0, 900.0)
BREAKS_AN_HOUR = (1.0, 6.0, 30.0)
SOON_S, SOON_SHARE = 5.0, 0.5  # the last 5 s in half of the time, the rest later
WHOLE = "the whole history first"
SOON = "the last 5 s first"


def play(kind: WorkerKind, workers: int, demand: Demand, rules: Rules, hours: float) -> Day:
    """A day."""
    day = Day(kind, workers, demand, rules)
    day.begin(0.0)
    day.play(0.0, hours * 3600)
    return day


def losses(kind: WorkerKind, workers: int, demand: Demand) -> Iterator[tuple[str, Resume, Loss]]:
    """Loses a region in every manner."""
    calm = replace(demand, crowd_at_s=None)
    for reserve in (0, kind.slots // 4, kind.slots // 2, kind.reserve):  # the last: all that fit while they are young
        for name, first_s, share in ((WHOLE, None, None), (SOON, SOON_S, SOON_SHARE)):
            resume = Resume(reserve, first_s, share)
            loss = lose_region(Day(kind, workers, calm, Rules(target=TARGET)), resume)
            yield f"{name}, {reserve} places in reserve", resume, loss


def main() -> None:
    """Plays what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--gpu", default="H100")
    parser.add_argument("--cost", type=float, default=2.5, help="of a worker's hour")
    parser.add_argument("--worker", type=Path, help="JSON of a worker's measured figures")
    parser.add_argument("--hours", type=float, default=24.0, help="of a day; 0 leaves the days out")
    parser.add_argument("--fill", type=float, default=0.9, help="sessions at the peak, of all slots at the target")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plots", type=Path, help="folder for fleet-day.webp and fleet-loss.webp")
    arguments = parser.parse_args()
    kind = measured(arguments.worker) if arguments.worker else predicted(arguments.gpu, arguments.cost)
    workers = arguments.workers
    demand = Demand(peak_sessions=arguments.fill * workers * kind.slots * TARGET, crowd_at_s=CROWD_AT_S)
    result: dict[str, Any] = {"worker": asdict(kind)}
    print(json.dumps(result), flush=True)

    def tell(about: str, figures: dict[str, Any]) -> None:
        result.setdefault(about, []).append(figures)
        print(json.dumps({about: figures}), flush=True)

    curves = {}
    for name, resume, loss in losses(kind, workers, demand):
        tell("losses", asdict(resume) | loss.figures())
        curves[name] = loss
    for per_hour in BREAKS_AN_HOUR:
        for found in (0.0, 1.0):
            tell("breaks", breaks(kind, per_hour, found))
    for ready_s in READY_S:
        tell("crowds", crowd(kind, workers, demand, Rules(target=TARGET), ready_s))
    track = []
    if arguments.hours:
        with ProcessPoolExecutor(arguments.processes) as pool:
            playing = [pool.submit(play, kind, workers, demand, rules, arguments.hours) for rules in DAYS]
            for future in playing:
                tell("days", future.result().outcome.figures(kind))
            track = playing[0].result().track
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.plots:
        title = f"{workers:,} machines in three regions, least request, target {TARGET:.0%}"
        if track:
            plot_day(track, title, arguments.plots / "fleet-day.webp")
        shown = {name: loss for name, loss in curves.items() if f" {kind.slots // 4} " not in name}
        plot_losses(shown, arguments.plots / "fleet-loss.webp")


if __name__ == "__main__":
    main()
