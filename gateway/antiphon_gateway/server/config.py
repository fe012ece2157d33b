"""How a gateway is set up."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from antiphon.serving.collector import Tracing
from antiphon_edge.transport.credentials import PLAINTEXT, Credentials
from antiphon_gateway.access.admission import Rules
from antiphon_gateway.doors.telephony.twilio import TwilioAccount
from antiphon_gateway.server.tls import TlsFiles


@dataclass(frozen=True, slots=True)
class Workers:
    """Where the workers are.

    Args:
        dialogue: HOST:PORT of those whose model listens and speaks.
        transcription: of those whose model only listens.
        speech: of those whose model only speaks.
        credentials: of the gateway at all of them.
        cache: root of what is kept of their codecs; None for the user's cache folder.
    """

    dialogue: tuple[str, ...] = ()
    transcription: tuple[str, ...] = ()
    speech: tuple[str, ...] = ()
    credentials: Credentials = PLAINTEXT
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Doors:
    """The doors that not every gateway has.

    Args:
        twilio: whose calls come in.
        audiosocket: HOST:PORT for Asterisk.
        wyoming: HOST:PORT for Home Assistant.
        languages: that Wyoming's clients are told of.
    """

    twilio: TwilioAccount | None = None
    audiosocket: str | None = None
    wyoming: str | None = None
    languages: tuple[str, ...] = ("en",)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """How a gateway listens, whom it lets in, and how it ends."""

    workers: Workers
    listen: str = "127.0.0.1:8080"
    tls: TlsFiles | None = None
    insecure: bool = False  # plaintext may leave this machine
    static: Path | None = None  # folder of a page
    metrics_listen: str | None = None  # HOST:PORT of /metrics, /healthz and /readyz; None for none
    tracing: Tracing | None = None  # None for no spans
    doors: Doors = Doors()
    drain_s: float = 5.0
    calls: int = 64  # at once
    access: Rules = field(default_factory=Rules)
    codec_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    name: str = ""  # of the gateway, in its metrics
