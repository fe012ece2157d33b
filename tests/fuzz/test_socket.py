"""Bytes that are no gRPC at the worker's socket: it drops who sends them, and its sessions never notice."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from tests.fuzz.worker_under_fire import WorkerUnderFire, worker_under_fire

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_HEADERS = 4


def http2(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> bytes:
    """A frame; `length` may lie."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


SETTLED = PREFACE + http2(SETTINGS, 0, 0, b"")

HOSTILE = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: worker\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(64),
    "half a preface": PREFACE[:11],
    "rubbish after the preface": PREFACE + bytes(range(256)) * 8,
    "half a frame": SETTLED + http2(HEADERS, END_HEADERS, 1, b"\x82", length=5000),
    "a frame of 16 MiB": SETTLED + http2(DATA, 0, 1, b"", length=(1 << 24) - 1),
    "headers that are no HPACK": SETTLED + http2(HEADERS, END_HEADERS, 1, b"\xff" * 200),
    "data on a stream that nobody opened": SETTLED + http2(DATA, 0, 7, b"hello"),
    "an even stream": SETTLED + http2(HEADERS, END_HEADERS, 2, b"\x82"),
    "a push": SETTLED + http2(PUSH_PROMISE, END_HEADERS, 1, bytes(4) + b"\x82"),
    "a continuation of nothing": SETTLED + http2(CONTINUATION, END_HEADERS, 1, b"\x82") * 100,
    "headers without an end": SETTLED + http2(HEADERS, 0, 1, b"\x82") + http2(CONTINUATION, 0, 1, b"\x84" * 1000) * 200,
    "streams opened and reset": SETTLED
    + b"".join(
        http2(HEADERS, END_HEADERS, stream, b"\x83\x86\x84") + http2(RST_STREAM, 0, stream, bytes(4))
        for stream in range(1, 2001, 2)
    ),
    "a flood of pings": SETTLED + http2(PING, 0, 0, bytes(8)) * 2000,
    "a flood of settings": SETTLED + http2(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535)) * 2000,
    "a window beyond its limit": SETTLED + http2(WINDOW_UPDATE, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 3,
    "settings out of range": SETTLED + http2(SETTINGS, 0, 0, struct.pack(">HI", 4, 0xFFFFFFFF)),
    "goodbye": SETTLED + http2(GOAWAY, 0, 0, bytes(8)),
}


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerUnderFire]:
    with worker_under_fire() as started:
        yield started


def throw(address: str, data: bytes, patience_s: float = 0.05) -> None:
    """Sends the bytes, reads what comes for a moment, and leaves."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw, suppress(ConnectionError, TimeoutError):
        raw.sendall(data)
        raw.settimeout(patience_s)
        while raw.recv(65_536):
            pass


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_peer_disturbs_nobody(worker: WorkerUnderFire, case: str) -> None:
    for _ in range(3):
        throw(worker.address, HOSTILE[case])
        worker.neighbour.talk()
    assert worker.errors.messages == []


def test_random_bytes_disturb_nobody(worker: WorkerUnderFire, pytestconfig: pytest.Config) -> None:
    random = np.random.default_rng(5)
    for index in range(pytestconfig.getoption("--fuzz-messages") // 20):
        start = (b"", PREFACE, SETTLED)[index % 3]
        throw(worker.address, start + random.bytes(int(random.integers(1, 3000))), patience_s=0.01)
        worker.neighbour.talk()
    assert worker.errors.messages == []


def test_peers_that_stop_halfway_hold_nothing(worker: WorkerUnderFire) -> None:
    host, _, port = worker.address.rpartition(":")
    held = [socket.create_connection((host, int(port)), timeout=10) for _ in range(100)]
    try:
        for index, raw in enumerate(held):
            raw.sendall((PREFACE[: index % 24], SETTLED, HOSTILE["half a frame"])[index % 3])
        for _ in range(5):
            worker.neighbour.talk()
    finally:
        for raw in held:
            raw.close()
    worker.neighbour.talk()
    assert worker.errors.messages == []
