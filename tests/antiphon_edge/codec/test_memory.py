"""Which of a process's memory becomes huge pages."""

from antiphon_edge.codec.memory import huge_ranges, settle_memory

MIB = 1 << 20


def mapping(start: int, size: int, rss: int, kind: str = "rw-p", name: str = "") -> str:
    head = f"{start:x}-{start + size:x} {kind} 00000000 00:00 0 {name}".rstrip()
    return f"{head}\nSize: {size >> 10} kB\nRss: {rss >> 10} kB\nVmFlags: rd wr mr mw me ac"


def found(*mappings: str) -> list[tuple[int, int]]:
    return list(huge_ranges("\n".join(mappings), 2 * MIB))


def test_whole_pages_of_memory_in_use() -> None:
    assert found(mapping(3 * MIB, 6 * MIB, 6 * MIB)) == [(4 * MIB, 4 * MIB)]
    assert found(mapping(4 * MIB, 4 * MIB, 4 * MIB, name="[heap]")) == [(4 * MIB, 4 * MIB)]


def test_nothing_that_is_small_shared_named_or_mostly_unused() -> None:
    assert found(mapping(3 * MIB, 2 * MIB, 2 * MIB)) == []
    assert found(mapping(4 * MIB, 8 * MIB, 8 * MIB, kind="rw-s")) == []
    assert found(mapping(4 * MIB, 8 * MIB, 8 * MIB, kind="r--p")) == []
    assert found(mapping(4 * MIB, 8 * MIB, 8 * MIB, name="/usr/lib/libm.so")) == []
    assert found(mapping(4 * MIB, 8 * MIB, 7 * MIB)) == []


def test_a_mapping_is_not_taken_for_the_one_before() -> None:
    assert found(mapping(4 * MIB, 4 * MIB, 0), mapping(16 * MIB, 2 * MIB, 2 * MIB)) == [(16 * MIB, 2 * MIB)]


def test_settling_twice_changes_no_content() -> None:
    kept = bytearray(b"weights!" * MIB)
    settle_memory()
    settle_memory()
    assert kept == b"weights!" * MIB
