"""The codec on the edge: the reference's codes and sound, and folders that are refused."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from safetensors.numpy import load_file

from antiphon.errors import AntiphonError, CodesError
from antiphon_edge.codec.codec import Codec
from antiphon_edge.errors import CodecFilesError


@pytest.fixture(scope="module")
def codec(tiny_codec: Path) -> Codec:
    return Codec.load(tiny_codec)


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict[str, npt.NDArray[Any]]:
    tensors: dict[str, npt.NDArray[Any]] = load_file(golden / "mimi-tiny/expected.safetensors")
    return tensors | {"frames": tensors["pcm"].reshape(-1, 1920)}


def test_spec(codec: Codec) -> None:
    spec = codec.spec
    assert (spec.sample_rate_hz, spec.frame_samples, spec.codebooks, spec.cardinality) == (24_000, 1_920, 8, 2_048)
    assert len(spec.fingerprint) == 32


def test_every_code_equals_the_reference(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    encoder = codec.encoder()
    codes = [encoder.step(frame) for frame in expected["frames"]]
    assert codes[0].dtype == np.int32
    np.testing.assert_array_equal(codes, expected["codes"])


def test_the_audio_equals_the_reference(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    decoder = codec.decoder()
    decoded = np.concatenate([decoder.step(codes) for codes in expected["codes"]])
    error = decoded - expected["decoded"]
    assert decoded.dtype == np.float32
    assert np.abs(error).max() / np.abs(expected["decoded"]).max() < 1e-4
    assert np.linalg.norm(error) / np.linalg.norm(expected["decoded"]) < 1e-4


def test_streams_do_not_hear_each_other(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    one, other = codec.encoder(), codec.encoder()
    player, other_player = codec.decoder(), codec.decoder()
    rng = np.random.default_rng(0)
    alone = codec.decoder()
    for frame, codes in list(zip(expected["frames"], expected["codes"], strict=True))[:30]:
        np.testing.assert_array_equal(one.step(frame), codes)
        other_player.step(other.step(rng.normal(0, 0.3, 1920).astype(np.float32)))
        np.testing.assert_array_equal(player.step(codes), alone.step(codes))


def test_streams_run_side_by_side_in_threads(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    def encode(_: int) -> list[npt.NDArray[np.int32]]:
        encoder = codec.encoder()
        return [encoder.step(frame) for frame in expected["frames"][:40]]

    with ThreadPoolExecutor(4) as threads:
        for codes in threads.map(encode, range(8)):
            np.testing.assert_array_equal(codes, expected["codes"][:40])


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_reset_starts_a_new_stream(codec: Codec, expected: dict[str, npt.NDArray[Any]], frames: int) -> None:
    encoder, decoder = codec.encoder(), codec.decoder()
    start = [encoder.step(frame) for frame in expected["frames"][:frames]]
    audio = [decoder.step(codes) for codes in start]
    encoder.reset()
    decoder.reset()
    again = [encoder.step(frame) for frame in expected["frames"][:frames]]
    np.testing.assert_array_equal(again, start)
    np.testing.assert_array_equal([decoder.step(codes) for codes in again], audio)


def test_results_belong_to_the_caller(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    encoder = codec.encoder()
    first = encoder.step(expected["frames"][0])
    kept = first.copy()
    encoder.step(expected["frames"][1])
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    ("pcm", "sentence"),
    [
        (np.zeros(1919, np.float32), "expected a frame of 1920 samples, got 1919"),
        ([0.0] * 7, "expected a frame of 1920 samples, got 7"),
        (np.zeros((1, 1920), np.float32), r"expected mono samples \[N\], got shape \[1, 1920\]"),
        (np.full(1920, np.nan, np.float32), "holds samples that are not numbers"),
        (np.full(1920, -np.inf), "holds samples that are not numbers"),
        (np.full(1920, 3000.0, np.float32), "a sample of 3000 is far beyond full scale, which is 1: divide by 32768"),
        (np.zeros(1920, np.int32), r"expected floats in \[-1, 1\] or int16, got int32"),
        ([[0.0], [0.0, 1.0]], "expected an array of numbers, got list"),
        ("loud", "expected mono samples"),
        (None, "expected mono samples"),
    ],
)
def test_samples_that_are_none_are_refused(codec: Codec, pcm: Any, sentence: str) -> None:
    with pytest.raises(AntiphonError, match=f"^pcm: {sentence}"):
        codec.encoder().step(pcm)


def test_samples_are_taken_as_a_caller_has_them(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    integers = np.rint(expected["frames"][:3] * 32_767).astype(np.int16)
    scaled = (integers / 32_768).astype(np.float32)
    forms: list[Any] = [scaled, scaled.astype(np.float64), integers, [frame.tolist() for frame in scaled]]
    codes = []
    for form in forms:
        encoder = codec.encoder()
        codes.append([encoder.step(frame) for frame in form])
    for other in codes[1:]:
        np.testing.assert_array_equal(other, codes[0])


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros(7, np.int32),
        np.zeros((1, 8), np.int32),
        np.zeros(8, np.float32),
        np.array([0, 0, 0, 2048, 0, 0, 0, 0]),
        np.array([0, 0, 0, -1, 0, 0, 0, 0]),
        np.array([0, 0, 0, 1 << 40, 0, 0, 0, 0]),
        [0.0] * 8,
        [[1], [2, 3]],
        None,
    ],
)
def test_codes_that_do_not_fit_are_refused(codec: Codec, codes: Any) -> None:
    with pytest.raises(CodesError, match="codes: "):
        codec.decoder().step(codes)


def test_codes_are_taken_as_a_list(codec: Codec, expected: dict[str, npt.NDArray[Any]]) -> None:
    codes = expected["codes"][0]
    np.testing.assert_array_equal(codec.decoder().step(codes.tolist()), codec.decoder().step(codes))


def test_a_codec_is_loaded_from_a_path_in_a_str(tiny_codec: Path) -> None:
    assert Codec.load(str(tiny_codec)).spec == Codec.load(tiny_codec).spec


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"threads": 0}, "threads: expected 1 or more, got 0"), ({"only": "ears"}, 'only: expected "encoder", "decoder"')],
)
def test_arguments_of_load_are_checked(tiny_codec: Path, arguments: Any, sentence: str) -> None:
    with pytest.raises(AntiphonError, match=f"^{sentence}"):
        Codec.load(tiny_codec, **arguments)


def test_one_half_needs_no_file_of_the_other(
    tiny_codec: Path, tmp_path: Path, expected: dict[str, npt.NDArray[Any]]
) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(tiny_codec, folder)
    (folder / "decoder.onnx").unlink()
    codec = Codec.load(folder, only="encoder")
    np.testing.assert_array_equal(codec.encoder().step(expected["frames"][0]), expected["codes"][0])
    with pytest.raises(AntiphonError, match='loaded with only="encoder"'):
        codec.decoder()


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "codec.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def replace_graph(folder: Path, data: bytes) -> None:
    """Puts another encoder in place, with a manifest that vouches for it."""
    (folder / "encoder.onnx").write_bytes(data)
    edit(folder, lambda m: m["encoder"].update(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()))


def pipe_at(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def with_external_data(folder: Path) -> None:
    model = onnx.load(folder / "encoder.onnx")
    onnx.save(model, folder / "external.onnx", save_as_external_data=True, location="weights.bin")
    replace_graph(folder, (folder / "external.onnx").read_bytes())


def with_external_data_outside(folder: Path) -> None:
    with_external_data(folder)
    (folder / "weights.bin").rename(folder.parent / "weights.bin")
    model = onnx.load(folder / "encoder.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../weights.bin"
    replace_graph(folder, model.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "codec.json").unlink(), r"codec\.json: cannot be read"),
        (lambda f: (f / "codec.json").write_text("[" * 100_000), r"codec\.json: not a codec manifest"),
        (lambda f: (f / "codec.json").write_text("{"), r"codec\.json: not a codec manifest"),
        (lambda f: (f / "codec.json").write_text('{"format": 1}'), r"codec\.json: not a codec manifest .*fingerprint"),
        (lambda f: (f / "codec.json").write_bytes(b"\xff\xfe"), r"codec\.json: not a codec manifest"),
        (lambda f: edit(f, lambda m: m.update(format=3)), r"codec\.json: made by a newer version \(format 3"),
        (lambda f: edit(f, lambda m: m.update(format=0)), r"codec\.json: not a codec manifest"),
        (lambda f: edit(f, lambda m: m.update(codebooks="8")), r"codec\.json: not a codec manifest .*codebooks"),
        (lambda f: edit(f, lambda m: m.update(codebooks=0)), r"codec\.json: not a codec manifest .*codebooks"),
        (lambda f: edit(f, lambda m: m.update(fingerprint="xyz")), r"codec\.json: not a codec manifest"),
        (lambda f: edit(f, lambda m: m.update(fingerprint="abcd")), r"codec\.json: not a codec manifest .*fingerprint"),
        (lambda f: edit(f, lambda m: m["encoder"].update(file="../e.onnx")), r"leads out of the folder"),
        (lambda f: edit(f, lambda m: m["encoder"]["states"][0].update(dtype="object")), r"state position has dtype"),
        (
            lambda f: edit(f, lambda m: m["encoder"]["states"][1].update(shape=[7, 1])),
            r"encoder\.onnx: .* inputs that are not those of the manifest: 'encoder\.model\.0'",
        ),
        (
            lambda f: edit(f, lambda m: m["encoder"]["states"].pop()),
            r"encoder\.onnx: .* inputs that are not those of the manifest",
        ),
        (lambda f: (f / "encoder.onnx").unlink(), r"encoder\.onnx: cannot be read"),
        (lambda f: (f / "decoder.onnx").write_bytes(b"short"), r"decoder\.onnx: 5 bytes where \d+ were exported"),
        (
            lambda f: (f / "encoder.onnx").write_bytes(bytes((f / "encoder.onnx").stat().st_size)),
            r"encoder\.onnx: does not match the SHA-256",
        ),
        (lambda f: replace_graph(f, b"no graph at all"), r"encoder\.onnx: .* never makes .*no ONNX"),
        (lambda f: replace_graph(f, b""), r"encoder\.onnx: 0 bytes, where a codec has"),
        (
            lambda f: replace_graph(f, (f / "encoder.onnx").read_bytes()[:200_000]),
            r"encoder\.onnx: .* never makes less than its lengths promise",
        ),
        (lambda f: edit(f, lambda m: m["encoder"]["states"][1].update(shape=[1 << 20, 64])), r"states of \d+ elements"),
        (lambda f: edit(f, lambda m: m.update(frame_samples=1 << 40)), r"`frame_samples` must be 1 to 65536"),
        (lambda f: edit(f, lambda m: m.update(codebooks=7)), r"inputs that are not|outputs that are not .*: 'codes'"),
        (
            lambda f: (f / "codec.json").write_bytes(b" " * (1 << 20) + b"{}"),
            r"codec\.json: cannot be read \(it is larger",
        ),
        (lambda f: pipe_at(f / "codec.json"), r"codec\.json: cannot be read \(it is no regular file"),
        (lambda f: pipe_at(f / "encoder.onnx"), r"encoder\.onnx: cannot be read \(it is no regular file"),
        (with_external_data_outside, r"encoder\.onnx: .* never makes a tensor with external data"),
        (with_external_data, r"encoder\.onnx: .* never makes a tensor with external data"),
    ],
)
def test_damaged_files_are_one_clear_sentence(
    tiny_codec: Path,
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(tiny_codec, folder)
    damage(folder)
    with pytest.raises(CodecFilesError, match=message) as caught:
        Codec.load(folder)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
