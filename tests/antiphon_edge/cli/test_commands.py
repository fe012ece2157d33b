"""antiphon-edge: one sentence for everything that goes wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from antiphon_edge.cli.commands import main
from tests.support.commands import one_sentence, run
from tests.support.ports import unused_address
from tests.support.servers import StubOptions, codec_files, stub_server
from tools.harness.stub_runner import SPEC, StubRunner


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    soundfile.write(path, 0.1 * np.sin(np.arange(4800) * 0.1), 24_000)
    return path


def test_a_variable_stands_for_its_flag(tiny_codec: Path, speech: Path, tmp_path: Path) -> None:
    finished = run("antiphon-edge", "encode", speech, tmp_path / "codes.npy", ANTIPHON_CODEC=str(tiny_codec))
    assert finished.status == 0, finished.err
    assert np.load(tmp_path / "codes.npy").shape == (3, 8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["talk", "--nonsense"], "--nonsense"),
        (["shout"], "shout"),
        (["encode", "in.wav", "out.npy"], "--codec"),
        (["talk", "--as-fast-as-possible"], "needs --input-wav and --output-wav"),
        (["talk", "--input-wav", "a.wav", "--output-text", "./a.wav"], "is the input"),
        (["talk", "--channel", "0"], "--channel"),
        (["talk", "--voice", "NATF2", "--voice-wav", "me.wav"], "two voices: give one"),
        (["talk", "--input-wav", "a.wav", "--output-wav", "./a.wav"], "is the input"),
        (["encode", "--codec", "c", "a", "./a"], "is the input"),
        (["decode", "--codec", "c", "a", "./a"], "is the input"),
        (["encode", "--codec", "c", "--threads", "100000", "a", "b"], "--threads"),
        (["talk", "--seed", "-1"], "--seed"),
        (["talk", "--server", ""], "--server"),
        (["pull", "--server", "worker.example"], "--server"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(arguments: list[str], words: str) -> None:
    sentence = one_sentence(run("antiphon-edge", *arguments), status=2)
    assert words in sentence
    assert "--help" in sentence


def test_nobody_at_the_address_is_one_sentence(tiny_codec: Path, speech: Path, tmp_path: Path) -> None:
    address = unused_address()
    talked = run(
        "antiphon-edge", "talk", "--server", address, "--codec", tiny_codec, "--input-wav", speech,
        "--output-wav", tmp_path / "reply.wav",
    )  # fmt: skip
    assert f"no worker answers at {address}" in one_sentence(talked)


def status_here(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int | str | None:
    """Runs the command line in this process, and gives its status."""
    monkeypatch.setattr("sys.argv", ["antiphon-edge", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


async def test_a_cache_that_cannot_be_written_can_be_chosen(
    tiny_codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    async with stub_server(StubOptions(codec_files=codec_files(tiny_codec))) as server:
        for command in ("pull", "doctor", "talk"):
            arguments = (command, "--server", server.address, "--cache", tmp_path / "file")
            assert await asyncio.to_thread(status_here, monkeypatch, *arguments) == 1
            assert capsys.readouterr().err.endswith("/file/codecs: Not a directory; choose another --cache\n")


async def test_the_same_variable_names_the_cache_of_every_command(
    tiny_codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTIPHON_CACHE", str(tmp_path / "cache"))
    async with stub_server(StubOptions(codec_files=codec_files(tiny_codec))) as server:
        for command in ("pull", "doctor"):
            await asyncio.to_thread(
                status_here, monkeypatch, command, "--server", server.address, *["--seconds=1"] * (command == "doctor")
            )
    pulled = Path(capsys.readouterr().out.splitlines()[0])
    assert [pulled] == list((tmp_path / "cache/codecs").iterdir())


async def test_an_error_of_the_library_is_told_with_flags(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asyncio.to_thread(status_here, monkeypatch, "pull", "--server", "worker.example:50051") == 1
    assert "use --tls, or --insecure on a network that you trust" in capsys.readouterr().err


def test_a_talk_that_fails_leaves_an_older_reply_alone(tiny_codec: Path, speech: Path, tmp_path: Path) -> None:
    reply = tmp_path / "reply.wav"
    reply.write_bytes(b"an older reply")
    for wav in (speech, tmp_path / "missing.wav"):
        one_sentence(
            run(
                "antiphon-edge", "talk", "--server", unused_address(), "--codec", tiny_codec, "--input-wav", wav,
                "--output-wav", reply,
            )
        )  # fmt: skip
    assert reply.read_bytes() == b"an older reply"


@pytest.mark.parametrize("content", [None, b"", b"this is no wav file at all"])
def test_a_bad_wav_is_one_sentence(content: bytes | None, tiny_codec: Path, tmp_path: Path) -> None:
    wav = tmp_path / "bad.wav"
    if content is not None:
        wav.write_bytes(content)
    finished = run("antiphon-edge", "encode", "--codec", tiny_codec, wav, tmp_path / "codes.npy")
    assert str(wav) in one_sentence(finished)
    assert not (tmp_path / "codes.npy").exists()


def test_a_channel_that_is_not_there_is_one_sentence(tiny_codec: Path, speech: Path, tmp_path: Path) -> None:
    finished = run("antiphon-edge", "encode", "--codec", tiny_codec, "--channel", "2", speech, tmp_path / "codes.npy")
    assert f"{speech} has 1 channel: there is no channel 2" in one_sentence(finished)


def test_a_wav_that_is_cut_off_is_encoded_and_told(tiny_codec: Path, speech: Path, tmp_path: Path) -> None:
    speech.write_bytes(speech.read_bytes()[: 44 + 4800])
    finished = run("antiphon-edge", "encode", "--codec", tiny_codec, speech, tmp_path / "codes.npy")
    assert "speech.wav is cut off: 0.10 s of 0.20 s are missing" in one_sentence(finished, status=0)
    assert np.load(tmp_path / "codes.npy").shape == (2, 8)


def test_a_missing_codec_is_one_sentence(speech: Path, tmp_path: Path) -> None:
    finished = run("antiphon-edge", "encode", "--codec", tmp_path / "nowhere", speech, tmp_path / "codes.npy")
    assert "codec.json" in one_sentence(finished)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((5, 7), np.int32), r"expected shape [frames, 8]"),
        (np.full((5, 8), 2048, np.int32), "outside [0, 2048)"),
        (np.zeros((5, 8), np.float32), "expected integers"),
        (np.zeros((0, 8), np.int32), "holds no frames"),
    ],
)
def test_bad_codes_are_one_sentence(codes: np.ndarray, words: str, tiny_codec: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", codes)
    finished = run("antiphon-edge", "decode", "--codec", tiny_codec, tmp_path / "codes.npy", tmp_path / "out.wav")
    assert words in one_sentence(finished)


def test_an_output_that_cannot_be_written_is_one_sentence(tiny_codec: Path, speech: Path, tmp_path: Path) -> None:
    finished = run("antiphon-edge", "encode", "--codec", tiny_codec, speech, tmp_path / "no/such/folder/codes.npy")
    assert "cannot be written" in one_sentence(finished)


@pytest.mark.parametrize(
    ("rate_hz", "channels", "subtype"), [(24_000, 1, "PCM_16"), (96_000, 2, "PCM_24"), (8_000, 6, "PCM_U8")]
)
def test_any_wav_is_encoded_at_the_codecs_rate(
    rate_hz: int, channels: int, subtype: str, tiny_codec: Path, tmp_path: Path
) -> None:
    wav = tmp_path / "in.wav"
    soundfile.write(wav, np.full((rate_hz, channels), 0.1), rate_hz, subtype=subtype)
    finished = run("antiphon-edge", "encode", "--codec", tiny_codec, wav, tmp_path / "codes.npy")
    assert finished.status == 0, finished.err
    assert np.load(tmp_path / "codes.npy").shape == (13, 8)  # a second is 12.5 frames


@pytest.mark.parametrize(
    ("voices", "takes_voice", "out", "said"),
    [
        (("NATF0", "NATF1"), True, "NATF0\nNATF1\n", ""),
        ((), True, "", "give one of your own with talk --voice-wav"),
        ((), False, "", "stub takes no voice"),
    ],
)
async def test_voices_are_listed_one_a_line(voices: tuple[str, ...], takes_voice: bool, out: str, said: str) -> None:
    runner = StubRunner(spec=replace(SPEC, takes_voice=takes_voice))
    async with stub_server(StubOptions(runner=runner)) as server:
        server.server.worker.served.description.voices.extend(voices)
        finished = await asyncio.to_thread(run, "antiphon-edge", "voices", "--server", server.address)
    assert (finished.status, finished.out) == (0, out)
    assert said in finished.err
