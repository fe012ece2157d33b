"""Security of the gateway's ports: TLS, or plaintext where nobody can listen in."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from antiphon.serving.changing_files import CERTIFICATE_STAYS, ChangingFiles
from antiphon.tls import CertificateError, check_private, read_pair

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


class Certificate:
    """What the gateway presents: to a connection that comes later, what its files hold later.

    Args:
        files: of the certificate.

    Raises:
        CertificateError: a file cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._served = ChangingFiles([files.certificate, files.key], self._read, CERTIFICATE_STAYS)
        self.context = self._served.value
        """Of the port."""
        self.context.sni_callback = self._present

    def reload(self) -> None:
        """Reads the files again, changed or not; unusable ones are logged, and the old certificate stays."""
        if self._served.reload():
            self._log()

    def _present(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """A connection begins, whether the client says a name or not: it gets the newest certificate."""
        if self._served.follow():
            self._log()
        connection.context = self._served.value

    def _log(self) -> None:
        logger.info("serving the new certificate in %s", self._files.certificate)

    def _read(self) -> ssl.SSLContext:
        read_pair(self._files.certificate, self._files.key, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._files.certificate, self._files.key)
        except OSError as error:  # they were replaced meanwhile
            raise CertificateError(f"{self._files.certificate}: cannot be used: {error.strerror or error}") from None
        return context


def port_certificate(address: str, files: TlsFiles | None, insecure: bool) -> Certificate | None:
    """The certificate of the port at `address` (HOST:PORT); None for plaintext.

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
    return Certificate(files)
