"""`antiphon-cloud top`: what it asks workers, and how it shows what they say."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from antiphon.errors import AntiphonError
from antiphon.serving.status import Status, decode, encode
from antiphon_cloud.server.process import ServerConfig
from antiphon_cloud.top.look import Look, Watcher, resolved
from antiphon_cloud.top.show import as_json, lines, table
from antiphon_edge import connect
from tests.support.commands import environment, one_sentence, run
from tests.support.ports import unused_address
from tests.support.servers import CODEC, StubOptions, stub_server
from tests.support.terminal import terminal
from tools.harness.worker_process import BIN

WATCHED = ServerConfig(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0")
SERVING = Status("worker", "serving", model="clerk", sessions=3, slots=8, step_p50_ms=12.34, step_p99_ms=70.0)


@contextmanager
def answering(*said: Status | bytes) -> Iterator[str]:
    """The address of a port that gives these answers, and the last one again and again."""
    left = [each if isinstance(each, bytes) else encode(each) for each in said]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(left.pop(0) if len(left) > 1 else left[0])

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def test_a_worker_says_how_it_is_from_its_start_to_its_drain() -> None:
    async with stub_server(StubOptions(config=WATCHED)) as server:
        watcher = Watcher([str(server.server.metrics_address)])
        async with connect(server.address, CODEC) as session:
            await session.send(np.arange(8, dtype=np.int32))
            await session.receive()
            (look,) = await asyncio.to_thread(watcher.look)
        server.server.worker.drain()
        (draining,) = await asyncio.to_thread(watcher.look)
    assert look.status is not None
    assert (look.status.state, look.status.model) == ("serving", "stub")
    assert (look.status.sessions, look.status.slots, look.status.frames) == (1, 4, 1)
    assert look.status.step_p99_ms >= look.status.step_p50_ms > 0
    assert draining.status is not None
    assert draining.status.state == "draining"


def test_frames_are_late_since_the_last_look_and_since_the_start_at_the_first() -> None:
    counts = [(100, 10), (200, 10), (220, 15), (10, 0), (10, 0)]
    said = [Status("worker", "serving", frames=frames, late=late) for frames, late in counts]
    with answering(*said) as address:
        watcher = Watcher([address])
        assert [watcher.look()[0].late_share for _ in counts] == [0.1, 0.0, 0.25, 0.0, 0.0]


def test_whoever_does_not_answer_or_is_no_worker_has_a_row_that_says_so() -> None:
    nobody = unused_address()
    with answering(b"<html>") as other, answering(SERVING) as worker:
        looks = Watcher([nobody, other, worker]).look()
    assert [look.problem for look in looks] == [
        "Connection refused",
        "no status is there: is it a worker's --metrics-listen?",
        "",
    ]


def test_a_name_stands_for_all_its_addresses_where_that_is_asked_for() -> None:
    assert "127.0.0.1:9464" in resolved("dns:localhost:9464")
    assert resolved("localhost:9464") == ["localhost:9464"]
    with pytest.raises(AntiphonError, match=r"no\.such\.host\.invalid: the name is not known"):
        resolved("dns:no.such.host.invalid:1")


def test_a_port_without_http_and_a_name_that_is_not_known_have_rows_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_nonsense, args=(server,))
        thread.start()
        looks = Watcher([f"127.0.0.1:{server.getsockname()[1]}", "dns:no.such.host.invalid:1"]).look()
        thread.join()
    assert [look.problem.partition(":")[0] for look in looks] == ["no HTTP is spoken there", "no.such.host.invalid"]


def _answer_nonsense(server: socket.socket) -> None:
    caller, _ = server.accept()
    with caller:
        caller.recv(4096)
        caller.sendall(b"\x00\x00\x12 this is no HTTP\r\n\r\n")


def test_a_newer_workers_status_is_read_as_far_as_it_is_known() -> None:
    told = json.loads(encode(SERVING)) | {"temperature": 70}
    assert decode(json.dumps(told).encode()) == SERVING


LOOKS = [Look("10.0.0.1:9464", SERVING, late_share=0.0125), Look("10.0.0.2:9464", None, "Connection refused")]


def test_the_table_counts_who_serves_and_how_many_slots_are_taken() -> None:
    console = Console(width=140, record=True, file=StringIO())
    console.print(table(LOOKS))
    text = console.export_text()
    assert "1 of 2 workers serve · 3 of 8 slots taken" in text
    assert "10.0.0.1:9464  clerk  serving" in text
    assert "12.3 ms" in text
    assert "70.0 ms" in text
    assert "1.25 %" in text
    assert "Connection refused" in text


def test_lines_have_a_column_each_for_cut_and_awk() -> None:
    names, first, second = lines(LOOKS).splitlines()
    assert names.split("\t")[:5] == ["worker", "model", "state", "sessions", "free"]
    assert first.split("\t")[2:5] == ["serving", "3/8", "5"]
    assert second.split("\t") == ["10.0.0.2:9464", "", "Connection refused"]


def test_json_has_what_the_worker_said() -> None:
    first, second = json.loads(as_json(LOOKS))
    assert first["address"] == "10.0.0.1:9464"
    assert (first["slots"], first["late_share"]) == (8, 0.0125)
    assert second == {"address": "10.0.0.2:9464", "problem": "Connection refused", "late_share": 0.0}


def test_a_workers_words_move_no_cursor() -> None:
    look = Look("10.0.0.1:9464", Status("worker", "serving", model="\x1b[2Jclerk"))
    assert "\x1b" not in lines([look])


def test_the_command_draws_a_live_table_at_a_terminal_until_it_is_interrupted() -> None:
    with (
        answering(SERVING, Status("worker", "draining", model="clerk", slots=8)) as address,
        terminal([str(BIN / "antiphon-cloud"), "top", address, "--every", "0.1"], environment()) as shown,
    ):
        at = shown.until("1 of 1 workers serve")
        at = shown.until("3/8", at)
        shown.until("draining", at)
        assert "\x1b[1A" in shown.shown  # it draws over what it drew
        shown.type("\x03")
        assert shown.end() == 0
    assert "Traceback" not in shown.text


def test_the_command_prints_lines_once_where_no_terminal_is() -> None:
    with answering(SERVING) as address:
        printed = run("antiphon-cloud", "top", "--once", address)
        told = run("antiphon-cloud", "top", "--once", "--json", address)
    assert printed.out.splitlines()[1].split("\t")[:3] == [address, "clerk", "serving"]
    assert json.loads(told.out)[0]["sessions"] == 3
    nobody = unused_address()
    assert f"no worker answers: {nobody}" in one_sentence(run("antiphon-cloud", "top", "--once", nobody), status=1)
    assert "HOST:PORT" in one_sentence(run("antiphon-cloud", "top", "worker"), status=2)
