"""The stages of the GPU's check: each within its limit, what they find kept at once, and a page to paste."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from antiphon.errors import AntiphonError
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.errors import DeviceLostError
from tests.support.language_models import GOLDEN
from tools.gpu import check, serving, stages
from tools.gpu.report import Report
from tools.gpu.stages import STAGES, Stage, run_stages
from tools.gpu.subject import Bench, FailedError, Tell
from tools.gpu.supervisor import supervise

LONG_S = 200.0
STEP = {
    "kind": "step", "text": "a line", "batch": 8, "cache": "int8", "mode": "captured", "p50_ms": 4.25, "p99_ms": 4.5,
    "gb_s": 2100.4, "of_copies": 0.7, "predicted_ms": 3.9,
}  # fmt: skip
CHILD = """
import json, os, signal, subprocess, sys
for stage in sys.argv[1:]:
    print(json.dumps({"stage": stage, "kind": "note", "text": f"{stage} in {os.getpid()}"}), flush=True)
    if stage == "hangs":
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        signal.pause()
    if stage == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    print("a library's own line", flush=True)
    status = stage if stage in ("failed", "broken") else "passed"
    text = "by 0.1" if status != "passed" else ""
    print(json.dumps({"stage": stage, "kind": "end", "status": status, "text": text}), flush=True)
    if status == "broken":
        break
