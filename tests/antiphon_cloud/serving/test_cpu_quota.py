"""CPU quotas of both versions of control groups, from files as the kernel writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antiphon_cloud.serving.cpu_quota import quota, usable_cpus


class Machine:
    """A fake /proc/self and the control groups that it leads to."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.mount = folder / "proc", folder / "sys fs"  # a space, which mountinfo escapes
        self.proc.mkdir()
        self._cgroup, self._mounts = "", ""

    def joins(self, line: str) -> None:
        self._cgroup += line + "\n"
        (self.proc / "cgroup").write_text(self._cgroup)

    def mounts(self, kind: str, root: str, name: str, options: str) -> Path:
        mount = self.mount / name
        mount.mkdir(parents=True, exist_ok=True)
        shown = str(mount).replace(" ", r"\040")
        self._mounts += f"32 31 0:29 {root} {shown} rw,relatime shared:7 master:1 - {kind} {kind} {options}\n"
        (self.proc / "mountinfo").write_text(self._mounts)
        return mount


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def second(folder: Path, limit: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(limit + "\n")


def first(folder: Path, quota_us: int, period_us: int = 100_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
    (folder / "cpu.cfs_period_us").write_text(f"{period_us}\n")


@pytest.mark.parametrize(
    ("limit", "wanted"),
    [("50000 100000", 0.5), ("300000 200000", 1.5), ("max 100000", None), ("", None), ("x y", None)],
)
def test_a_container_of_the_second_version_sees_its_own_group(
    limit: str, wanted: float | None, machine: Machine
) -> None:
    machine.joins("0::/")
    second(machine.mounts("cgroup2", "/", "cgroup", "rw,nsdelegate"), limit)
    assert quota(machine.proc) == wanted


def test_the_smallest_quota_along_the_path_counts(machine: Machine) -> None:
    machine.joins("0::/kubepods/pod1/worker")
    mount = machine.mounts("cgroup2", "/", "cgroup", "rw")
    for path, limit in (("kubepods/pod1/worker", "max 100000"), ("kubepods/pod1", "120000 100000"),
                        ("kubepods", "800000 100000")):  # fmt: skip
        second(mount / path, limit)
    assert quota(machine.proc) == 1.2


def test_a_container_of_the_first_version_sees_a_part_of_the_hierarchy(machine: Machine) -> None:
    machine.joins("4:memory:/docker/abc")
    machine.joins("3:cpu,cpuacct:/docker/abc/inner")
    machine.joins("2:cpuset:/elsewhere")
    machine.mounts("cgroup", "/docker/abc", "memory", "rw,memory")
    mount = machine.mounts("cgroup", "/docker/abc", "cpu,cpuacct", "rw,cpu,cpuacct")
    first(mount / "inner", -1)
    first(mount, 50_000)
    first(machine.mounts("cgroup", "/", "cpuset", "rw,cpuset") / "elsewhere", 1000)  # no limit of the cpu's hierarchy
    assert quota(machine.proc) == 0.5


@pytest.mark.parametrize("group", ["/outside/of/it", "/../../init"])
def test_a_group_that_the_mount_does_not_show_leaves_the_mount(group: str, machine: Machine) -> None:
    machine.joins(f"0::{group}")
    second(machine.mounts("cgroup2", "/docker/abc", "cgroup", "rw"), "150000 100000")
    assert quota(machine.proc) == 1.5


def test_both_versions_at_once_are_both_looked_at(machine: Machine) -> None:
    machine.joins("1:cpu:/a")
    machine.joins("0::/b")
    first(machine.mounts("cgroup", "/", "cpu", "rw,cpu") / "a", 250_000)
    second(machine.mounts("cgroup2", "/", "unified", "rw") / "b", "max 100000")
    assert quota(machine.proc) == 2.5


def test_without_control_groups_nothing_limits(machine: Machine) -> None:
    assert quota(machine.proc) is None
    machine.joins("garbage")
    (machine.proc / "mountinfo").write_text("garbage\n")
    assert quota(machine.proc) is None


@pytest.mark.parametrize(("limit", "wanted"), [("50000", 1), ("100000", 1), ("250000", 2), ("900000", 4), ("max", 4)])
def test_no_more_processors_than_can_be_busy_all_the_time(
    limit: str, wanted: int, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 3, 5, 7})
    machine.joins("0::/")
    second(machine.mounts("cgroup2", "/", "cgroup", "rw"), f"{limit} 100000")
    assert usable_cpus(machine.proc) == wanted
