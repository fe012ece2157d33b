"""Security of the worker's port: TLS, mutual TLS, or plaintext where nobody can listen in."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from antiphon.serving.changing_files import CERTIFICATE_STAYS, ChangingFiles
from antiphon.tls import check_private, read_authorities, read_pair

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the worker's side of TLS.

    Args:
        certificate: the chain presented to edges, the leaf first.
        key: its private key.
        client_ca: authorities of client certificates (mutual TLS); None asks for no client certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> grpc.ServerCertificateConfiguration:
        """The files in gRPC's form.

        Raises:
            CertificateError: a file cannot be used.
        """
        authorities = None if self.client_ca is None else read_authorities(self.client_ca)
        return grpc.ssl_server_certificate_configuration(
            [read_pair(self.certificate, self.key, "server")], root_certificates=authorities
        )

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]


class Certificates:
    """The worker's certificate, which gRPC asks for at each new connection: a new one once its files have changed.

    Args:
        files: of the certificate.

    Raises:
        CertificateError: a file cannot be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._served = ChangingFiles(files.paths, files.read, CERTIFICATE_STAYS)
        self._renewed = False  # and gRPC has not asked for it yet

    @property
    def first(self) -> grpc.ServerCertificateConfiguration:
        """The certificate that the port opens with."""
        return self._served.value

    def reload(self) -> None:
        """Reads the files again, changed or not; unusable ones are logged, and the old certificate stays."""
        if self._served.reload():
            self._renewed = True
            self._log()

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificate; None if nothing changed. Unusable files leave the old one in place."""
        if self._served.follow():
            self._log()
        elif not self._renewed:
            return None
        self._renewed = False
        return self._served.value

    def _log(self) -> None:
        logger.info("serving the new certificate in %s", self.files.certificate)


def server_credentials(
    address: str, certificates: Certificates | None, insecure: bool
) -> grpc.ServerCredentials | None:
    """Credentials of the port at `address` (HOST:PORT); None for plaintext.

    Args:
        address: where the worker listens.
        certificates: what it presents; they are read again when the files change.
        insecure: whether plaintext may leave this machine.

    Raises:
        ExposedError: others can reach the address, and there is neither a certificate nor `insecure`.
        CertificateError: a file cannot be used.
    """
    if certificates is None:
        check_private(address, insecure=insecure)
        return None
    return grpc.dynamic_ssl_server_credentials(
        certificates.first,
        certificates.fetch,  # type: ignore[arg-type]  # the type stubs do not allow None, "no change"
        require_client_authentication=certificates.files.client_ca is not None,
    )
