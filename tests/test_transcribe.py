"""`antiphon-edge transcribe` against a worker whose model hears 32 codebooks, as the published ones do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.codec.silence import silence_codes
from antiphon_cloud.runner.runner import ModelRunner
from antiphon_cloud.runner.settings import SessionSettings
from antiphon_cloud.sessions.prompts.listening import stt_prompt
from antiphon_edge import Codec, Hearing, WavReader, connect
from antiphon_edge.client.events import Reply
from antiphon_edge.transcript.words import Words
from tests.support.commands import COMMAND_TIMEOUT_S, Finished, call, environment, one_sentence, run, worker
from tests.support.language_models import copy_model, random_model
from tests.support.shared import made_once
from tests.support.sound_server import SoundServer
from tools.harness.worker_process import BIN, Worker

SENTENCE = Path(__file__).parent / "sentence.wav"
CODEBOOKS = 32
PROMPT = "Moshi time."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of random weights that listens to 32 codebooks, with its codec."""

    def make(folder: Path) -> None:
        silence = {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.2}
        copied = copy_model(
            "stt-tiny", folder / "ears", n_q=CODEBOOKS, delays=[0] * (CODEBOOKS + 1), stt_config=silence
        )
        lm = ModelDirectory.open(copied).config.lm
        save_file(random_model(lm).state_dict(), copied / "model.safetensors")
        assert call("antiphon-cloud", "export-codec", "--model", copied).status == 0

    return made_once(tmp_path_factory, "listening", make) / "ears"


@pytest.fixture(scope="module")
def listening(model: Path) -> Iterator[Worker]:
    with worker("--model", model) as started:
        yield started


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def transcribe(server: Worker, cache: Path, *arguments: str | Path) -> Finished:
    return run("antiphon-edge", "transcribe", "--server", server.address, "--cache", cache, *arguments)


