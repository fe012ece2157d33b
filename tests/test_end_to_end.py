"""The whole path over a real socket, by the commands that users run: wav, codec, gRPC, model, gRPC, codec, wav."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors.numpy import load_file

from antiphon.spec import GREEDY, CodecSpec, ModelSpec
from antiphon_cloud.model.config import MAX_TOP_K
from antiphon_edge import Codec, Hearing, WavReader, WavWriter, connect
from antiphon_edge.transport.channel import open_channel
from tests.support.commands import COMMAND_TIMEOUT_S, call, environment, one_sentence, run, worker
from tests.support.golden import GOLDEN
from tools.harness.worker_process import BIN, Worker

SENTENCE = Path(__file__).parent / "sentence.wav"  # by espeak-ng 1.51: `espeak-ng -v en-gb -s 150`
SLOTS = 3


@pytest.fixture(scope="module")
def served(golden: Path, tiny_codec: Path) -> Iterator[Worker]:
    with worker("--model", golden / "moshi-tiny", "--codec", tiny_codec, "--slots", str(SLOTS)) as started:
        yield started


@pytest.fixture(scope="module")
def codec(tiny_codec: Path) -> Codec:
    return Codec.load(tiny_codec)


async def tokens_over_the_wire(
    address: str, codec: CodecSpec, user_codes: np.ndarray, **options: object
) -> tuple[np.ndarray, ModelSpec]:
    """A conversation through the SDK: tokens [frames − delay, 1 + codebooks]."""
    async with connect(address, codec, **options) as session:  # type: ignore[arg-type]

        async def send() -> None:
            for codes in user_codes:
                await session.send(codes)
            await session.end()

        sending = asyncio.create_task(send())
        rows = [[reply.text_token, *reply.codes.tolist()] async for reply in session if reply.codes is not None]
        await sending
        return np.array(rows), session.model


async def test_golden_tokens_cross_the_wire_unchanged(served: Worker, codec: Codec, golden: Path) -> None:
    expected = load_file(golden / "moshi-tiny/expected.safetensors")
    tokens, model = await tokens_over_the_wire(served.address, codec.spec, expected["user_codes"], sampling=GREEDY)
    assert (tokens == expected["tokens"]).all()
    assert (model.model_type, model.delay_steps, model.weights) == ("moshi", 1, "float32")


async def test_concurrent_clients_get_what_each_would_get_alone(
    served: Worker, codec: Codec, golden: Path, tmp_path: Path
) -> None:
    user_codes = load_file(golden / "moshi-tiny/expected.safetensors")["user_codes"][:60]
    conversations = [np.roll(user_codes, seed * 7, axis=0) for seed in range(SLOTS)]
    together = await asyncio.gather(
        *(
            tokens_over_the_wire(served.address, codec.spec, codes, seed=seed)
            for seed, codes in enumerate(conversations)
        )
    )
    for seed, codes in enumerate(conversations):
        np.save(tmp_path / "user.npy", codes)
        out = tmp_path / f"{seed}.npz"
        finished = call(
            "antiphon-cloud", "replay", "--model", golden / "moshi-tiny", "--user-codes", tmp_path / "user.npy",
            "--out", out, "--seed", str(seed),
        )  # fmt: skip
        assert finished.status == 0, finished.err
        assert (together[seed][0] == np.load(out)["tokens"]).all()


def test_talk_answers_a_wav_with_a_wav(served: Worker, codec: Codec, tiny_codec: Path, tmp_path: Path) -> None:
    reply = tmp_path / "reply.wav"
    talked = run(
        "antiphon-edge", "talk", "--server", served.address, "--input-wav", SENTENCE, "--output-wav", reply,
        "--as-fast-as-possible", "--seed", "1", "--stats", XDG_CACHE_HOME=str(tmp_path / "cache"),
    )  # fmt: skip
    assert talked.status == 0, talked.err
    spoken_s = soundfile.info(SENTENCE).duration
    assert abs(soundfile.info(reply).duration - spoken_s) < 0.08
    assert soundfile.info(reply).samplerate == 24_000
    assert len(talked.out.strip()) > 20
    assert {"encode", "network", "wait", "step", "decode"} <= set(talked.err.split())

    # The same conversation in parts, offline: encode, replay, decode.
    codes, out, decoded = tmp_path / "codes.npy", tmp_path / "out.npz", tmp_path / "decoded.wav"
    with_a_silent_frame = tmp_path / "said.wav"  # while the model's delay runs out
    silence = np.zeros(codec.spec.frame_samples, np.float32)
    with WavWriter(with_a_silent_frame, codec.spec.sample_rate_hz) as writer:
        writer.write(np.concatenate([*frames_of(SENTENCE, codec), silence]))
    assert run("antiphon-edge", "encode", "--restart", "--codec", tiny_codec, with_a_silent_frame, codes).status == 0
    model = GOLDEN / "moshi-tiny"
    replayed = call("antiphon-cloud", "replay", "--model", model, "--user-codes", codes, "--out", out, "--seed", "1")
    assert replayed.status == 0, replayed.err
    np.save(codes, np.load(out)["tokens"][:, 1:])
    assert run("antiphon-edge", "decode", "--codec", tiny_codec, codes, decoded).status == 0
    assert (soundfile.read(reply)[0] == soundfile.read(decoded)[0]).all()


def test_a_recorded_conversation_is_heard_again(served: Worker, codec: Codec, tiny_codec: Path, tmp_path: Path) -> None:
    recording, reply, both = tmp_path / "talk.antiphon", tmp_path / "reply.wav", tmp_path / "both.wav"
    talked = run(
        "antiphon-edge", "talk", "--server", served.address, "--input-wav", SENTENCE, "--output-wav", reply,
        "--codec", tiny_codec, "--as-fast-as-possible", "--seed", "7", "--record", recording,
    )  # fmt: skip
    assert talked.status == 0, talked.err
    heard = run("antiphon-edge", "replay-recording", "--codec", tiny_codec, recording, both)
    assert heard.status == 0, heard.err
    samples, _ = soundfile.read(both)
    answered, _ = soundfile.read(reply)
    assert samples.shape[1] == 2
    delay = codec.spec.frame_samples  # of one step
    np.testing.assert_array_equal(samples[delay:, 1], answered)
    assert heard.out.startswith("[00:00.")
    again = run(
        "antiphon-edge", "talk", "--server", served.address, "--input-wav", SENTENCE, "--output-wav", reply,
        "--codec", tiny_codec, "--as-fast-as-possible", "--record", recording,
    )  # fmt: skip
    assert again.status == 1
    assert "exists already" in again.err


def frames_of(path: Path, codec: Codec) -> list[np.ndarray]:
    with WavReader(path, codec.spec.sample_rate_hz, codec.spec.frame_samples) as reader:
        return list(reader)


def test_pull_fetches_a_codec_that_works(served: Worker, tiny_codec: Path, tmp_path: Path) -> None:
    pulled = run("antiphon-edge", "pull", "--server", served.address, "--cache", tmp_path / "cache")
    assert pulled.status == 0, pulled.err
    folder = Path(pulled.out.strip())
    assert (folder / "encoder.onnx").read_bytes() == (tiny_codec / "encoder.onnx").read_bytes()
    codes = tmp_path / "codes.npy"
    assert run("antiphon-edge", "encode", "--codec", folder, SENTENCE, codes).status == 0


def test_a_full_worker_sends_the_next_client_away(served: Worker, codec: Codec, tmp_path: Path) -> None:
    async def fill_and_knock() -> None:
        async with asyncio.TaskGroup() as tasks:
            opened, close = [asyncio.Event() for _ in range(SLOTS)], asyncio.Event()

            async def hold(event: asyncio.Event) -> None:
                async with connect(served.address, codec.spec):
                    event.set()
                    await close.wait()

            for event in opened:
                tasks.create_task(hold(event))
            for event in opened:
                await event.wait()
            knocked = await asyncio.to_thread(
                run, "antiphon-edge", "talk", "--server", served.address, "--input-wav", SENTENCE,
                "--output-wav", tmp_path / "reply.wav", "--as-fast-as-possible",
                XDG_CACHE_HOME=str(tmp_path / "cache"),
            )  # fmt: skip
            close.set()
        assert f"all {SLOTS} slots are taken" in one_sentence(knocked)

    asyncio.run(fill_and_knock())


async def test_get_model_tells_what_is_served(served: Worker) -> None:
    from antiphon.v1 import dialogue_pb2 as pb

    async with open_channel(served.address) as stub:
        model = await stub.GetModel(pb.GetModelRequest())
    assert (model.model.name, model.limits.max_sessions, model.limits.max_top_k) == ("moshi-tiny", SLOTS, MAX_TOP_K)


def test_sigterm_ends_a_worker_cleanly(golden: Path, tiny_codec: Path) -> None:
    with worker("--model", golden / "moshi-tiny", "--codec", tiny_codec) as started:
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(20) == 0


def test_a_port_in_use_is_one_sentence(served: Worker, golden: Path, tiny_codec: Path) -> None:
    second = call(
        "antiphon-cloud", "serve", "--model", golden / "moshi-tiny", "--codec", tiny_codec, "--listen", served.address
    )
    assert f"cannot listen on {served.address}" in one_sentence(second)


@pytest.fixture(scope="module")
def listening(golden: Path, tiny_codec: Path) -> Iterator[Worker]:
    with worker("--model", golden / "stt-tiny", "--codec", tiny_codec) as started:
        yield started


async def test_a_model_that_only_listens_answers_with_text(listening: Worker, codec: Codec, golden: Path) -> None:
    expected = load_file(golden / "stt-tiny/expected.safetensors")
    async with connect(listening.address, codec.spec) as session:
        heard, pauses = [], []
        for codes in expected["user_codes"]:
            await session.send(codes)
            reply = await session.receive()
            assert reply is not None
            assert reply.codes is None
            heard.append([reply.text_token])
            assert reply.pause is not None
            pauses.append(reply.pause)
        assert (session.model.text_delay_ms, session.model.hears_pauses) == (500, True)
    assert (np.array(heard) == expected["tokens"]).all()
    np.testing.assert_allclose(pauses, expected["extra_heads"][:, 2, 0], rtol=1e-4)


def test_a_model_that_only_listens_needs_no_speaker_and_writes_all_that_it_hears(
    listening: Worker, codec: Codec, tiny_codec: Path, tmp_path: Path
) -> None:
    async def transcribe() -> tuple[int, str]:
        async with connect(listening.address, codec.spec) as session:
            assert (session.model.silence_before_ms, session.model.silence_after_ms) == (0, 1500)
            text = ""
            for codes in Hearing(codec, session.model).codes(frames_of(SENTENCE, codec)):
                await session.send(codes)
                reply = await session.receive()
                assert reply is not None
                text += reply.text
            return session.history.steps, text

    frames, text = asyncio.run(transcribe())
    assert frames == 1 + -(-(len(frames_of(SENTENCE, codec)) * 1920 + 36_000) // 1920)
    common: list[str | Path] = ["talk", "--server", listening.address, "--codec", tiny_codec, "--as-fast-as-possible"]
    written = tmp_path / "said.txt"
    talked = run("antiphon-edge", *common, "--input-wav", SENTENCE, "--output-text", written)
    assert (talked.status, talked.out, talked.err) == (0, "", "")
    assert written.read_text() == text + "\n"

    data = SENTENCE.read_bytes()
    stream = data[:40] + b"\xff" * 4 + data[44:]  # as ffmpeg and arecord write to a pipe: of unknown length
    piped = subprocess.run(
        [BIN / "antiphon-edge", *map(str, common), "--input-wav", "-", "--output-wav", tmp_path / "never.wav"],
        input=stream, capture_output=True, timeout=COMMAND_TIMEOUT_S, env=environment(), check=True,
    )  # fmt: skip
    assert piped.stdout.decode() == text + "\n"
    assert piped.stderr.decode() == f"antiphon-edge: stt-tiny only listens: {tmp_path / 'never.wav'} is not written\n"
    assert not (tmp_path / "never.wav").exists()
