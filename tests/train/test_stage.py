import argparse
from pathlib import Path

import pytest

from antiphon.errors import AntiphonError
from tools.clerk.train import ranks
from tools.clerk.train.stage import fingerprint, positive, run


def fails(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AntiphonError("no shards in /there"), "lm: no shards in /there"),
        (FileNotFoundError(2, "No such file or directory", "/there/train.npz"), "lm: /there/train.npz: No such file"),
        (KeyboardInterrupt(), "lm: interrupted"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(error: BaseException, sentence: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: fails(error), "lm")
    assert str(ended.value.code).startswith(sentence)


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: fails(ZeroDivisionError()), "lm")


def test_counts_are_at_least_one() -> None:
    assert positive("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="0 is less than 1"):
        positive("0")


def test_a_file_is_told_from_another(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"codec")
    other.write_bytes(b"codes")
    assert len(fingerprint(one)) == 16
    assert fingerprint(one) != fingerprint(other)
    other.write_bytes(b"codec")
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("rank", [2, -1])
def test_a_rank_that_is_none_of_the_processes_is_refused(rank: int) -> None:
    parser = argparse.ArgumentParser()
    ranks.add_arguments(parser)
    arguments = parser.parse_args(["--rank", str(rank), "--ranks", "2"])
    with pytest.raises(AntiphonError, match=f"--rank {rank}: the last of 2 is 1"), ranks.meeting(arguments):
        pass