"""


def supervised(folder: Path, *names: str) -> tuple[bool, list[dict[str, str]]]:
    """What stages of `CHILD` came to, and all that was written down."""
    report = Report(folder, "a model")

    def command(waiting: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", CHILD, *waiting]

    passed = supervise(command, {name: 0.0 if name == "hangs" else LONG_S for name in names}, report)
    return passed, [json.loads(line) for line in (folder / "found.jsonl").read_text().splitlines()]


def test_stages_that_pass_share_a_process_and_what_they_find_is_written_down(tmp_path: Path) -> None:
    passed, found = supervised(tmp_path, "one", "two")
    assert passed
    assert [(each["stage"], each["kind"]) for each in found] == [
        (stage, kind) for stage in ("one", "two") for kind in ("begin", "note", "note", "end")
    ]
    processes = {each["text"].split()[-1] for each in found if " in " in each["text"]}
    assert len(processes) == 1
    assert "a library's own line" in (tmp_path / "report.txt").read_text()


@pytest.mark.parametrize("bad", ["failed", "broken", "dies", "hangs"])
def test_after_a_stage_that_does_not_pass_the_next_one_runs(bad: str, tmp_path: Path) -> None:
    passed, found = supervised(tmp_path, "one", bad, "two")
    assert not passed
    ends = {each["stage"]: each for each in found if each["kind"] == "end"}
    status = {"dies": "broken", "hangs": "too long"}.get(bad, bad)
    assert [end["status"] for end in ends.values()] == ["passed", status, "passed"]
    told = {"dies": "its process ended with status -11", "hangs": "took longer than 0 s"}.get(bad, "by 0.1")
    assert ends[bad]["text"].endswith(f": {told}")
    processes = [each["text"].split()[-1] for each in found if " in " in each["text"] and each["stage"] != bad]
    assert len(set(processes)) == (1 if bad == "failed" else 2)


def test_a_stage_says_how_it_ended_and_one_that_may_have_cost_the_device_is_the_last_of_its_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    errors: list[Exception | None] = [None, FailedError("by 0.1"), DeviceLostError("it is gone"), KeyError("layers")]

    def stage(error: Exception | None) -> Stage:
        def run(bench: Bench, tell: Tell) -> None:
            tell("a line", kind="step", batch=1)
            if error is not None:
                raise error

        return Stage(run, 1)

    monkeypatch.setattr(stages, "STAGES", {str(number): stage(error) for number, error in enumerate(errors)})
    for names in ("012", "3"):
        run_stages(names, Bench(Path()))
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0] == {"stage": "0", "kind": "step", "text": "a line", "batch": 1}
    ends = [(end["stage"], end["status"], end["text"]) for end in told if end["kind"] == "end"]
    assert ends == [
        ("0", "passed", ""),
        ("1", "failed", "by 0.1"),
        ("2", "broken", "it is gone"),
        ("3", "broken", "KeyError: 'layers'"),
    ]


def test_the_page_to_paste_has_the_machine_the_steps_the_loads_and_the_stages(tmp_path: Path) -> None:
    report = Report(tmp_path / "new" / "folder", "moshi-7b, weights int8")
    facts = {"card": "NVIDIA H100", "driver": "580.65", "torch": "2.11.0", "triton": "3.6.0"}
    load = {"sessions": 64, "finished": 64, "p50_ms": 12.5, "p99_ms": 20.1, "answered": 9599, "sent": 9600}
    report.add({"stage": "environment", "kind": "environment", "text": ""} | facts)
    report.add({"stage": "timing"} | STEP)
    report.add({"stage": "serve", "kind": "load", "text": "another"} | load)
    report.add({"stage": "timing", "kind": "end", "text": "== timing: failed after 9 s: a | b"})
    page = report.finish()
    assert page == (report.folder / "table.md").read_text()
    assert page.splitlines() == [
        "card NVIDIA H100, driver 580.65, torch 2.11.0, triton 3.6.0; moshi-7b, weights int8",
        "",
        "| batch | keys and values | mode | p50 ms | p99 ms | GB/s | of copies | predicted ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| 8 | int8 | captured | 4.25 | 4.50 | 2100 | 0.70 | 3.90 |",
        "",
        "| sessions through gRPC | finished | round trip p50 ms | p99 ms | frames answered |",
        "| --- | --- | --- | --- | --- |",
        "| 64 | 64 | 12.5 | 20.1 | 9599/9600 |",
        "",
        "| stage | came to |",
        "| --- | --- |",
        "| timing | failed after 9 s: a / b |",
    ]


def limits(*arguments: str) -> dict[str, float]:
    return check.limits_of(check.parser().parse_args(arguments))


def test_steps_are_timed_before_the_long_checks_and_each_stage_has_a_limit() -> None:
    assert [*limits("--model", "m")] == ["environment", "timing", "kernels", "equality", "accuracy", "serve"]
    assert [*limits()][:3] == ["environment", "write", "timing"]
    assert [*limits("--stages", "kernels")] == ["environment", "kernels"]
    assert [*limits("--stages", "serve", "timing", "--model", "m")] == ["environment", "timing", "serve"]
    assert [*limits("--device", "cpu", "--model", "m")] == ["environment", "serve"]
    assert all(0 < limit_s <= 240 for limit_s in limits().values())
    assert limits("--limit", "timing=7.5")["timing"] == 7.5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--device", "cpu", "--stages", "timing", "serve"), "timing need a GPU"),
        (("--limit", "timing"), "write STAGE=SECONDS"),
        (("--limit", "lunch=5"), "write STAGE=SECONDS"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(AntiphonError, match=told):
        limits(*arguments)


def test_a_model_without_a_codec_is_served_with_somebodys_and_stays_as_it_is(tmp_path: Path) -> None:
    random = tmp_path / "random"
    random.mkdir()
    config = json.loads((GOLDEN / "moshi-tiny/config.json").read_text())
    (random / "config.json").write_text(json.dumps({key: config[key] for key in config if key not in serving.NAMES}))
    os.link(GOLDEN / "moshi-tiny/model.safetensors", random / "model.safetensors")
    served = ModelDirectory.open(serving.with_a_codec(Bench(random), tmp_path / "served"))
    assert served.root == tmp_path / "served"
    assert served.mimi.is_file()
    assert served.tokenizer.is_file()
    served.require_weights()
    assert sorted(file.name for file in random.iterdir()) == ["config.json", "model.safetensors"]
    whole = GOLDEN / "moshi-tiny"
    assert serving.with_a_codec(Bench(whole), tmp_path / "unused") == whole


def test_a_worker_that_does_not_start_is_told_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # where there is a card, it is not seen
    bench = Bench(GOLDEN / "moshi-tiny", device="cuda", slots=1, sessions=(1,))
    bench.release = lambda: None  # type: ignore[method-assign]
    with pytest.raises(FailedError, match=r"the worker did not start: antiphon-cloud: --device cuda: "):
        serving.run(bench, lambda *_, **__: None)


def test_the_whole_command_is_rehearsed_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(GOLDEN / "moshi-tiny", tmp_path / "model")  # the worker exports its codec into it
    arguments = ["--device", "cpu", "--model", str(model), "--stages", "serve", "--out", str(tmp_path)]
    load = ["--slots", "2", "--sessions", "2", "--seconds", "1", "--limit", f"serve={LONG_S}"]
    monkeypatch.setattr(sys, "argv", ["check", *arguments, *load])
    with pytest.raises(SystemExit) as ended:
        check.main()
    assert ended.value.code is None
    page = (tmp_path / "table.md").read_text()
    assert page in capsys.readouterr().out
    assert "| 2 | 2 | " in page
    assert "| serve | passed after " in page
    assert set(STAGES) >= {"timing", "equality"}
