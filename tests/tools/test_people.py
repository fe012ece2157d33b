"""The people of the clerk's evaluation, their scenes, and what is compared with the targets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from antiphon.errors import AntiphonError
from tools.clerk import people, piper
from tools.clerk.natural_scenes import beside_other_words, numbers, spelled_by_recordings, unanswered_by
from tools.clerk.people import Person, humans, natural_people, recordings
from tools.clerk.piper import VOICE, Joe
from tools.clerk.rows import Rows
from tools.clerk.scenes import LEAD_S, TAIL_S, Scene, Turn
from tools.clerk.scores import echoes
from tools.clerk.targets import compared
from tools.clerk.train.data.clips import FRAME, RATE, Clip, Word, save_clips
from tools.clerk.train.data.scenes import PAUSE_S
from tools.clerk.train.voices.whisper import RATE as WHISPER_RATE
from tools.clerk.train.voices.whisper import Whisper, digits_in, log_mel, plain
from tools.demo.conversation import Heard


def clip(text: str, level: float = 0.5) -> Clip:
    """Half a second for each word."""
    words = text.split()
    times = tuple(Word(word, i / 2, (i + 1) / 2) for i, word in enumerate(words))
    return Clip("somebody", np.full(len(words) * RATE // 2, level, np.float32), times)


@pytest.fixture
def somebody() -> Person:
    person = Person("somebody", "kokoro")
    person.take([clip("one two"), clip("three"), clip("hello there", 0.2), clip("two dogs"), clip("A B")])
    return person


def test_clips_are_sorted_by_what_they_hold(somebody: Person) -> None:
    kept = (somebody.numbers, somebody.others, somebody.sentences, somebody.letters)
    said = [[" ".join(word.text for word in clip.words) for clip in clips] for clips in kept]
    assert said == [["one two", "three"], ["hello there"], ["two dogs"], ["A B"]]


def test_held_out_voices_are_those_that_were_made(tmp_path: Path) -> None:
    with pytest.raises(AntiphonError, match=r"python -m tools\.clerk\.train\.voices\.bank .* --held-out"):
        natural_people(tmp_path)
    for name in ("af_nova", "af_sky"):  # the second is none of them
        save_clips(tmp_path / f"{name}.npz", [clip("one")])
    assert [person.name for person in natural_people(tmp_path)] == ["af_nova"]


def test_a_number_is_a_turn_after_the_greeting_with_time_for_an_answer(somebody: Person) -> None:
    for scene in numbers([somebody], 5, np.random.default_rng(0)):
        (turn,) = scene.turns
        sounding = np.flatnonzero(scene.samples) / RATE
        assert LEAD_S <= turn.start_s <= LEAD_S + 0.5
        assert (sounding[0], sounding[-1]) == pytest.approx((turn.start_s, turn.end_s), abs=0.001)
        assert len(turn.digits) == round(2 * (turn.end_s - turn.start_s))
        assert len(scene.samples) / RATE - turn.end_s >= TAIL_S
        assert len(scene.samples) % FRAME == 0
        assert scene.synthesizer == "kokoro"


@pytest.mark.parametrize("between", [False, True])
def test_a_number_beside_other_words_is_one_turn(somebody: Person, between: bool) -> None:
    for scene in beside_other_words([somebody], 5, np.random.default_rng(0), between=between):
        (turn,) = scene.turns
        assert set(turn.digits) <= {"one", "two", "three"}
        inside = scene.samples[int(turn.start_s * RATE) : int(turn.end_s * RATE)]
        assert inside[10] == pytest.approx(0.2)
        assert inside[-10] == pytest.approx(0.2 if between else 0.5)
        silent = np.count_nonzero(inside == 0) / RATE
        assert 0.05 <= silent <= (2 if between else 1) * PAUSE_S
        assert not scene.samples[int(turn.end_s * RATE) + 1 :].any()


def test_people_whose_digits_are_recorded_say_numbers_in_many_orders(somebody: Person) -> None:
    said = {scene.turns[0].digits for scene in spelled_by_recordings([somebody], 30, np.random.default_rng(0))}
    assert len(said) > 10


def test_what_is_no_number_is_said_once_each(somebody: Person) -> None:
    found = unanswered_by([somebody], [clip("ball")] * 3, 2, np.random.default_rng(0))
    assert {name: len(tracks) for name, tracks in found.items()} == {
        "natural voices, other words": 1,
        "natural voices, numbers in a sentence": 1,
        "natural voices, letters": 1,
        "recordings of other words": 2,
    }


def test_recordings_are_of_people_and_have_no_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "RECORDINGS", {"kids": tmp_path, "nobody": tmp_path / "missing"})
    for name in ("ball", "9"):
        soundfile.write(tmp_path / f"{name}.wav", np.sin(np.arange(8000) / 3), 8000)
    soundfile.write(tmp_path / "silence.wav", np.zeros(8000), 8000)
    (found,) = recordings()
    assert found.voice == "human kids"
    assert [word.text for word in found.words] == ["ball"]


def test_humans_are_those_whose_digits_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "ASTERISK", tmp_path / "missing")
    assert humans(tmp_path) == []
    folder = tmp_path / people.NUMBERS
    folder.mkdir(parents=True)
    for i in range(10):
        soundfile.write(folder / f"{i}.wav", np.sin(np.arange(4000) / 3), 8000)
    (person,) = humans(tmp_path)
    assert [said.words[0].text for said in person.numbers][:3] == ["zero", "one", "two"]


def reply(*words: tuple[float, str]) -> Heard:
    return Heard(np.zeros(8 * RATE, np.float32), list(words), RATE)


def test_who_answers_its_own_answer_answers_itself() -> None:
    scene = Scene(np.zeros(8 * RATE, np.float32), (Turn(1.0, 1.5, ("one",)),))
    once = reply((2.1, "you"), (2.3, "said"), (2.6, "one"))
    twice = reply((2.1, "you"), (2.3, "said"), (2.6, "one"), (4.0, "you"), (4.2, "said"), (4.5, "one"))
    assert echoes([scene, scene], [once, twice]) == {
        "utterances": 2,
        "exact text %": 50.0,
        "answers itself %": 50.0,
    }


def test_rows_are_chosen_by_how_their_names_begin() -> None:
    silence = np.zeros(1, np.float32)
    rows = Rows({"natural voices": [], "humans": []}, {"interrupted": []}, {"noise": [silence]}, {})
    chosen = rows.only(["natural", "noise"])
    assert (list(chosen.people), list(chosen.barging), list(chosen.unanswered)) == (["natural voices"], [], ["noise"])
    assert rows.only(None) == rows


def test_figures_are_compared_with_their_targets_where_they_were_measured() -> None:
    table: dict[str, dict[str, object]] = {
        "natural voices": {"exact text %": 95.0, "median delay s": None},
        "noise": {"false starts %": 2.0},
    }
    assert compared(table) == [
        "natural voices, exact text %: 95.0 (≥ 95: met)",
        "noise, false starts %: 2.0 (≤ 1: missed)",
    ]


def test_what_whisper_writes_becomes_words_and_digits() -> None:
    assert plain(" The number is 371, four!") == ["the", "number", "is", "three", "seven", "one", "four"]
    assert digits_in(["for", "to", "seven", "hello", "ate"]) == ["four", "two", "seven", "eight"]


def test_whispers_input_has_a_column_every_ten_milliseconds_and_a_tone_where_it_belongs() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(WHISPER_RATE) / WHISPER_RATE).astype(np.float32)
    columns = log_mel(tone)
    assert columns.shape == (80, 3000)
    assert columns[:, 50].argmax() == pytest.approx(27, abs=1)  # 1 kHz is mel 15 of 45.2, of 81 edges
    assert columns[:, 200].max() == columns.min()  # silence after it


def test_whisper_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(AntiphonError, match="run `make voices`"):
        Whisper(tmp_path)


def test_joe_speaks_the_phonemes_of_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AntiphonError, match="run `make voices`"):
        Joe(tmp_path)
    path = tmp_path / VOICE
    path.parent.mkdir(parents=True)
    ids = {"_": [0], "^": [1], "$": [2], "w": [3], "n": [4]}
    about = {"phoneme_id_map": ids, "audio": {"sample_rate": 22_050}, "inference": {"noise_scale": 0.6, "noise_w": 0.8}}
    path.with_suffix(".onnx.json").write_text(json.dumps(about))
    save_synthesizer(path)
    monkeypatch.setattr(
        piper, "synthesize", lambda packages, command: subprocess.CompletedProcess(command, 0, stdout="wʌn\n")
    )
    said = Joe(tmp_path).speak(["one", "one"])
    # ^ _ w _ n _ $ are seven numbers of 2,205 samples each; what has none is left out
    assert len(said.samples) / RATE == pytest.approx(0.7, abs=0.02)
    assert [word.text for word in said.words] == ["one", "one"]
    assert said.words[0].end_s == said.words[1].start_s == pytest.approx(len(said.samples) / RATE / 2)


def save_synthesizer(path: Path) -> None:
    """A tenth of a second of a tone for each number."""
    tone = np.sin(np.arange(2205) / 5).astype(np.float32)
    nodes = [
        helper.make_node("Size", ["input"], ["count"]),
        helper.make_node("Reshape", ["count", "shape"], ["counts"]),
        helper.make_node("Tile", ["tone", "counts"], ["output"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, [1, None]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, [1]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)]
    constants = [numpy_helper.from_array(np.array([1], np.int64), "shape"), numpy_helper.from_array(tone, "tone")]
    graph = helper.make_graph(nodes, "joe", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    onnx.save(made, path)
