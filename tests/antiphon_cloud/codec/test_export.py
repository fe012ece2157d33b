"""The exported graphs: tidy, the same as torch, and written whole or not at all."""

import hashlib
import json
import shutil
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

from antiphon.errors import AntiphonError
from antiphon_cloud.codec import export as codec_export
from antiphon_cloud.codec.export import export_codec
from antiphon_cloud.codec.int8 import rounding
from antiphon_cloud.codec.mimi import Decoder, Encoder, MimiConfig
from antiphon_cloud.codec.report import compare
from antiphon_cloud.errors import CheckpointError
from antiphon_edge import Codec
from tests.support.random_weights import RandomWeights


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_the_graphs_are_tidy(tiny_codec: Path, half: str) -> None:
    model = onnx.load(tiny_codec / f"{half}.onnx", load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    ops = Counter(node.op_type for node in model.graph.node)
    assert not ops.keys() & {"Identity", "Shape", "If", "Loop", "Constant"}
    assert ops["LayerNormalization"] == 4  # two layers, two each
    assert ops["Gelu"] == ops["Softmax"] == 2
    assert ops["ScatterND"] == 4  # keys and values
    assert ops["Cast"] <= 2
    assert not [entry for entry in model.graph.initializer if entry.data_location == onnx.TensorProto.EXTERNAL]
    large = [entry.raw_data for entry in model.graph.initializer if len(entry.raw_data) > 1024]
    assert len(large) == len(set(large))  # no weight twice
    assert str(Path.home()).encode() not in model.SerializeToString()


def test_the_manifest_describes_the_files(tiny_codec: Path) -> None:
    manifest = json.loads((tiny_codec / "codec.json").read_text())
    assert manifest["precision"] == "fp32"
    for half in ("encoder", "decoder"):
        data = (tiny_codec / manifest[half]["file"]).read_bytes()
        assert manifest[half]["size_bytes"] == len(data)
        assert manifest[half]["sha256"] == hashlib.sha256(data).hexdigest()
        in_place = [state["input"] for state in manifest[half]["states"] if state["in_place"]]
        assert len(in_place) == 4  # keys and values of two layers
    assert sorted(path.name for path in tiny_codec.iterdir()) == ["codec.json", "decoder.onnx", "encoder.onnx"]


def test_a_checkpoint_of_another_model_leaves_the_old_codec_alone(
    golden: Path, tiny_codec: Path, tmp_path: Path
) -> None:
    out = tmp_path / "codec"
    shutil.copytree(tiny_codec, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(CheckpointError, match=r"mimi\.safetensors: tensor encoder\.model\.0\.conv\.conv\.weight"):
        export_codec(golden / "mimi-tiny/mimi.safetensors", None, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_named(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AntiphonError, match=r"file/codec.*cannot be written"):
        export_codec(
            golden / "mimi-tiny/mimi.safetensors", golden / "mimi-tiny/mimi_config.json", tmp_path / "file/codec"
        )


@pytest.mark.no_cover  # computes much, and runs no line that the small sizes do not
def test_full_widths_stream_alike_in_torch_and_onnx_past_the_context(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published widths, until the transformers' ring, cut to 100 positions, has wrapped."""
    values = json.loads((golden / "mimi-tiny/mimi_config.json").read_text())
    values["seanet"].update(dimension=512, n_filters=64)
    values["quantizer"].update(dimension=256, input_dimension=512, output_dimension=512, n_q=8)
    values["transformer"].update(
        d_model=512,
        num_heads=8,
        num_layers=1,
        context=100,
        dim_feedforward=2048,
        input_dimension=512,
        output_dimensions=[512],
    )
    (tmp_path / "mimi_config.json").write_text(json.dumps(values))
    config = MimiConfig.load(tmp_path / "mimi_config.json")
    weights = RandomWeights()
    encoder, decoder = Encoder(weights, config), Decoder(weights, config)
    save_file(weights.tensors, tmp_path / "mimi.safetensors")
    export_codec(tmp_path / "mimi.safetensors", tmp_path / "mimi_config.json", tmp_path / "codec")
    codec = Codec.load(tmp_path / "codec")
    frames = 55
    pcm = torch.randn(frames * config.frame_samples, generator=torch.Generator().manual_seed(0)) * 0.1
    with torch.no_grad():
        codes, _ = encoder(pcm, encoder.initial_state())
        audio, _ = decoder(codes, decoder.initial_state())
    edge_encoder, edge_decoder = codec.encoder(), codec.decoder()
    edge_codes = np.stack([edge_encoder.step(frame) for frame in pcm.view(frames, -1).numpy()])
    assert len(np.unique(edge_codes)) > 100
    np.testing.assert_array_equal(edge_codes, codes.numpy())
    edge_audio = np.concatenate([edge_decoder.step(step) for step in edge_codes])
    assert np.abs(edge_audio - audio.numpy()).max() / np.abs(edge_audio).max() < 1e-4
    quantized = tmp_path / "int8"
    monkeypatch.setattr(codec_export, "trace", lambda frame, x: onnx.load(tmp_path / "codec" / frame.file))
    monkeypatch.setattr(codec_export, "FRAMES", 10)  # with fewer inputs, and fewer rows at a time: less time
    monkeypatch.setattr(rounding, "CHUNK_ROWS", 256)
    export_codec(tmp_path / "mimi.safetensors", tmp_path / "mimi_config.json", quantized, precision="int8")
    Codec.load(quantized)
    for name in ("encoder.onnx", "decoder.onnx"):
        assert (quantized / name).stat().st_size < 0.5 * (tmp_path / "codec" / name).stat().st_size
        operators = {node.op_type for node in onnx.load(quantized / name).graph.node}
        assert {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} <= operators
    report = compare(codec.manifest, tmp_path / "codec", quantized, pcm[: 25 * 1920].view(25, -1).numpy(), "noise")
    assert report.decoder_snr_db > 28.5  # of noise, and rounded by little
    assert report.equal_codes[0] > 0.5


def test_int8_has_the_same_fingerprint_and_a_report(
    golden: Path, tiny_codec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The exporter takes seconds, and has made these graphs already.
    monkeypatch.setattr(codec_export, "trace", lambda frame, x: onnx.load(tiny_codec / frame.file))
    with wave.open(str(tmp_path / "speech.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(
            (load_file(golden / "mimi-tiny/expected.safetensors")["pcm"][:57_600] * 32767).short().numpy().tobytes()
        )
    out = tmp_path / "codec"
    made = export_codec(
        golden / "mimi-tiny/mimi.safetensors",
        golden / "mimi-tiny/mimi_config.json",
        out,
        precision="int8",
        report_wav=tmp_path / "speech.wav",
    )
    names = ["codec-report.json", "codec.json", "decoder.onnx", "encoder.onnx"]
    assert sorted(path.name for path in out.iterdir()) == names
    manifest, exact = (json.loads((folder / "codec.json").read_text()) for folder in (out, tiny_codec))
    assert (manifest["precision"], manifest["format"], exact["format"]) == ("int8", 2, 1)
    assert manifest["fingerprint"] == exact["fingerprint"]
    assert manifest["encoder"]["states"] == exact["encoder"]["states"]
    assert made.report is not None
    assert made.report.to_json() == (out / "codec-report.json").read_text()
    assert made.report.frames == 30
    assert made.report.decoder_snr_db > 30
    graph = onnx.load(out / "encoder.onnx").graph
    kinds = {entry.name: entry.data_type for entry in graph.initializer}
    assert all(kind == onnx.TensorProto.FLOAT for name, kind in kinds.items() if "centroids" in name)
    codec = Codec.load(out)
    codes = codec.encoder().step(np.zeros(1920, np.float32))
    assert np.isfinite(codec.decoder().step(codes)).all()
