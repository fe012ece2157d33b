"""The soak tells what grows from what only moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tools.load.soak import MEMORY_GROWTH_KIB, SAMPLES, Footprint, grown, growth

FLAT = Footprint(70_000, 26, 18)


def verdict(at: Callable[[int], Footprint]) -> list[str]:
    return grown(growth([at(sample) for sample in range(SAMPLES)], frames=1000))


def test_what_is_flat_or_warms_up_or_moves_for_a_moment_has_not_grown() -> None:
    assert verdict(lambda sample: FLAT) == []
    assert verdict(lambda sample: Footprint(70_000 if sample > 5 else 50_000, 26, 18)) == []
    assert verdict(lambda sample: Footprint(70_000, 26 + sample % 2, 18 + (sample == 50))) == []


@pytest.mark.parametrize(
    ("part", "leak"),
    [("memory_kib", 1.5 * MEMORY_GROWTH_KIB / SAMPLES), ("open_files", 0.05), ("tasks", 0.05)],
)
def test_a_leak_is_named(part: str, leak: float) -> None:
    def at(sample: int) -> Footprint:
        values = {name: getattr(FLAT, name) for name in Footprint.__slots__}
        return Footprint(**values | {part: values[part] + int(leak * sample)})

    assert verdict(at) == [part]
