"""Edges and workers of different ages: each reads what it knows, and misses nothing that it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from antiphon.errors import PreconditionError
from antiphon_edge.client.connect import connect
from antiphon_edge.client.reconnect import NEVER
from tests.contract.old_contract import FOLDER, SERVICE, old, old_contract_before
from tests.support.conversations import QUICK, SEED, check_unbroken, exchange
from tests.support.servers import CODEC, stub_server
from tools import ROOT
from tools.harness.stub_runner import SPEC, expected

CODES = np.arange(8, dtype=np.int32)


def breaks(contract: Path, folder: Path) -> str:
    """What `buf breaking` says of a contract; empty where it only grows."""
    for name, source in (("old", FOLDER / "dialogue.proto"), ("new", contract)):
        (folder / name / "antiphon/v1").mkdir(parents=True)
        shutil.copyfile(source, folder / name / "antiphon/v1/dialogue.proto")
    buf = Path(sys.executable).parent / "buf"
    command = [str(buf), "breaking", str(folder / "new"), "--against", str(folder / "old")]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_the_contract_only_grows(tmp_path: Path) -> None:
    assert breaks(ROOT / "proto/antiphon/v1/dialogue.proto", tmp_path) == ""


def test_a_field_that_changes_its_type_would_be_noticed(tmp_path: Path) -> None:
    changed = tmp_path / "changed.proto"
    text = (FOLDER / "dialogue.proto").read_text()
    changed.write_text(text.replace("optional uint32 text_token = 5;", "optional uint64 text_token = 5;"))
    assert "text_token" in breaks(changed, tmp_path)


async def test_an_older_edge_holds_a_conversation_with_this_worker() -> None:
    request, response = old("ConverseRequest"), old("ConverseResponse")
    async with stub_server() as server, grpc.aio.insecure_channel(server.address) as channel:
        call: Any = channel.stream_stream(
            f"/{SERVICE}/Converse", request.SerializeToString, lambda data: response.FromString(data)
        )()
        await call.write(request(open=old("Open")(codec_fingerprint=CODEC.fingerprint, seed=SEED)))
        opened = (await call.read()).opened
        assert (opened.model.user_codebooks, opened.limits.max_frames_in_flight) == (8, 8)
        for step in range(4):
            await call.write(request(codes=SPEC.user_packer.pack(CODES)))
            reply = await call.read()
            wanted = SPEC.model_packer.pack(expected(CODES, SEED, step)) if step >= SPEC.delay_steps else b""
            assert reply.codes == wanted
        await call.write(request(close=old("Close")()))
        assert (await call.read()).closed.frames == 4


async def test_this_edge_holds_a_conversation_by_the_old_contract_and_resumes_it() -> None:
    async with (
        stub_server() as server,
        old_contract_before(server.address) as address,
        stub_server() as another,
        connect([address, another.address], CODEC, seed=SEED, reconnect=QUICK) as session,
    ):
        replies = await exchange(session, 6)
        await server.server.stop()  # the session goes on with the other worker
        replies += await exchange(session, 6)
        check_unbroken(replies)
        assert session.resumptions == 1


async def test_this_edge_is_told_of_a_refusal_by_the_old_contract() -> None:
    async with stub_server() as server, old_contract_before(server.address) as address:
        other = replace(CODEC, fingerprint=b"\x08" * 32)
        with pytest.raises(PreconditionError, match=r"open\.codec_fingerprint"):
            async with connect(address, other, reconnect=NEVER):
                pass
