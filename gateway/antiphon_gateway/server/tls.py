"""Security of the gateway's ports: TLS, or plaintext where nobody can listen in."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from antiphon.tls import check_private, read_pair


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the gateway's side of TLS.

    Args:
        certificate: the chain presented to clients, the leaf first.
        key: its private key.
    """

    certificate: Path
    key: Path


def server_context(address: str, files: TlsFiles | None, insecure: bool) -> ssl.SSLContext | None:
    """TLS of the port at `address` (HOST:PORT); None for plaintext.

    Args:
        address: where the gateway listens.
        files: the certificate to present; None for none.
        insecure: whether plaintext may leave this machine.

    Raises:
        ExposedError: others can reach the address, and there is neither a certificate nor `insecure`.
        CertificateError: a file cannot be used.
    """
    if files is None:
        check_private(address, insecure=insecure)
        return None
    read_pair(files.certificate, files.key, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context
