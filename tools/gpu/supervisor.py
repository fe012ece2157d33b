"""Runs stages in a process of their own, each within its limit, and keeps what they find.

A stage that fails leaves the process to the next. One that breaks, hangs or takes the process with it is told, and the
rest goes on in another process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from tools.gpu.report import Report

Found = dict[str, Any]


class StageProcess:
    """A process that runs stages; its children end with it.

    Args:
        command: prints a JSON object a line.
        errors: file that its standard error is added to.
    """

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        with errors.open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def follow(self, stage: str, limit_s: float, keep: Callable[[Found], None]) -> Found:
        """Keeps what the stage finds, and returns how it ended."""
        deadline = time.monotonic() + limit_s
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                text = f"took longer than {limit_s:g} s"
                return {"stage": stage, "kind": "end", "status": "too long", "text": text}
            if line is None:
                text = f"its process ended with status {self._process.wait()}"
                return {"stage": stage, "kind": "end", "status": "broken", "text": text}
            found = _parsed(stage, line)
            if found["kind"] == "end":
                return found
            keep(found)

    def end(self) -> None:
        """Ends it, whatever it does."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def supervise(command: Callable[[Sequence[str]], Sequence[str]], limits_s: Mapping[str, float], report: Report) -> bool:
    """Runs all stages; says whether all passed.

    Args:
        command: that runs the stages of these names.
        limits_s: seconds of each stage, in the order in which they run.
        report: what they find goes there at once.
    """
    waiting, passed = list(limits_s), True
    while waiting:
        process = StageProcess(command(waiting), report.folder / "errors.log")
        try:
            usable = True
            while waiting and usable:
                stage, began_s = waiting.pop(0), time.monotonic()
                report.add({"stage": stage, "kind": "begin", "text": f"== {stage}, at most {limits_s[stage]:g} s"})
                end = process.follow(stage, limits_s[stage], report.add)
                end["took_s"] = round(time.monotonic() - began_s, 1)
                told = f": {end['text']}" if end["text"] else ""
                report.add(end | {"text": f"== {stage}: {end['status']} after {end['took_s']:.0f} s{told}"})
                passed &= end["status"] == "passed"
                usable = end["status"] in ("passed", "failed")
        finally:
            process.end()
    return passed


def _parsed(stage: str, line: str) -> Found:
    """What the process said; a line of a library's is a note."""
    with suppress(json.JSONDecodeError):
        found = json.loads(line)
        if isinstance(found, dict) and "kind" in found:
            return found
    return {"stage": stage, "kind": "note", "text": line.rstrip("\n")}
