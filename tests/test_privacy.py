"""Whoever talks is reported to nobody, and nothing of it is logged."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon.errors import AntiphonError
from antiphon_edge import connect
from tests.support.commands import environment
from tests.support.servers import CODEC
from tests.support.speakers import BABBLE, reader, speaking, talker
from tools.harness.worker_process import BIN

SUPPRESSED_BY = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def at_home(home: Path) -> dict[str, str]:
    """What a user's environment looks like, without what would keep onnxruntime quiet by itself."""
    variables = {name: value for name, value in environment().items() if name not in SUPPRESSED_BY}
    return variables | {"HOME": str(home), "XDG_CACHE_HOME": str(home)}


def test_encoding_keeps_no_identifier_of_the_device(
    tiny_codec: Path, tmp_path: Path, home: Path, at_home: dict[str, str]
) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(4800), 24_000)
    files = [tiny_codec, tmp_path / "in.wav", tmp_path / "out.npy"]
    subprocess.run([BIN / "antiphon-edge", "encode", "--codec", *files], env=at_home, check=True)
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize("module", ["antiphon_edge.codec.codec", "antiphon_cloud.codec.report"])
def test_onnxruntime_is_told_not_to_report_before_it_is_imported(module: str, at_home: dict[str, str]) -> None:
    code = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        f"import {module}, onnxruntime\n"
    )
    asked = subprocess.run([sys.executable, "-c", code], env=at_home, capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["1"]


def test_whoever_wants_to_report_may(at_home: dict[str, str]) -> None:
    code = "import antiphon, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    variables = at_home | {"ORT_DISABLE_TELEMETRY": "0"}
    asked = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "0"


async def test_no_log_holds_what_anybody_says_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    words = "marmalade zeppelin quartz"
    async with speaking(reader()) as address, connect(address, CODEC, mode="speech", sampling=BABBLE) as session:
        await session.say(words)
        await session.finish_saying()
        heard = None
        while heard is None or not heard.said_all:
            await session.send()
            heard = await session.receive()
    async with speaking(talker()) as address:
        with pytest.raises(AntiphonError):  # this model takes no persona, and an error may not quote it
            async with connect(address, CODEC, persona=words):
                pass
    assert "session ended" in caplog.messages
    said = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert not [word for word in words.split() if word in said]
