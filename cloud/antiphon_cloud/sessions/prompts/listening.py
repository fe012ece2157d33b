"""The prompt of a model that listens: a text in the spelling and style that is wanted, as if it had been heard.

The model goes on as it has begun: with names as they were spelled, with capitals and points or without. What was heard
is silence, since there is no sound of the text; the words follow each other at the pace of speech, each as the model
writes it: token 0, its pieces, padding. Between the prompt and the sound is the pause that the published scripts put
there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import PreconditionError, ProtocolError
from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.sessions.prompts.prompt import Prompt, hashed

WORD_TOKEN = 0  # "a word begins"
WORD_STEPS = 4  # that a word takes at least: three a second
PAUSE_STEPS = 10  # after the last word
ROOM = 2  # one part of so many of the context is left for the sound
LONGEST_TOKEN = 64  # characters
SHOWN_WORD_STEPS = 5  # of a word on average, for the sentence that says how many fit


class ListeningPrompts:
    """The strategy of models that listen.

    Args:
        model: whose prompts they are.
        encode: from text to tokens.
        silence: its codes from a stream's first frame on, [T, user_codebooks]; of T 0 where they are not known.
    """

    def __init__(self, model: ModelSpec, encode: Callable[[str], Sequence[int]], silence: Codes) -> None:
        self._model, self._encode, self._silence = model, encode, silence

    def __call__(self, asked: pb.Prompt) -> Prompt | None:
        """See `Strategy`."""
        if asked.voices or asked.voice_codes:
            raise ProtocolError("open.prompt: this model only listens, and has no voice: leave it out")
        words = asked.text.split()
        if not words:
            return None
        if not len(self._silence):
            raise PreconditionError(
                "open.prompt.text: this worker has no weights of the codec, and does not know what silence is: put "
                "them into its model directory"
            )
        longest = self._model.context_steps // ROOM
        rows = None
        if len(asked.text) <= longest * LONGEST_TOKEN:  # else too long, whatever the tokenizer says
            rows = stt_prompt(self._model, [self._encode(word) for word in words], self._silence)
        if rows is None or len(rows) > longest:
            raise PreconditionError(
                f"open.prompt.text: it is too long, as this model takes about {longest // SHOWN_WORD_STEPS} words: "
                "shorten it"
            )
        return Prompt(rows, hashed((b"listening", " ".join(words).encode())))


def stt_prompt(model: ModelSpec, words: Sequence[Sequence[int]], silence: Codes) -> HistoryTokens:
    """The history of a session that has heard silence and written `words`.

    Args:
        model: which listens.
        words: the tokens of each.
        silence: its codes from a stream's first frame on, [T, user_codebooks].
    """
    padding = model.text_padding_token
    text: list[int] = []
    for tokens in words:
        written = [WORD_TOKEN, *tokens]
        text += written + [padding] * (WORD_STEPS - len(written))
    text += [WORD_TOKEN] + [padding] * (PAUSE_STEPS - 1)
    # The encoder starts again after the first frame, as at the edge; silence stays as it is from some frame on.
    frames = np.minimum(np.maximum(np.arange(len(text)) - 1, 0), len(silence) - 1)
    steps = len(text)
    return HistoryTokens(steps, silence[frames], np.array(text, np.int32), np.zeros((steps, 0), np.int32))
