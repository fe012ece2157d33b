"""Recordings: whole to the last frame whatever ends the process, readable while they grow, and never silently wrong."""

from __future__ import annotations

import asyncio
import itertools
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from antiphon.plain_text import plain_line, plain_text
from antiphon_edge.client.connect import connect
from antiphon_edge.client.session import Session
from antiphon_edge.errors import RecordingError
from antiphon_edge.talk.recording import Recorder, Recording
from tests.support.servers import CODEC, stub_server
from tools import ROOT
from tools.harness.stub_runner import SPEC, expected

SEED = 5
STEPS = 30

ENDLESS = """
import asyncio, pathlib, sys
from tests.antiphon_edge.talk import test_recording as here

async def main():
    async with here.stub_server() as server, here.connect(server.address, here.CODEC, seed=here.SEED) as session:
        with here.Recorder(pathlib.Path(sys.argv[1]), session, here.CODEC) as recorder:
            while True:
                await here.talk(session, recorder, 1)
                print("recorded", flush=True)

asyncio.run(main())
"""


def said(step: int) -> np.ndarray:
    return (np.arange(8, dtype=np.int32) + 3 * step) % 2048


async def talk(session: Session, recorder: Recorder, steps: int) -> None:
    for _ in range(steps):
        await session.send(said(session.history.steps))
        reply = await session.receive()
        assert reply is not None
        recorder.add(reply)


async def record(path: Path) -> None:
    async with stub_server() as server, connect(server.address, CODEC, seed=SEED) as session:
        with Recorder(path, session, CODEC) as recorder:
            await talk(session, recorder, STEPS)


@pytest.fixture(scope="module")
def bytes_of_a_recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("recording") / "talk.antiphon"
    asyncio.run(record(path))
    return path.read_bytes()


@pytest.fixture
def recorded(tmp_path: Path, bytes_of_a_recording: bytes) -> Path:
    path = tmp_path / "talk.antiphon"
    path.write_bytes(bytes_of_a_recording)
    return path


def check(recording: Recording, steps: int) -> None:
    assert (recording.seed, recording.model, recording.codec, recording.sampling) == (SEED, SPEC, CODEC, SPEC.sampling)
    assert [step.sequence for step in recording.steps] == list(range(steps))
    for step in recording.steps:
        assert (step.user == said(step.sequence)).all()
        if step.sequence < SPEC.delay_steps:
            assert step.model is None
        else:
            assert step.model is not None
            assert (step.model == expected(said(step.sequence), SEED, step.sequence)).all()


def test_what_was_said_is_what_is_read(recorded: Path) -> None:
    recording = Recording.read(recorded)
    check(recording, STEPS)
    assert recording.torn_bytes == 0
    assert recorded.stat().st_size < 600 + 45 * STEPS


async def test_a_recording_is_read_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "talk.antiphon"
    async with stub_server() as server, connect(server.address, CODEC, seed=SEED) as session:
        with Recorder(path, session, CODEC) as recorder:
            for steps in (0, 3, 6):
                check(Recording.read(path), steps)
                await talk(session, recorder, 3)


