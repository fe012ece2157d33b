"""Turns what goes on in a conversation into events: what the session, the devices and the model's voice do, and every
second what was lost, how late replies are, and how loud both sides are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec import structs

from antiphon_edge.audio.changes import DeviceChange
from antiphon_edge.audio.microphone import Microphone
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.speaker import Speaker
from antiphon_edge.client.events import Change, Ending, Reply, Resumed
from antiphon_edge.client.session import Session
from antiphon_edge.talk.conversation import Conversation
from antiphon_edge.view import events
from antiphon_edge.view.losses import since
from antiphon_edge.view.meter import Meter, VoiceGate
from antiphon_edge.view.mute import Mute
from antiphon_edge.view.phrase import Phrase

LOOK_S = 1.0  # what was lost is told within twice that
COSTS_OF_AN_OUTAGE = ("unheard_frames", "playout_underruns", "playout_late_frames", "playout_gap_ms")


class Unwritten(Protocol):
    """A transcriber, as far as it is watched."""

    @property
    def dropped_frames(self) -> int:
        """Frames that were not written down."""


@dataclass(slots=True)
class Parts:
    """What is watched, as far as it is there yet."""

    session: Session | None = None
    conversation: Conversation | None = None
    microphone: Microphone | None = None
    speaker: Speaker | None = None
    transcriber: Unwritten | None = None
    frame_s: float = 0.08


class Watcher:
    """Watches one conversation.

    Args:
        publish: told of every event.
        mute: the person's switch.
        clock: seconds, from anywhere.
    """

    def __init__(self, publish: events.Publish, mute: Mute, clock: Callable[[], float]) -> None:
        self.parts = Parts()
        self._publish = publish
        self._mute = mute
        self._clock = clock
        self._heard, self._played = Meter(), Meter()
        self._voice = VoiceGate()
        self._text = Phrase()  # the model's
        self._said = Phrase()  # the person's
        self._transcriber_state = ""
        self._looking_for_worker = False
        self._slow = False
        self._longest_lag_s = 0.0
        self._told = events.Lost()

    def on_change(self, change: Change) -> None:
        """For `connect`: an outage is told once, however often another worker is asked."""
        if isinstance(change, Resumed):
            self._looking_for_worker = False
            self._publish(events.Resumed(change.address, round(change.after_s, 3)))
        elif isinstance(change, Ending):
            self._publish(events.Ending(round(change.in_s, 3)))
        elif not self._looking_for_worker:
            self._looking_for_worker = True
            self._publish(events.Reconnecting(change.reason))

    def on_device_change(self, change: DeviceChange) -> None:
        """For a microphone and a speaker."""
        after_s = round(change.after_s, 3)
        self._publish(events.Device(change.direction, change.state, change.device, change.reason, after_s, str(change)))

    def levels(self) -> tuple[float | None, float | None]:
        """How loud the person's and the model's last frame were, in decibels below full scale."""
        return self._heard.now, self._played.now

    def connected(self, session: Session) -> None:
        """A worker has taken the session."""
        self.parts.session = session
        self._publish(events.Connected(session.address, session.model.name, session.id, session.seed))

    def listening(self) -> None:
        """The person is heard from now on."""
        microphone, speaker = self.parts.microphone, self.parts.speaker
        self._publish(
            events.Listening(
                None if microphone is None else microphone.device.name,
                None if speaker is None else speaker.device.name,
            )
        )

    def on_reply(self, reply: Reply) -> None:
        """For `talk`."""
        if reply.text:
            self._publish(events.Text(reply.text, reply.sequence))
            self._text.add(reply.text, self._clock())

    def word(self, text: str, start_s: float) -> None:
        """The person has said a word."""
        self._publish(events.Word(text, round(start_s, 3)))
        self._said.add(f" {text}", self._clock())

    def said(self) -> None:
        """The person has come to a pause."""
        if text := self._said.take():
            self._publish(events.Said(text))

    def transcriber_connected(self, address: str) -> None:
        """Somebody writes down what the person says."""
        self._tell_transcriber("back" if self._transcriber_state else "connected", address)

    def transcriber_lost(self, address: str, reason: str) -> None:
        """Nobody does; told once an outage."""
        if self._transcriber_state != "lost":
            self._tell_transcriber("lost", address, reason)

    def _tell_transcriber(self, state: str, address: str, reason: str = "") -> None:
        self._transcriber_state = state
        self._publish(events.Transcriber(state, address, reason))

    async def hear(self, frames: AsyncIterator[Pcm]) -> AsyncIterator[Pcm]:
        """The person's frames, through the mute."""
        async for frame in frames:
            self._heard.put(frame)
            yield self._mute.apply(frame)

    def played(self, frame: Pcm) -> None:
        """A frame of the model's voice."""
        self._played.put(frame)
        if self._voice.put(frame, self.parts.frame_s):
            self._publish(events.Speaking() if self._voice.open else events.Silent())

    async def run(self) -> None:
        """Looks every `LOOK_S`, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Tells what was lost since the last look, whether replies are late, and how it goes."""
        self._end_phrases()
        lost = self.lost()
        if self._looking_for_worker:  # which was told; what it has cost is told when it is over
            untold = {name: getattr(self._told, name) for name in COSTS_OF_AN_OUTAGE}
            lost = structs.replace(lost, **untold)
        if self._transcriber_state == "lost":
            lost = structs.replace(lost, unwritten_frames=self._told.unwritten_frames)
        if lost != self._told:
            self._publish(since(self._told, lost))
            self._told = lost
        lag_s = self._lag_s()
        if not self._looking_for_worker:
            self._longest_lag_s = max(self._longest_lag_s, lag_s)
            if self._slow != (lag_s >= events.SLOW_S):
                self._slow = not self._slow
                self._publish(events.Slow(self._slow, lag_s))
        conversation = self.parts.conversation
        if conversation is not None:
            round_trips = conversation.latency.round_trip_ms
            self._publish(
                events.Status(
                    microphone_dbfs=self._heard.read(),
                    speaker_dbfs=self._played.read(),
                    round_trip_ms=round(round_trips[-1], 1) if round_trips else None,
                    lag_s=lag_s,
                    frames_up=conversation.frames_up,
                    frames_down=conversation.frames_down,
                    muted=self._mute.muted,
                )
            )

    def end(self) -> events.Ended:
        """Tells the rest, and how it was together."""
        self._end_phrases(anyway=True)
        session, conversation = self.parts.session, self.parts.conversation or Conversation()
        microphone, speaker = self.parts.microphone, self.parts.speaker
        ended = events.Ended(
            frames_up=conversation.frames_up,
            frames_down=conversation.frames_down,
            microphone_outages=0 if microphone is None else microphone.outages,
            speaker_outages=0 if speaker is None else speaker.outages,
            resumptions=0 if session is None else session.resumptions,
            longest_lag_s=self._longest_lag_s,
            lost=self.lost(),
        )
        self._publish(ended)
        return ended

    def lost(self) -> events.Lost:
        """What was lost so far."""
        session, conversation = self.parts.session, self.parts.conversation
        microphone, speaker = self.parts.microphone, self.parts.speaker
        stats = None if speaker is None else speaker.stats
        rate_hz = 24_000 if speaker is None else speaker.rate_hz
        return events.Lost(
            microphone_frames=0 if microphone is None else microphone.dropped_frames,
            microphone_overflows=0 if microphone is None else microphone.overflows,
            speaker_underflows=0 if speaker is None else speaker.underflows,
            playout_underruns=0 if stats is None else stats.underruns,
            playout_dropped_ms=0 if stats is None else round(1000 * stats.dropped_samples / rate_hz),
            unheard_frames=0 if session is None else session.dropped_frames,
            late_replies=0 if conversation is None else conversation.skipped_replies,
            playout_late_frames=0 if stats is None else stats.late_frames,
            playout_gap_ms=0 if stats is None else round(stats.gap_ms),
            unwritten_frames=0 if self.parts.transcriber is None else self.parts.transcriber.dropped_frames,
        )

    def _lag_s(self) -> float:
        session = self.parts.session
        return 0.0 if session is None else round(session.in_flight * self.parts.frame_s, 3)

    def _end_phrases(self, *, anyway: bool = False) -> None:
        now_s = self._clock()
        if anyway or self._said.is_over(now_s):
            self.said()
        if (anyway or self._text.is_over(now_s)) and (text := self._text.take()):
            self._publish(events.Utterance(text))
