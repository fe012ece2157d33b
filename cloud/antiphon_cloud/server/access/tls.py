"""Security of the worker's port: TLS, mutual TLS, or plaintext where nobody can listen in."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import grpc

from antiphon.errors import AntiphonError
from antiphon.tls import check_private, read_authorities, read_pair

logger = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int], ...]  # of each file: modification time in nanoseconds, inode


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

    def stamp(self) -> Stamp:
        """Changes when a file is replaced or written.

        Raises:
            OSError: a file is gone.
        """
        paths = [self.certificate, self.key, *([self.client_ca] if self.client_ca else [])]
        return tuple((found.st_mtime_ns, found.st_ino) for found in (path.stat() for path in paths))


class _Rotation:
    """Gives gRPC the new certificate when its files change; gRPC asks at each new connection."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp: Stamp | None = None

    def first(self) -> grpc.ServerCertificateConfiguration:
        configuration = self._files.read()
        self._stamp = self._files.stamp()
        return configuration

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """The new certificate; None if nothing changed. Unusable files leave the old one in place."""
        try:
            if (stamp := self._files.stamp()) == self._stamp:
                return None
            self._stamp = stamp  # logged once, even on failure
            configuration = self._files.read()
        except (AntiphonError, OSError) as error:
            if self._stamp is not None:
                logger.error("the new certificate cannot be used, the old one stays: %s", error)
            return None
        logger.info("serving the new certificate in %s", self._files.certificate)
        return configuration


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
    rotation = _Rotation(files)
    return grpc.dynamic_ssl_server_credentials(
        rotation.first(),
        rotation.fetch,  # type: ignore[arg-type]  # the type stubs do not allow None, "no change"
        require_client_authentication=files.client_ca is not None,
    )
