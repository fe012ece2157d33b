"""A session's script: what it was given to say, and the tokens that each step is forced to for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from antiphon.errors import ProtocolError
from antiphon.history import HistoryTokens, Tokens
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.engine.slot import Reply
from antiphon_cloud.model.tokens import FORCED_TEXT, NEW_WORD, UNGENERATED, ZERO
from antiphon_cloud.sessions.script.entries import Encode, Texts
from antiphon_cloud.sessions.script.machine import Chance, Machine, Outcome
from antiphon_cloud.sessions.script.monologue import MonologueMachine
from antiphon_cloud.sessions.script.speech import SpeechMachine
from antiphon_cloud.sessions.script.writing import WritingMachine

LONGEST_START = 2**53  # characters: no session says as many, and all that is counted on from there fits 64 bits
MOST_REPLAYED = 2**17  # steps; an edge keeps 64 words and pauses from before its history, a pause of 750 steps at most


@dataclass(frozen=True, slots=True)
class ScriptRules:
    """What a model asks of a script, beside its `ModelSpec`."""

    encode: Encode
    """The text tokens of a word."""
    words_ahead: int = 0  # that a second text stream looks; 0: there is none
    code_delays: tuple[int, ...] = ()  # of the model's codebooks, in steps; none: all of them 0
    padding_between: int = 1  # steps forced after a word of speech, beside those of its tokens: as its authors advise


@dataclass(frozen=True, slots=True, eq=False)
class Forcing:
    """What the next step is forced to."""

    tokens: Tokens | None  # [FORCED_TEXT + model_codebooks]; None for nothing
    chance: Chance

    def event(self, reply: Reply) -> bool:
        """Whether the step's event happened."""
        return self.chance is Chance.ALWAYS or (self.chance is Chance.DRAWN and reply.drawn_text == NEW_WORD)


FREE = Forcing(None, Chance.NEVER)