def fed(server: Worker, cache: Path, data: bytes, *arguments: str) -> Finished:
    """The same with `data` on standard input."""
    options: list[str | Path] = ["--server", server.address, "--cache", cache, *arguments]
    done = subprocess.run(
        [BIN / "antiphon-edge", "transcribe", "-", *options],
        input=data,
        capture_output=True,
        timeout=COMMAND_TIMEOUT_S,
        env=environment(),
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def text(listening: Worker, cache: Path) -> str:
    """What is heard of the sentence."""
    done = transcribe(listening, cache, SENTENCE)
    assert (done.status, done.err) == (0, "")
    assert len(done.out.split()) > 10
    return done.out


async def test_32_codebooks_cross_the_wire_and_the_words_are_those_of_the_replies(
    listening: Worker, cache: Path, model: Path, text: str, tmp_path: Path
) -> None:
    codec = Codec.load(model / "codec", only="encoder")
    assert codec.spec.codebooks == CODEBOOKS
    with WavReader(SENTENCE, codec.spec.sample_rate_hz, codec.spec.frame_samples) as frames:
        async with connect(listening.address, codec.spec) as session:
            assert session.model.user_packer.size_bytes == 44
            user_codes = list(Hearing(codec, session.model).codes(frames))
            replies: list[Reply] = []
            for codes in user_codes:
                await session.send(codes)
                reply = await session.receive()
                assert reply is not None
                replies.append(reply)
            words = Words(session.model, codec.spec.frame_s)
            known = [word for reply in replies for word in words.add(reply)] + words.end()
    assert [word.text for word in known if word.end_s is None] == text.split()

    timed = transcribe(listening, cache, SENTENCE, "--json", "--words")
    lines = [json.loads(line) for line in timed.out.splitlines()]
    assert [(line["text"], line["start_s"], line["end_s"]) for line in lines] == [
        (word.text, round(word.start_s, 3), round(word.end_s, 3)) for word in known if word.end_s is not None
    ]

    np.save(tmp_path / "codes.npy", user_codes)
    out = tmp_path / "out.npz"
    replayed = call("antiphon-cloud", "replay", "--model", model, "--user-codes", tmp_path / "codes.npy", "--out", out)
    assert replayed.status == 0, replayed.err
    assert np.load(out)["tokens"][:, 0].tolist() == [reply.text_token for reply in replies]


def test_only_the_encoder_is_pulled(listening: Worker, cache: Path, text: str) -> None:
    (folder,) = (cache / "codecs").iterdir()
    assert {file.name for file in folder.iterdir()} == {"codec.json", "encoder.onnx"}


def test_doctor_and_pull_work_with_32_codebooks(listening: Worker, tmp_path: Path) -> None:
    pulled = run("antiphon-edge", "pull", "--server", listening.address, "--cache", tmp_path)
    assert pulled.status == 0, pulled.err
    looked = run(
        "antiphon-edge", "doctor", "--server", listening.address, "--codec", pulled.out.strip(), "--seconds", "1",
        "--json",
    )  # fmt: skip
    assert json.loads(looked.out)["keeps_up"], looked


def test_a_pipe_brings_a_wav_or_bare_samples(listening: Worker, cache: Path, text: str) -> None:
    data = SENTENCE.read_bytes()
    unfinished = data[:40] + b"\xff" * 4 + data[44:]  # as ffmpeg and arecord write to a pipe: of unknown length
    assert fed(listening, cache, unfinished) == Finished(0, text, "")
    samples, rate_hz = soundfile.read(SENTENCE, dtype="int16")
    assert fed(listening, cache, samples.tobytes(), "--raw", str(rate_hz)) == Finished(0, text, "")
    torn = fed(listening, cache, samples.tobytes() + b"\x01", "--raw", str(rate_hz))
    assert (torn.status, torn.out) == (0, text)
    assert torn.err == (
        "antiphon-edge: standard input ends amid a sample, which is left out: is it 16-bit, of one channel?\n"
    )


def test_a_live_pipe_is_written_down_to_its_last_word_when_ctrl_c_ends_it(
    listening: Worker, cache: Path, text: str, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    samples, rate_hz = soundfile.read(SENTENCE, dtype="int16")
    options: list[str | Path] = ["--server", listening.address, "--cache", cache, "--raw", str(rate_hz)]
    command = [BIN / "antiphon-edge", "transcribe", *options, pipe]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        with pipe.open("wb", buffering=0) as sound:
            feeding = threading.Thread(target=sound.write, args=(samples.tobytes(),))
            feeding.start()
            begun = process.stdout.read(20)  # it has come, though the pipe has not ended
            feeding.join()
            process.send_signal(signal.SIGINT)
            rest, err = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert (process.returncode, err) == (0, b"")
    assert (begun + rest).endswith(b"\n")
    assert text.startswith(begun.decode())


async def test_a_prompt_is_what_the_model_has_written_before(
    listening: Worker, cache: Path, model: Path, text: str
) -> None:
    directory = ModelDirectory.open(model)
    runner = ModelRunner.load(directory, 1, torch.float32, "cpu")
    tokenizer, silence = Tokenizer(directory.tokenizer), silence_codes(directory, 13)
    history = stt_prompt(runner.spec, [tokenizer.encode(word) for word in PROMPT.split()], silence)
    past = runner.resume(0, 7, runner.spec.sampling, history, SessionSettings(prompt_steps=len(history)))
    while past.left:
        past.advance(64)
    user_codes = np.tile(silence[-1], (30, 1))
    expected = [int(runner.step([0], codes[None]).text[0]) for codes in user_codes]

    codec = Codec.load(model / "codec", only="encoder")
    async with connect(listening.address, codec.spec, seed=7, prompt_text=PROMPT) as session:
        assert session.model.takes_text
        assert session.prompt_steps == len(history)
        heard = []
        for codes in user_codes:
            await session.send(codes)
            reply = await session.receive()
            assert reply is not None
            heard.append(reply.text_token)
    assert heard == expected
    prompted = await asyncio.to_thread(transcribe, listening, cache, SENTENCE, "--prompt", PROMPT)
    assert (prompted.status, prompted.err) == (0, "")
    assert prompted.out != text


def test_subtitles_are_written(listening: Worker, cache: Path, text: str) -> None:
    done = transcribe(listening, cache, SENTENCE, "--srt")
    assert done.status == 0, done.err
    cues = [cue.splitlines() for cue in done.out.strip().split("\n\n")]
    assert [cue[0] for cue in cues] == [str(number) for number in range(1, len(cues) + 1)]
    assert " ".join(line for cue in cues for line in cue[2:]).replace(" ", "") == text.replace("\n", "").replace(
        " ", ""
    )
    assert transcribe(listening, cache, SENTENCE, "--vtt").out.startswith("WEBVTT\n\n00:00:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "--srt"], "choose one"),
        (["--raw", "16000"], "--raw says what IN brings"),
        (["--raw", "10"], "--raw"),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], words: str) -> None:
    assert words in one_sentence(run("antiphon-edge", "transcribe", *arguments), status=2)


def test_sound_that_is_none_is_one_sentence(listening: Worker, cache: Path, tmp_path: Path) -> None:
    empty, silent = tmp_path / "empty.wav", tmp_path / "silent.wav"
    empty.touch()
    soundfile.write(silent, np.zeros(0), 24_000)
    assert f"{empty} is empty" in one_sentence(transcribe(listening, cache, empty))
    assert f"{silent} holds no audio" in one_sentence(transcribe(listening, cache, silent))
    assert "standard input holds no audio" in one_sentence(fed(listening, cache, b"", "--raw", "24000"))
    assert "standard input brings no wav" in one_sentence(fed(listening, cache, b"no wav"))


def test_another_codec_is_one_sentence(listening: Worker, tiny_codec: Path) -> None:
    refused = run("antiphon-edge", "transcribe", "--server", listening.address, "--codec", tiny_codec, SENTENCE)
    assert "run antiphon-edge pull to fetch the worker's" in one_sentence(refused)


def test_a_model_that_speaks_is_for_talk(golden: Path, tiny_codec: Path, tmp_path: Path) -> None:
    with worker("--model", golden / "moshi-tiny", "--codec", tiny_codec) as speaking:
        sentence = one_sentence(transcribe(speaking, tmp_path, SENTENCE))
    assert "moshi-tiny" in sentence
    assert sentence.endswith("or speak to this one with antiphon-edge talk")


def test_what_is_said_into_the_microphone_is_written_down_until_ctrl_c(sound: SoundServer, listening: Worker) -> None:
    command = [str(BIN / "antiphon-edge"), "transcribe", "--server", listening.address]
    env = environment() | sound.child_env()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as writing:
        assert writing.stderr is not None
        assert writing.stderr.readline().startswith("listening")
        samples, rate_hz = soundfile.read(SENTENCE, dtype="float32")
        sound.say("micbus", samples, rate_hz)
        writing.send_signal(signal.SIGINT)
        out, err = writing.communicate(timeout=COMMAND_TIMEOUT_S)
    assert writing.returncode == 0, err
    assert "Traceback" not in err
    assert len(out.split()) > 5
