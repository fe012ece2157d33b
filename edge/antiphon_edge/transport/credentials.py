"""Who the edge is, and whom it trusts: TLS, a client certificate, an API key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import grpc

from antiphon.tls import is_loopback, read_authorities, read_pair
from antiphon_edge.errors import CredentialsError

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How an edge reaches a worker.

    Args:
        tls: encrypt, and check the worker's certificate.
        ca: PEM file of the authorities to trust instead of those that gRPC brings.
        client_cert: PEM file of the chain that tells the worker who this is (mutual TLS).
        client_key: its private key.
        api_key: sent with every call; never shown.
        insecure: allow plaintext, API key and all, to another machine.
    """

    tls: bool = False
    ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    api_key: str | None = field(default=None, repr=False)
    insecure: bool = False

    def check(self, address: str) -> None:
        """Whether these may be used for the worker at `address` (HOST:PORT).

        Raises:
            CredentialsError: they would send the conversation, or the key, in plaintext to another machine.
        """
        if self.tls or self.insecure or is_loopback(address):
            return
        sent = "the conversation and the API key" if self.api_key else "the conversation"
        raise CredentialsError(
            f"{address} is another machine and {sent} would go there in plaintext: use `tls`, or `insecure` on a "
            "network that you trust"
        )

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """What gRPC needs for TLS; None for plaintext.

        Raises:
            CertificateError: a file cannot be used.
        """
        if not self.tls:
            return None
        key, chain = None, None
        if self.client_cert is not None and self.client_key is not None:
            key, chain = read_pair(self.client_cert, self.client_key, "client")
        return grpc.ssl_channel_credentials(read_authorities(self.ca) if self.ca else None, key, chain)

    @property
    def metadata(self) -> Metadata:
        """What goes with every call."""
        return (("authorization", f"Bearer {self.api_key}"),) if self.api_key else ()


PLAINTEXT = Credentials()


def read_api_key(path: Path) -> str:
    """The API key that a file holds, alone on its line.

    Raises:
        CredentialsError: it cannot be read, or holds no key.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path}: cannot be read: {getattr(error, 'strerror', 'it is no text')}") from None
    return clean_api_key(text, str(path))


def clean_api_key(text: str, source: str) -> str:
    """The API key in `text`, without the white space around it.

    Raises:
        CredentialsError: there is none, or it cannot be sent; the message names `source` and never the key.
    """
    key = text.strip()
    if not key:
        raise CredentialsError(f"{source}: holds no API key: put there what antiphon-cloud make-key printed")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise CredentialsError(f"{source}: holds more than one API key: put one alone there")
    return key
