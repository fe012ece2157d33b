"""What a caller may give, and what is said of the rest; nobody is at the address, and nobody is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from antiphon.errors import AntiphonError, ArgumentError
from antiphon.spec import Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_edge import blocking
from antiphon_edge.client import carrier
from antiphon_edge.client.arguments import check_mode, check_seed
from antiphon_edge.client.connect import connect
from tests.support.servers import CODEC, stub_server
from tools.harness.stub_runner import SPEC

ADDRESS = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "codes" not in request.fixturenames:

        def nobody(*_: Any) -> None:
            raise AssertionError("a session was made")

        monkeypatch.setattr(carrier.Carrier, "open", nobody)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ([], r"^address: the list is empty: give HOST:PORT of at least one worker$"),
        ("localhost", r"^address: 'localhost' is no HOST:PORT with a port of 1 to 65535$"),
        ([ADDRESS, "worker.example"], r"^address: 'worker.example' is no HOST:PORT"),
        ("localhost:0", r"'localhost:0' is no HOST:PORT"),
        ("localhost:65536", r"'localhost:65536' is no"),
        (":50051", r"':50051' is no"),
        ("localhost:http", r"'localhost:http' is no"),
        ([None], r"^address: expected HOST:PORT, got None$"),
    ],
)
async def test_an_address_that_is_none_is_said_before_anything_is_asked(address: Any, words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        await connect(address, CODEC).__aenter__()
    with pytest.raises(ArgumentError, match=words):
        blocking.connect(address, CODEC).__enter__()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, r"^seed: -1 is outside \[0, 2\*\*64\): give another, or None to draw one$"),
        ({"seed": 2**64}, r"^seed: 18446744073709551616 is outside"),
        ({"seed": 1.5}, r"^seed: expected a whole number, got 1.5$"),
        ({"seed": "7"}, r"^seed: expected a whole number, got '7'$"),
        ({"persona": 7}, r"^persona: expected str, got 7$"),
        ({"voice": ""}, r"^voice: the name is empty: give one that the worker has, or None$"),
        ({"voice": [1, 2]}, r"^voice: expected a name, or codes \[T, K\] as encode_voice makes them, got shape \[2\]$"),
        ({"voice": np.full((2, 8), 2048)}, r"^voice: codes: code 2048 of codebook 0 is outside \[0, 2048\)$"),
        ({"mode": "talk"}, r"^mode: expected 'dialogue' or 'transcription' or 'speech' or 'text', got 'talk'$"),
        ({"mode": 9}, r"^mode: expected 'dialogue' or 'transcription' or 'speech' or 'text', got 9$"),
        ({"sampling": 0.8}, r"^sampling: expected Sampling, got 0.8$"),
        ({"sampling": Sampling(text_temperature=-1)}, r"^sampling.text_temperature: expected a number of 0 or more, "),
        ({"sampling": Sampling(audio_temperature=float("nan"))}, r"^sampling.audio_temperature: .* got nan$"),
        ({"sampling": Sampling(audio_top_k=-5)}, r"^sampling.audio_top_k: -5 is outside"),
        ({"credentials": "sk-key"}, r"^credentials: expected Credentials, got 'sk-key'$"),
        ({"reconnect": False}, r"^reconnect: expected Reconnect, got False$"),
    ],
)
async def test_an_option_that_is_of_no_use_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        await connect(ADDRESS, CODEC, **options).__aenter__()


async def test_a_codec_in_the_place_of_its_spec_is_named() -> None:
    with pytest.raises(ArgumentError, match=r"^codec: expected CodecSpec \(Codec.load\(...\).spec\), got 'codec/'$"):
        await connect(ADDRESS, "codec/").__aenter__()  # type: ignore[arg-type]


def test_an_argument_error_is_a_value_error_too() -> None:
    assert issubclass(ArgumentError, ValueError)
    assert issubclass(ArgumentError, AntiphonError)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        (None, pb.MODE_UNSPECIFIED),
        ("dialogue", pb.MODE_DIALOGUE),
        ("Transcription", pb.MODE_TRANSCRIPTION),
        (pb.MODE_DIALOGUE, pb.MODE_DIALOGUE),
    ],
)
def test_a_mode_is_a_name_or_the_contract_s_number(given: Any, mode: int) -> None:
    assert check_mode(given) == mode


@pytest.mark.parametrize("given", [7, np.int64(7), np.uint8(7), True + 6])
def test_a_seed_is_any_whole_number(given: Any) -> None:
    assert check_seed(given) == 7


@pytest.mark.parametrize(
    "codes",
    [list(range(8)), tuple(range(8)), np.arange(8.0), np.arange(8, dtype=np.uint16)],
    ids=lambda c: str(type(c)),
)
async def test_codes_may_be_whatever_numpy_makes_whole_numbers_of(codes: Any) -> None:
    async with stub_server() as server, connect(server.address, CODEC, mode="dialogue") as opened:
        await opened.send(codes)
        opened.send_live(codes)
        for _ in range(2):
            assert await opened.receive() is not None
        assert opened.history.user_codes(0) == opened.history.user_codes(1) == SPEC.user_packer.pack(np.arange(8))
