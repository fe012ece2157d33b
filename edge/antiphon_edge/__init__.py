"""Antiphon's SDK: talk to a full-duplex speech model on a worker. Never imports torch.

A conversation from a wav file to a wav file, a frame of 80 ms at a time:

    from antiphon_edge import Codec, Hearing, WavReader, WavWriter, connect, pull_codec

    codec = Codec.load(await pull_codec("localhost:50051"))
    decoder, spec = codec.decoder(), codec.spec
    with (
        WavReader(Path("question.wav"), spec.sample_rate_hz, spec.frame_samples) as frames,
        WavWriter(Path("reply.wav"), spec.sample_rate_hz) as writer,
    ):
        async with connect("localhost:50051", spec) as session:
            for codes in Hearing(codec, session.model).codes(frames):
                await session.send(codes)
                reply = await session.receive()
                if reply.codes is not None:
                    writer.write(decoder.step(reply.codes))

Live, with the codec in threads:

    from antiphon_edge import Codec, Microphone, Speaker, connect
    from antiphon_edge.talk.conversation import talk

    async with (
        connect("localhost:50051", codec.spec) as session,
        Speaker(24_000) as speaker,
        Microphone(24_000, 1920) as microphone,
    ):
        await talk(session, codec, microphone, speaker.write, live=True)

With a persona and a voice, on a worker whose model takes them (PersonaPlex):

    from antiphon_edge import connect, describe, encode_voice

    print((await describe("localhost:50051")).voices)
    async with connect("localhost:50051", spec, voice="NATF2", persona="You are a patient teacher.") as session:
        ...
    async with connect("localhost:50051", spec, voice=encode_voice(codec, "me.wav")) as session:
        ...

On another machine, with TLS and an API key, and other workers should the first one be lost:

    from antiphon_edge import Credentials, Reconnect, connect

    credentials = Credentials(tls=True, api_key=key)
    async with connect(["a:50051", "b:50051"], spec, credentials=credentials, reconnect=Reconnect(patience_s=60)):
        ...

In a script without asyncio:

    from antiphon_edge import blocking

    with blocking.connect("localhost:50051", codec.spec) as session:
        reply = session.exchange(codes)

What goes wrong is an `AntiphonError`; `antiphon.errors` and `antiphon_edge.errors` have the tree. A name is imported
when it is first used, so that importing this costs nothing and needs no sound library.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

import antiphon as _antiphon  # noqa: F401 - tells onnxruntime not to report, before anything here imports it

if TYPE_CHECKING:
    from antiphon.errors import AntiphonError
    from antiphon.spec import GREEDY, CodecSpec, Sampling
    from antiphon_edge import blocking
    from antiphon_edge.audio.changes import DeviceChange
    from antiphon_edge.audio.devices import AudioDevice
    from antiphon_edge.audio.echo.canceller import EchoCanceller
    from antiphon_edge.audio.microphone import Microphone
    from antiphon_edge.audio.portaudio import list_devices
    from antiphon_edge.audio.speaker import Speaker
    from antiphon_edge.audio.wav import WavReader, WavWriter
    from antiphon_edge.client.connect import connect
    from antiphon_edge.client.describe import Description, describe
    from antiphon_edge.client.events import Change, Ending, GoAway, Reconnecting, Reply, Resumed, SpokenWord, Totals
    from antiphon_edge.client.reconnect import NEVER, Reconnect
    from antiphon_edge.client.session import Session
    from antiphon_edge.codec.codec import Codec
    from antiphon_edge.codec.pull import pull_codec
    from antiphon_edge.codec.voice import encode_voice
    from antiphon_edge.talk.hearing import Hearing
    from antiphon_edge.talk.recording import Recorder, Recording
    from antiphon_edge.transcript.pauses import Pauses
    from antiphon_edge.transcript.words import Word, Words
    from antiphon_edge.transport.credentials import Credentials

__all__ = [
    "GREEDY",
    "NEVER",
    "AntiphonError",
    "AudioDevice",
    "Change",
    "Codec",
    "CodecSpec",
    "Credentials",
    "Description",
    "DeviceChange",
    "EchoCanceller",
    "Ending",
    "GoAway",
    "Hearing",
    "Microphone",
    "Pauses",
    "Reconnect",
    "Reconnecting",
    "Recorder",
    "Recording",
    "Reply",
    "Resumed",
    "Sampling",
    "Session",
    "Speaker",
    "SpokenWord",
    "Totals",
    "WavReader",
    "WavWriter",
    "Word",
    "Words",
    "blocking",
    "connect",
    "describe",
    "encode_voice",
    "list_devices",
    "pull_codec",
]

# gRPC's core writes lines of its own to standard error; what matters of them comes as an error. Read when grpc is
# imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

if not TYPE_CHECKING:  # a type checker would take every name for one of these
    _MODULES = {
        "antiphon.errors": ["AntiphonError"],
        "antiphon.spec": ["GREEDY", "CodecSpec", "Sampling"],
        "antiphon_edge.audio.changes": ["DeviceChange"],
        "antiphon_edge.audio.devices": ["AudioDevice"],
        "antiphon_edge.audio.echo.canceller": ["EchoCanceller"],
        "antiphon_edge.audio.microphone": ["Microphone"],
        "antiphon_edge.audio.portaudio": ["list_devices"],
        "antiphon_edge.audio.speaker": ["Speaker"],
        "antiphon_edge.audio.wav": ["WavReader", "WavWriter"],
        "antiphon_edge.client.connect": ["connect"],
        "antiphon_edge.client.describe": ["Description", "describe"],
        "antiphon_edge.client.events": [
            "Change",
            "Ending",
            "GoAway",
            "Reconnecting",
            "Reply",
            "Resumed",
            "SpokenWord",
            "Totals",
        ],
        "antiphon_edge.client.reconnect": ["NEVER", "Reconnect"],
        "antiphon_edge.client.session": ["Session"],
        "antiphon_edge.codec.codec": ["Codec"],
        "antiphon_edge.codec.pull": ["pull_codec"],
        "antiphon_edge.codec.voice": ["encode_voice"],
        "antiphon_edge.talk.hearing": ["Hearing"],
        "antiphon_edge.talk.recording": ["Recorder", "Recording"],
        "antiphon_edge.transcript.pauses": ["Pauses"],
        "antiphon_edge.transcript.words": ["Word", "Words"],
        "antiphon_edge.transport.credentials": ["Credentials"],
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name == "blocking":
            return importlib.import_module("antiphon_edge.blocking")
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_MODULE_OF[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
