"""What a session of PersonaPlex begins with, and what it is said of a prompt that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon.errors import CodesError, PreconditionError, ProtocolError
from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.sessions.prompts.families import strategy
from antiphon_cloud.sessions.prompts.personaplex import SILENCE, SINE, VoiceFacts
from antiphon_cloud.sessions.prompts.prompt import no_prompt, prompt_of
from tests.support.language_models import GOLDEN, expected

MODEL = ModelSpec("plex", "personaplex", 8, 8, 2048, 256, 0, 100, Sampling(), "float32", text_padding_token=3)
EXPECTED = expected("personaplex-tiny")
ENCODE = Tokenizer(GOLDEN / "personaplex-tiny/tokenizer_spm_tiny.model").encode
LAST = [[3, *range(frame, frame + 8)] for frame in range(4)]
VOICES = [VoiceFacts(f"NAT{letter}{number}", bytes([number]) * 32, 30, LAST) for letter in "FM" for number in range(8)]
PLEX = strategy(MODEL, ENCODE, VOICES)
TEXT = "hello moshi listens and speaks"
FRAME = MODEL.model_packer.pack(np.arange(8))
LONGEST = 100 - 10 - 12  # the context less a tenth, and less the silences


def test_a_prompt_is_the_voice_silence_the_persona_and_silence_under_a_steady_tone() -> None:
    prompt = prompt_of(PLEX, pb.Prompt(voice_codes=2 * FRAME, text=TEXT))
    assert prompt is not None
    rows, persona = prompt.rows, EXPECTED["text_prompt_tokens"].tolist()
    assert rows.text.tolist() == [3] * 8 + persona + [3] * 6
    assert rows.codes.tolist() == [list(range(8))] * 2 + [EXPECTED["silence_codes"].tolist()] * (12 + len(persona))
    assert rows.user.tolist() == [EXPECTED["sine_codes"].tolist()] * prompt.steps
    assert (tuple(EXPECTED["sine_codes"]), tuple(EXPECTED["silence_codes"])) == (SINE, SILENCE)


def test_no_session_begins_without_the_silences() -> None:
    prompt = prompt_of(PLEX, pb.Prompt())
    assert prompt is not None
    assert prompt.steps == prompt.settings.prompt_steps == 12


def test_of_a_voice_with_a_name_the_last_frames_are_known() -> None:
    prompt = prompt_of(PLEX, pb.Prompt(voices=["NATF2"]))
    assert prompt is not None
    assert (prompt.steps, prompt.settings.voices) == (30 + 12, ("NATF2",))
    assert prompt.rows.codes[26:30].tolist() == [row[1:] for row in LAST]


@pytest.mark.parametrize("text", [f"  {TEXT}\n", f"<system> {TEXT} <system>"])
def test_a_persona_may_bring_its_tags_and_white_space_around_it_counts_for_nothing(text: str) -> None:
    first, second = (prompt_of(PLEX, pb.Prompt(text=each)) for each in (text, TEXT))
    assert first is not None
    assert second is not None
    assert (first.sha256, first.rows.text.tolist()) == (second.sha256, second.rows.text.tolist())


def test_the_hash_tells_voices_codes_and_personas_apart() -> None:
    asked = [
        pb.Prompt(), pb.Prompt(text=TEXT), pb.Prompt(voices=["NATF1"]), pb.Prompt(voices=["NATF2"]),
        pb.Prompt(voice_codes=FRAME), pb.Prompt(voice_codes=2 * FRAME), pb.Prompt(voices=["NATF1"], text=TEXT),
    ]  # fmt: skip
    hashes = {prompt.sha256 for each in asked if (prompt := prompt_of(PLEX, each)) is not None}
    assert len(hashes) == len(asked)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (
            pb.Prompt(voices=["Bob"]),
            PreconditionError,
            r"open\.prompt\.voices: there is no voice 'Bob' here; there are NATF0, NATF1, .*, NATM3, …$",
        ),
        (pb.Prompt(voices=["../NATF0"]), PreconditionError, "there is no voice"),
        (pb.Prompt(voices=["NATF0", "NATF1"]), PreconditionError, "2 voices, where this model has one"),
        (pb.Prompt(voices=["NATF0"], voice_codes=FRAME), ProtocolError, "two voices: give one"),
        (pb.Prompt(voice_codes=FRAME + b"\0"), CodesError, "12 bytes are no whole number of frames of 11"),
        (
            pb.Prompt(voice_codes=(LONGEST + 1) * FRAME),
            PreconditionError,
            r"a voice of 6 s, where this model remembers 6: give a shorter one",
        ),
        (
            pb.Prompt(text=40 * f"{TEXT} "),
            PreconditionError,
            r"the persona has \d+ tokens, where this model takes 78 tokens, about \d+ characters: shorten it",
        ),
        (
            pb.Prompt(voices=["NATF0"], text=10_000 * "x"),
            PreconditionError,
            r"10018 characters, where this model takes 48 tokens beside this voice, about 192 characters",
        ),
    ],
)
def test_a_prompt_that_cannot_be_is_one_sentence(asked: pb.Prompt, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        prompt_of(PLEX, asked)


def test_codes_of_another_codec_are_said_where_they_are_none_of_this_ones() -> None:
    odd = strategy(ModelSpec("plex", "personaplex", 8, 8, 2040, 256, 0, 100, Sampling(), "float32"), ENCODE)
    with pytest.raises(CodesError, match=r"open\.prompt\.voice_codes: code 2047 of codebook 0 is outside \[0, 2040\)"):
        prompt_of(odd, pb.Prompt(voice_codes=bytes([0xFF] * 11)))


def test_a_worker_without_voices_says_so() -> None:
    with pytest.raises(PreconditionError, match="this worker has none: leave the voice out, or give one as a wav"):
        prompt_of(strategy(MODEL, ENCODE), pb.Prompt(voices=["NATF0"]))


def test_a_worker_whose_voice_of_that_name_is_another_one_does_not_go_on_with_the_session() -> None:
    begun = prompt_of(PLEX, pb.Prompt(voices=["NATF1"]))
    assert begun is not None
    with pytest.raises(
        PreconditionError, match="the voice NATF2 is not the same on this worker; connect to another one"
    ):
        prompt_of(PLEX, pb.Prompt(voices=["NATF2"], sha256=begun.sha256))


@pytest.mark.parametrize("asked", [pb.Prompt(text="x"), pb.Prompt(voices=["A"]), pb.Prompt(voice_codes=FRAME)])
def test_a_model_that_takes_no_prompt_says_so(asked: pb.Prompt) -> None:
    moshi = ModelSpec("m", "moshi", 8, 8, 2048, 256, 1, 40, Sampling(), "float32")
    with pytest.raises(PreconditionError, match="takes no prompt: leave voice and persona out"):
        prompt_of(strategy(moshi, ENCODE), asked)
    assert prompt_of(no_prompt, pb.Prompt()) is None


def test_a_personaplex_of_other_codes_is_not_served() -> None:
    with pytest.raises(ConfigError, match="3 codebooks of 24; PersonaPlex's prompts are known for 8 of 2048 only"):
        strategy(ModelSpec("small", "personaplex", 3, 3, 24, 20, 0, 19, Sampling(), "float32"), ENCODE)


def test_a_history_that_reaches_back_to_the_first_frame_has_the_prompt_before_it() -> None:
    prompt = prompt_of(PLEX, pb.Prompt())
    assert prompt is not None
    whole = HistoryTokens(2, np.ones((2, 8), np.int32), np.full(2, 9, np.int32), np.full((2, 8), 7, np.int32))
    joined = prompt.before(whole)
    assert (joined.steps, joined.first, joined.text.tolist()) == (14, 0, [3] * 12 + [9, 9])
    late = HistoryTokens(50, whole.user, whole.text, whole.codes)
    assert (prompt.before(late).steps, prompt.before(late).first, len(prompt.before(late))) == (62, 60, 2)