def test_a_recording_whose_process_is_killed_holds_every_frame_up_to_then(tmp_path: Path) -> None:
    path = tmp_path / "talk.antiphon"
    told = STEPS // 2
    with subprocess.Popen([sys.executable, "-c", ENDLESS, path], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        for _ in range(told):  # each tells of one step that was recorded
            assert process.stdout.readline() == b"recorded\n"
        process.kill()
    recording = Recording.read(path)
    assert len(recording.steps) >= told
    check(recording, len(recording.steps))


def test_a_torn_tail_costs_one_step_at_the_most(recorded: Path) -> None:
    whole = recorded.read_bytes()
    ends = [0]
    unpacker = msgpack.Unpacker()
    unpacker.feed(whole)
    ends.extend(unpacker.tell() for _ in unpacker)
    for size in range(ends[1], len(whole), 7):
        recorded.write_bytes(whole[:size])
        recording = Recording.read(recorded)
        steps = sum(end <= size for end in ends[2:])
        assert len(recording.steps) == steps
        assert recording.torn_bytes == size - ends[1 + steps]


def test_any_msgpack_reader_reads_it(recorded: Path) -> None:
    with recorded.open("rb") as file:
        header, *steps = msgpack.Unpacker(file)
    assert (header["format"], header["version"], len(steps)) == ("antiphon", 1, STEPS)


async def test_a_recording_is_never_written_over(recorded: Path) -> None:
    async with stub_server() as server, connect(server.address, CODEC) as session:
        with pytest.raises(RecordingError, match="exists already"):
            Recorder(recorded, session, CODEC)
    check(Recording.read(recorded), STEPS)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no recording"),
        (b"RIFF....WAVE", "no recording"),
        (msgpack.packb({"format": "antiphon", "version": 99}), "newer version"),
        (msgpack.packb({"format": "antiphon", "version": 1}), "damaged"),
    ],
)
def test_another_file_is_refused_in_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file.antiphon"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=words):
        Recording.read(path)


def test_damage_amid_a_recording_is_said_with_its_place(recorded: Path) -> None:
    whole = recorded.read_bytes()
    recorded.write_bytes(whole[:-400] + b"\xc1" * 400)  # 0xc1 is no msgpack
    with pytest.raises(RecordingError, match="is damaged after"):
        Recording.read(recorded)


def test_a_recording_is_its_owners_alone(recorded: Path) -> None:
    """As `Recorder` leaves it; the fixture's copy has the mode of any file."""
    assert stat.S_IMODE(recorded.stat().st_mode) != 0o600
    path = recorded.with_name("private.antiphon")
    asyncio.run(record(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def replaced(value: Any, place: int, by: Any) -> tuple[Any, int]:
    """The value with the leaf or the branch at `place`, counted depth first, replaced; and what is left of `place`."""
    if place == 0:
        return by, -1
    place -= 1
    if isinstance(value, dict | list):
        made = value.copy()
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            made[key], place = replaced(entry, place, by)
            if place < 0:
                return made, place
    return value, place


ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    1 << 63,
    1e300,
    float("nan"),
    "text",
    "\x1b]0;title\x07",
    b"",
    bytes(100),
    [],
    {},
    {"a": 1},
]


def test_whatever_stands_in_a_recording_it_is_read_or_refused_in_one_sentence(recorded: Path) -> None:
    unpacker = msgpack.Unpacker()
    unpacker.feed(recorded.read_bytes())
    header, *steps = unpacker
    refused = 0
    for place in itertools.count(1):
        if replaced([header, steps[0]], place, None)[1] >= 0:
            break
        for odd in ODD:
            (first, step), _ = replaced([header, steps[0]], place, odd)
            recorded.write_bytes(b"".join(map(msgpack.packb, (first, step, steps[1]))))
            refused += is_refused(recorded)
    assert refused > 300


def test_whatever_the_bytes_of_a_recording_are_it_is_read_or_refused_in_one_sentence(recorded: Path) -> None:
    whole, random = recorded.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            data[random.integers(len(data) if random.random() < 0.5 else 700)] = random.integers(256)
        recorded.write_bytes(data)
        is_refused(recorded)


def is_refused(path: Path) -> bool:
    try:
        recording = Recording.read(path)
        shown = recording.transcript() + recording.started + recording.model.name
        assert plain_text(shown) == shown
    except RecordingError as error:
        shown = str(error).removeprefix(str(path))
        assert plain_line(shown) == shown
        assert len(shown) < 400
        return True
    return False


def test_the_transcript_has_a_line_for_each_time_the_model_spoke(recorded: Path) -> None:
    recording = Recording.read(recorded)
    first, *rest = recording.transcript().splitlines()
    assert first.startswith("[00:00.1] <1><2>")
    assert not rest
