import sys
from itertools import pairwise
from pathlib import Path

import pytest

from antiphon.errors import AntiphonError
from tools.clerk.train.recipe import FROM_NOTHING, FROM_PACKAGE, Stage, carry_out, main, stages

NAMES = ["speech", "natural", "encoder", "held-out", "conversations", "decoder", "lm0", "lm1", "pack"]


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def options(command: tuple[str, ...]) -> dict[str, str]:
    """The command's options with their values."""
    return {name: value for name, value in pairwise(command) if name.startswith("--")}


def test_the_stages_follow_each_other_from_clips_to_a_model(tmp_path: Path) -> None:
    assert [stage.name for stage in stages(tmp_path, FROM_NOTHING, 2, 0)] == NAMES


def test_work_is_shared_by_processes_without_gaps(tmp_path: Path) -> None:
    made = {stage.name: stage.commands for stage in stages(tmp_path, FROM_NOTHING, 3, 0)}
    for name, count, total in (
        ("natural", "--speakers", FROM_NOTHING.speakers),
        ("conversations", "--shards", FROM_NOTHING.shards),
    ):
        parts = [(int(options(part)["--first"]), int(options(part)[count])) for part in made[name]]
        assert [first for first, _ in parts] == [sum(n for _, n in parts[:i]) for i in range(3)]
        assert sum(n for _, n in parts) == total
    for name in ("encoder", "decoder", "lm0"):
        assert [options(rank)["--rank"] for rank in made[name]] == ["0", "1", "2"]


def test_from_the_package_every_trained_part_starts_from_it(tmp_path: Path) -> None:
    start = tmp_path / "packaged"
    made = {stage.name: options(stage.commands[0]) for stage in stages(tmp_path, FROM_PACKAGE, 1, 0, start)}
    assert made["encoder"]["--start"] == made["decoder"]["--start"] == str(start)
    assert made["lm0"]["--start"] == str(start / "model.safetensors")


def test_a_later_leg_starts_from_the_one_before(tmp_path: Path) -> None:
    made = {stage.name: options(stage.commands[0]) for stage in stages(tmp_path, FROM_NOTHING, 1, 0)}
    assert "--start" not in made["lm0"]
    assert made["lm1"]["--start"] == str(tmp_path / "lm0/model.safetensors")


def test_a_stage_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    count = python(f"open({str(tmp_path / 'runs')!r}, 'a').write('x')")
    for _ in range(2):
        carry_out(Stage("speech", (count, count)), tmp_path)
    assert (tmp_path / "runs").read_text() == "xx"
    assert '"stage": "speech"' in (tmp_path / "times.jsonl").read_text()


def test_a_stage_that_failed_is_told_with_where_its_reason_is_and_runs_again(tmp_path: Path) -> None:
    failing = python("import sys; sys.exit('no room on the moon')")
    for _ in range(2):
        with pytest.raises(AntiphonError, match=r"speech failed: .*logs/speech\.log"):
            carry_out(Stage("speech", (python("pass"), failing)), tmp_path)
    assert (tmp_path / "logs/speech.log").read_text().count("no room on the moon") == 2


def test_a_folder_of_other_options_is_refused(tmp_path: Path) -> None:
    carry_out(Stage("speech", (python("pass"),)), tmp_path)
    with pytest.raises(AntiphonError, match="speech was done with other options: give another folder"):
        carry_out(Stage("speech", (python("1"),)), tmp_path)


def test_data_that_is_made_stays_where_more_processes_go_on_and_trained_weights_do_not(tmp_path: Path) -> None:
    one, two = (stages(tmp_path, FROM_NOTHING, processes, 0) for processes in (1, 2))
    same = [stage.name for stage, other in zip(one, two, strict=True) if stage.options == other.options]
    assert same == ["speech", "natural", "held-out", "conversations", "pack"]


def test_an_unknown_last_stage_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--until", "lunch"])
    assert "the stages are speech, natural, encoder" in capsys.readouterr().err
