"""What tests of several rooms share."""

import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.commands import run
from tests.support.golden import GOLDEN
from tests.support.shared import made_once
from tests.support.time_travel import Clock
from tools.talk.sound_server import SoundServer, missing, sound_server

# What tests connect to is on this machine: a proxy that the developer's network needs is not asked for it.
os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy"), "localhost", "127.0.0.1", "::1")))

os.environ["ANTIPHON_CONFIG"] = os.devnull  # the developer's own settings are none of a test's


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the fuzz tests run."""
    parser.addoption("--fuzz-messages", type=int, default=600, help="messages that tests/fuzz sends (default: 600)")


# Coverage makes Python half as slow again; these compute much or run in real time, and cover little by themselves.
NOT_MEASURED = {
    "chaos",
    "clerk",
    "deploy",
    "fuzz",
    "cuda",
    "tools",
    "train",
    "test_gpu_check.py",
    "test_live_talk.py",
    "test_page.py",
    "test_units.py",
}


# Folders and files that take long: whole models, real processes, real time. `pytest -m "not slow"` leaves them out.
SLOW = {
    "chaos",
    "cli",
    "clerk",
    "cuda",
    "deploy",
    "doors",
    "fuzz",
    "mimi",
    "telephony",
    "tools",
    "train",
    "test_clock_skew.py",
    "test_asr_streaming.py",
    "test_codec.py",
    "test_devices.py",
    "test_doctor.py",
    "test_edge_only_install.py",
    "test_end_to_end.py",
    "test_examples.py",
    "test_export.py",
    "test_exposed.py",
    "test_fleet.py",
    "test_gateway_process.py",
    "test_graphs.py",
    "test_home_assistant.py",
    "test_kv_ring.py",
    "test_live_talk.py",
    "test_lm.py",
    "test_load.py",
    "test_load_memory.py",
    "test_model.py",
    "test_onnx_rewrites.py",
    "test_page.py",
    "test_personas.py",
    "test_prefill.py",
    "test_privacy.py",
    "test_quickstart.py",
    "test_runner.py",
    "test_sound_server.py",
    "test_transcribe.py",
    "test_tts_streaming.py",
    "test_units.py",
}


# Begun first where two processes share the files, so that none is left alone with a long one at the end.
LONGEST = ("test_page.py", "test_edge_only_install.py", "test_end_to_end.py", "test_clerk.py", "test_chaos.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, marks the slow ones, and lets pytest-cov stand still while it would cost most."""
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        parts = set(item.path.relative_to(Path(__file__).parent).parts)
        if NOT_MEASURED & parts:
            item.add_marker("no_cover")
        if SLOW & parts:
            item.add_marker("slow")


# What a client or a machine may be too slow for. A test of such a limit lets it pass on the loop's `clock`.
SHORT_LIMITS = {
    "antiphon_cloud.server.interceptor": ("REQUEST_TIMEOUT_S",),
    "antiphon.serving.monitor": ("REQUEST_TIMEOUT_S", "LOOP_TIMEOUT_S"),
    "antiphon_cloud.engine.host": ("END_S",),
    "antiphon_cloud.server.call": ("OPEN_TIMEOUT_S", "READ_TIMEOUT_S"),
    "antiphon_edge.transport.channel": ("REASON_TIMEOUT_S",),
    "antiphon_gateway.calls.call": ("READER_S",),
    "antiphon_gateway.doors.socket": ("SEND_S", "HEARTBEAT_S"),
    "antiphon_gateway.doors.telephony.audiosocket": ("IDLE_S",),
}
UNHURRIED_S = 60.0


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No limit of this process is one that a busy machine overruns."""
    for module, names in SHORT_LIMITS.items():
        for name in names if module in sys.modules else ():
            monkeypatch.setattr(sys.modules[module], name, UNHURRIED_S)


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    """The clock of the test's event loop, which the test may move forward."""
    moved = Clock()
    yield moved
    moved.give_back()


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of the golden vectors."""
    return GOLDEN


@pytest.fixture(scope="session")
def tiny_codec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The codec of `golden/mimi-tiny`, as the command exports it into a directory that holds nothing else."""

    def export(model: Path) -> None:
        for name in ("mimi.safetensors", "mimi_config.json"):
            shutil.copyfile(GOLDEN / "mimi-tiny" / name, model / name)
        exported = run("antiphon-cloud", "export-codec", "--model", model)
        assert exported.status == 0, exported.err

    return made_once(tmp_path_factory, "tiny", export) / "codec"


@pytest.fixture(scope="session")
def sound() -> Iterator[SoundServer]:
    """A sound card without hardware. Skips where it cannot be had; fails in CI."""
    if reason := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with sound_server() as running:
        yield running
