"""Security of the gateway's ports: TLS, or plaintext where nobody can listen in."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from antiphon.serving.changing_files import CERTIFICATE_STAYS, ChangingFiles
from antiphon.tls import check_private, read_pair

logger = logging.getLogger(__name__)


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
        files: the certificate to present, which is read again when the files change; None for none.
        insecure: whether plaintext may leave this machine.

    Raises:
        ExposedError: others can reach the address, and there is neither a certificate nor `insecure`.
        CertificateError: a file cannot be used.
    """
    if files is None:
        check_private(address, insecure=insecure)
        return None
    served = ChangingFiles([files.certificate, files.key], partial(_context, files), CERTIFICATE_STAYS)

    def renew(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """A connection begins, whether the client says a name or not: it gets the newest certificate."""
        if served.follow():
            logger.info("serving the new certificate in %s", files.certificate)
        connection.context = served.value

    listening = served.value
    listening.sni_callback = renew
    return listening


def _context(files: TlsFiles) -> ssl.SSLContext:
    read_pair(files.certificate, files.key, "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context
