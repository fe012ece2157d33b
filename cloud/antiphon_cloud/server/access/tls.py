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


def server_credentials(address: str, files: TlsFiles | None, insecure: bool) -> grpc.ServerCredentials | None:
    """Credentials of the port at `address` (HOST:PORT); None for plaintext.

    Args:
        address: where the worker listens.
        files: the certificate to present; it is read again when the files change.
        insecure: whether plaintext may leave this machine.

    Raises:
        ExposedError: others can reach the address, and there is neither a certificate nor `insecure`.
        CertificateError: a file cannot be used.
    """
    if files is None:
        check_private(address, insecure=insecure)
        return None
    served = ChangingFiles(files.paths, files.read, CERTIFICATE_STAYS)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """The new certificate, for which gRPC asks at each new connection; None for no change."""
        if not served.follow():
            return None
        logger.info("serving the new certificate in %s", files.certificate)
        return served.value

    return grpc.dynamic_ssl_server_credentials(
        served.value,
        renewed,  # type: ignore[arg-type]  # the type stubs do not allow None, "no change"
        require_client_authentication=files.client_ca is not None,
    )