class Script:
    """What a session is given to say, and how far it has come.

    Args:
        model: who says it.
        rules: of the model.
        mode: of the session, which decides the rules by which words begin.
        say_bytes: UTF-8 that may wait to be said.
        start: characters that came before and are left out.

    Raises:
        ProtocolError: more characters than any session says.
    """

    def __init__(self, model: ModelSpec, rules: ScriptRules, mode: pb.Mode, say_bytes: int, start: int = 0) -> None:
        if start > LONGEST_START:
            raise ProtocolError(f"open.script.start: {start} is more than any session says ({LONGEST_START})")
        self._model = model
        self._rules = rules
        self._say_bytes = say_bytes
        self._delay = max(rules.code_delays, default=model.delay_steps)  # from a step to the reply that has all of it
        self._written = mode == pb.MODE_TEXT
        speaks_only = mode == pb.MODE_SPEECH
        self._texts = Texts(
            rules.encode,
            start,
            speaker_tokens=speaks_only and model.speakers > 1,
            padding_between=rules.padding_between if speaks_only else 0,
            spoken=not self._written,
        )
        self._machine: Machine
        if self._written:
            self._machine = WritingMachine(self._texts)
        elif speaks_only:
            self._machine = SpeechMachine(
                self._texts, model.text_cardinality, rules.words_ahead, model.sound_delay_steps
            )
        else:
            self._machine = MonologueMachine(self._texts)
        # The steps from which each codebook is drawn: before them its stream holds nothing, not even silence.
        delays = rules.code_delays or (0,) * model.model_codebooks
        sound_delay = model.sound_delay_steps if speaks_only else 0
        self._drawn_from = np.array([sound_delay and sound_delay + delay for delay in delays], np.int32)  # [K]
        self._sounds_from = int(self._drawn_from.max(initial=0))  # the step from which all are drawn
        self._step = 0  # the next one

    @property
    def starved(self) -> bool:
        """Whether the next step has to wait for words."""
        return self._machine.starved

    def add(self, say: pb.Say) -> None:
        """Takes part of a text.

        Raises:
            ProtocolError: the speaker is none of the model's, too much waits, or the text is none that can be said.
        """
        self._check_speaker(say)
        waiting = self._texts.waiting_bytes + len(say.text.encode())
        if waiting > self._say_bytes:
            raise ProtocolError(
                f"say.text: {waiting} bytes would wait to be said, where limits.say_bytes are {self._say_bytes}: "
                "send the rest as `said` comes"
            )
        self._texts.add(say.text, say.speaker, end=say.end)

    def close(self) -> None:
        """No more will come: what was given is complete, and no step waits any more."""
        self._texts.close()

    def forcing(self) -> Forcing:
        """What the next step is forced to."""
        machine, chance = self._machine, self._machine.chance
        text = (machine.fed(chance is not Chance.NEVER), machine.fed(chance is Chance.ALWAYS))
        free = text == (UNGENERATED, UNGENERATED) and not self._written and self._step >= self._sounds_from
        return Forcing(None if free else self._row(self._step, *text), chance)

    def advance(self, event: bool, text_token: int) -> Outcome:
        """A step was taken.

        Args:
            event: whether its event happened; see `Forcing.event`.
            text_token: of the step's reply, −2 where the delays held it back.

        Raises:
            ProtocolError: a word begins that the script does not have: an edge has gone on without some of it.
        """
        if event and not self._machine.could(event):
            raise ProtocolError("open.script: lacks words that had begun: give all that the session was given to say")
        self._step += 1
        return self._machine.advance(event, text_token)

    def go_on(self, script: pb.Script, history: HistoryTokens) -> HistoryTokens:
        """Comes to where the session stood after `history`; returns the history with all that the streams held.

        Args:
            script: what the session was given, from a word on that began within the history, or from the beginning.
            history: its tokens, as the edge knows them.

        Raises:
            ProtocolError: the script is not the history's.
        """
        self._give(script.says)
        begun = {word.step: word.said for word in script.begun}
        if len(begun) < len(script.begun) or list(begun) != sorted(begun) or any(s >= history.steps for s in begun):
            raise ProtocolError("open.script.begun: steps must come in order, each once, all below open.history.steps")
        fed = self._replay(begun, history, from_start=not script.start)
        if self._texts.waiting_bytes > self._say_bytes:
            raise ProtocolError(
                f"open.script.says: {self._texts.waiting_bytes} bytes wait to be said, where limits.say_bytes are "
                f"{self._say_bytes}"
            )
        return self._held(history, fed)

    def after_prompt(self, past: HistoryTokens) -> HistoryTokens:
        """The tokens of a session that began with a prompt: in writing, the frame that the prompt leaves half made has
        no more codes, as the edge is told none that another worker could go on with."""
        hidden = past.forced if past.forced is not None else self._row(0, UNGENERATED, UNGENERATED)[None][:0]
        missing = self._delay - len(hidden)
        if not self._written or missing <= 0:
            return past
        silent = np.tile(self._row(0, UNGENERATED, UNGENERATED), (missing, 1))
        return replace(past, forced=np.concatenate((silent, hidden)))

    def _check_speaker(self, say: pb.Say) -> None:
        if say.speaker and say.speaker >= self._model.speakers:
            raise ProtocolError(
                f"say.speaker: {say.speaker} is outside [0, {max(1, self._model.speakers)}), the speakers of this model"
            )

    def _give(self, says: Iterable[pb.Say]) -> None:
        for say in says:
            self._check_speaker(say)
            self._texts.add(say.text, say.speaker, end=say.end)

    def _replay(self, begun: dict[int, int], history: HistoryTokens, *, from_start: bool) -> dict[int, int]:
        """Takes the session's steps again, by the steps at which words began; returns what each fed, as far as that is
        known."""
        machine, fed, delay = self._machine, dict[int, int](), self._delay
        events = sorted(begun)
        step = replayed = 0
        if not from_start:
            step = events[0] if events else history.steps
            machine.begin_midway()
        at = 0  # the next event
        while step < history.steps:
            event = at < len(events) and events[at] == step
            if machine.settled and not event:
                upcoming = events[at] if at < len(events) else history.steps
                step = max(step, min(upcoming, history.first))
                event = at < len(events) and events[at] == step
            if not machine.could(event):
                raise ProtocolError(f"open.script.begun: nothing that was given to say explains step {step}")
            fed[step] = machine.fed(event)
            row = step - history.first
            outcome = machine.advance(event, int(history.text[row]) if row >= 0 and step >= delay else UNGENERATED)
            if event and outcome.said != begun[step]:
                raise ProtocolError(
                    f"open.script.begun: at step {step} {outcome.said} characters have begun, not {begun[step]}"
                )
            at += event
            step += 1
            replayed += 1
            if replayed > MOST_REPLAYED:
                raise ProtocolError(
                    f"open.script.begun: more than {MOST_REPLAYED} steps of it to take again: leave out what began "
                    "long before open.history.rows"
                )
        self._step = history.steps
        return fed

    def _held(self, history: HistoryTokens, fed: dict[int, int]) -> HistoryTokens:
        """The history with the streams as they were: what the edge was not told of them, and what the delays hide."""
        delay, model = self._delay, self._model
        frames = range(history.first - delay, history.steps - delay)  # of the rows' replies
        text = [fed.get(frame, UNGENERATED) for frame in frames]
        text = [int(was) if token == UNGENERATED else token for was, token in zip(history.text, text, strict=True)]
        codes, user = history.codes.copy(), history.user
        if self._written:
            codes = np.full((len(history), model.model_codebooks), ZERO, np.int32)
            user = np.full((len(history), model.user_codebooks), ZERO, np.int32)
        elif self._sounds_from:
            codes[: max(0, model.sound_delay_steps - frames.start)] = ZERO
        hidden = range(max(history.first, history.steps - delay), history.steps)
        rows = [self._row(step, *[fed.get(step, UNGENERATED)] * 2) for step in hidden]
        forced = np.stack(rows) if rows else np.empty((0, FORCED_TEXT + model.model_codebooks), np.int32)
        return HistoryTokens(history.steps, user, np.array(text, np.int32), codes, forced)

    def _row(self, step: int, if_new_word: int, otherwise: int) -> Tokens:
        """The forced tokens of a step [FORCED_TEXT + model_codebooks]."""
        silent = self._written | (step < self._drawn_from)
        codes = np.where(silent, ZERO, UNGENERATED)
        row: Tokens = np.concatenate(([if_new_word, otherwise], codes)).astype(np.int32)
        return row
