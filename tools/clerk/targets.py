"""What the number clerk is to reach, by row and figure of the evaluation."""

from __future__ import annotations

from collections.abc import Mapping

TARGETS: dict[tuple[str, str], tuple[str, float]] = {
    ("natural voices", "exact text %"): ("≥", 95),
    ("natural voices", "digits understood from the sound %"): ("≥", 95),
    ("natural voices", "median delay s"): ("≤", 0.65),
    ("humans", "exact text %"): ("≥", 85),
    ("natural voices, other words", "false starts %"): ("≤", 5),
    ("natural voices, numbers in a sentence", "false starts %"): ("≤", 5),
    ("recordings of other words", "false starts %"): ("≤", 5),
    ("natural voices, after other words", "exact text %"): ("≥", 85),
    ("natural voices, between other words", "exact text %"): ("≥", 85),
    ("noise", "false starts %"): ("≤", 1),
    ("desktop sounds", "false starts %"): ("≤", 5),
    ("interrupted", "stopped within 0.5 s %"): ("≥", 95),
    ("interrupted by natural voices", "stopped within 0.5 s %"): ("≥", 95),
    ("its own voice at -20 dB", "answers itself %"): ("≤", 2),
    ("its own voice at -20 dB", "exact text %"): ("≥", 90),
}


def compared(table: Mapping[str, Mapping[str, object]]) -> list[str]:
    """A line for each target whose row was measured: the figure, the target, and whether it is met."""
    lines = []
    for (row, figure), (relation, target) in TARGETS.items():
        value = table.get(row, {}).get(figure)
        if not isinstance(value, int | float):
            continue
        met = value >= target if relation == "≥" else value <= target
        lines.append(f"{row}, {figure}: {value} ({relation} {target}: {'met' if met else 'missed'})")
    return lines
