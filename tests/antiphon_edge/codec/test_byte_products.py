"""What /proc/cpuinfo says of an x86 processor's byte products."""

from pathlib import Path

import pytest

from antiphon_edge.codec.byte_products import has_vnni


@pytest.mark.parametrize(
    ("flags", "found"),
    [("avx2 avx512f avx512_vnni fsrm", True), ("avx2 avx_vnni", True), ("avx2 avx512f avx512bw", False), ("", False)],
)
def test_vnni_is_read_from_the_flags(tmp_path: Path, flags: str, found: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: Some CPU avx_vnni\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n")
    assert has_vnni(cpuinfo) is found


def test_a_processor_that_nobody_describes_has_none(tmp_path: Path) -> None:
    assert has_vnni(tmp_path / "none") is False
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert has_vnni(tmp_path / "arm") is False
