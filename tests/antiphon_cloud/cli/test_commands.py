"""antiphon-cloud: one sentence for everything that goes wrong."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from antiphon_number_clerk import NUMBER_CLERK
from tests.support.commands import call, one_sentence, run

ANYWHERE = ("--listen", "127.0.0.1:0")  # no port is this machine's alone


@pytest.fixture
def model(golden: Path, tmp_path: Path) -> Path:
    """A copy of the golden model that a test may damage."""
    return Path(shutil.copytree(golden / "moshi-tiny", tmp_path / "model"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--quantize", "int4"], "--quantize"),
        (["serve", "--model", "m", "--slots", "0"], "--slots"),
        (["replay", "--model", "m"], "--user-codes"),
        (["replay", "--model", "m", "--user-codes", "a", "--out", "./a"], "is the input"),
        (["serve", "--model", "m", "--threads", "100000"], "--threads"),
        (["serve", "--model", "m", "--idle-timeout", "nan"], "--idle-timeout"),
        (["serve", "--model", "m", "--drain", "inf"], "--drain"),
        (["plan", "--model", "m", "--memory", "nan"], "--memory"),
        (["serve", "--model", "m", "--device", "tpu"], "--device"),
        (["serve", "--model", "m", "--listen", "127.0.0.1:99999"], "--listen"),
        (["serve", "--model", "m", "--listen", "50051"], "--listen"),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(arguments: list[str], words: str) -> None:
    assert words in one_sentence(call("antiphon-cloud", *arguments), status=2)


def test_replay_writes_the_golden_tokens(golden: Path, tmp_path: Path) -> None:
    expected = load_file(golden / "moshi-tiny/expected.safetensors")
    np.save(tmp_path / "user.npy", expected["user_codes"])
    finished = run(
        "antiphon-cloud", "replay", "--model", golden / "moshi-tiny", "--user-codes", tmp_path / "user.npy",
        "--out", tmp_path / "out.npz", "--dtype", "float32", "--greedy",
    )  # fmt: skip
    assert finished.status == 0, finished.err
    tokens = np.load(tmp_path / "out.npz")["tokens"]
    assert tokens.dtype == np.int32
    assert (tokens == expected["tokens"]).all()


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("no_prompt", ()),
        ("voice_and_text", ("--voice-codes", "voice.npy", "--persona", "hello moshi listens and speaks")),
        ("pt_voice_and_text", ("--voice", "TINY", "--persona", "hello moshi listens and speaks")),
    ],
)
def test_replay_begins_with_a_voice_and_a_persona(
    kind: str, flags: tuple[str, ...], golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = load_file(golden / "personaplex-tiny/expected.safetensors")
    np.save("user.npy", expected["user_codes"])
    np.save("voice.npy", expected["voice_codes"])
    finished = run(
        "antiphon-cloud", "replay", "--model", golden / "personaplex-tiny", "--user-codes", "user.npy",
        "--out", "out.npz", "--dtype", "float32", "--greedy", *flags,
    )  # fmt: skip
    assert finished.status == 0, finished.err
    assert (np.load("out.npz")["tokens"] == expected[f"tokens_{kind}"]).all()


def test_a_persona_for_a_model_that_takes_none_is_one_sentence(golden: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "user.npy", np.zeros((2, 8), np.int32))
    finished = call(
        "antiphon-cloud", "replay", "--model", golden / "moshi-tiny", "--user-codes", tmp_path / "user.npy",
        "--out", tmp_path / "out.npz", "--persona", "You are a pirate.",
    )  # fmt: skip
    assert "takes no prompt" in one_sentence(finished)


def test_a_replay_that_cannot_be_kept_is_not_begun(golden: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "user.npy", np.zeros((2, 8), np.int32))
    out = tmp_path / "no/such/folder/out.npz"
    finished = call(
        "antiphon-cloud",
        "replay",
        "--model",
        golden / "moshi-tiny",
        "--user-codes",
        tmp_path / "user.npy",
        "--out",
        out,
    )
    assert f"{out}: cannot be written" in one_sentence(finished)


@pytest.mark.parametrize("damage", ["nothing there", "no weights", "truncated", "unknown key"])
def test_serving_a_damaged_model_is_one_sentence(damage: str, model: Path, tiny_codec: Path) -> None:
    words = {"nothing there": "no such directory", "no weights": "model.safetensors", "truncated": "model.safetensors"}
    match damage:
        case "nothing there":
            shutil.rmtree(model)
        case "no weights":
            (model / "model.safetensors").unlink()
        case "truncated":
            data = (model / "model.safetensors").read_bytes()
            (model / "model.safetensors").write_bytes(data[: len(data) // 2])
        case "unknown key":
            config = json.loads((model / "config.json").read_text())
            (model / "config.json").write_text(json.dumps(config | {"flux_capacitor": 1}))
    served = call(
        "antiphon-cloud", "serve", *ANYWHERE, "--model", model, "--codec", tiny_codec, "--listen", "127.0.0.1:0"
    )
    sentence = one_sentence(served)
    assert words.get(damage, "flux_capacitor") in sentence
    assert served.out == ""


def test_serving_without_a_gpu_on_cuda_is_one_sentence(model: Path, tiny_codec: Path) -> None:
    served = call(
        "antiphon-cloud",
        "serve",
        *ANYWHERE,
        "--model",
        model,
        "--codec",
        tiny_codec,
        "--device",
        "cuda",
        CUDA_VISIBLE_DEVICES="",
    )
    assert "--device cuda" in one_sentence(served)


def test_serving_int8_weights_as_floats_is_one_sentence(golden: Path, tiny_codec: Path) -> None:
    model = golden / "moshi-tiny-q8"
    served = call("antiphon-cloud", "serve", *ANYWHERE, "--model", model, "--codec", tiny_codec, "--quantize", "none")
    assert "the weights are int8 already" in one_sentence(served)


def test_slots_that_memory_does_not_hold_are_one_sentence_with_the_figure(model: Path, tiny_codec: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"context": 10_000_000}))
    served = call("antiphon-cloud", "serve", *ANYWHERE, "--model", model, "--codec", tiny_codec, "--slots", "1000")
    sentence = one_sentence(served)
    assert "the model needs" in sentence
    assert "GB with 1000 slots" in sentence


def test_export_codec_needs_no_language_model_and_writes_into_the_model_directory(tiny_codec: Path) -> None:
    assert sorted(path.name for path in tiny_codec.parent.iterdir()) == [
        "codec",
        "mimi.safetensors",
        "mimi_config.json",
    ]
    assert {path.name for path in tiny_codec.iterdir()} == {"codec.json", "encoder.onnx", "decoder.onnx"}
    assert json.loads((tiny_codec / "codec.json").read_text())["codebooks"] == 8


@pytest.mark.parametrize("arguments", [[], ["--model", NUMBER_CLERK], ["--precision", "int8"]])
def test_export_codec_leaves_the_embedded_codec_alone(arguments: list[str | Path]) -> None:
    codec = NUMBER_CLERK / "codec"
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in codec.iterdir()}
    exported = call("antiphon-cloud", "export-codec", *arguments)
    assert "give --model or --out" in one_sentence(exported, status=2)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in codec.iterdir()} == before


def test_the_embedded_model_has_no_codec_to_export(tmp_path: Path) -> None:
    exported = call("antiphon-cloud", "export-codec", "--out", tmp_path / "codec")
    assert "mimi.safetensors: no such file" in one_sentence(exported)
    assert not (tmp_path / "codec/codec.json").exists()


@pytest.mark.parametrize("command", ["serve", "plan"])
def test_without_the_number_clerk_a_model_must_be_named(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "antiphon_number_clerk", None)  # as if it were not installed
    said = one_sentence(call("antiphon-cloud", command), status=2)
    assert "there is no model: name one with --model, or pip install antiphon-number-clerk" in said


def test_a_report_needs_int8(model: Path) -> None:
    exported = call("antiphon-cloud", "export-codec", "--model", model, "--report-wav", "speech.wav")
    assert exported.status == 2
    assert "--precision int8" in exported.err


def test_a_codec_that_cannot_be_written_is_one_sentence(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    exported = call("antiphon-cloud", "export-codec", "--model", model, "--out", tmp_path / "file")
    assert str(tmp_path / "file") in one_sentence(exported)
