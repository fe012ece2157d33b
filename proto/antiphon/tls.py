"""Certificates and addresses, checked before anything is sent: what both sides ask of TLS, in the standard library."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from antiphon.address import split_address
from antiphon.errors import AntiphonError

HANDSHAKE_TURNS = 4  # of bytes that cross: TLS 1.3 needs two


class CertificateError(AntiphonError):
    """A certificate, key or authority that cannot be used."""


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT never leaves this machine; a name other than localhost is taken to leave it."""
    try:
        host, _ = split_address(address)
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, or no address at all
        return False


def read_authorities(path: Path) -> bytes:
    """The certificate authorities of a PEM file.

    Raises:
        CertificateError: it cannot be read, or holds no certificate.
    """
    pem = _read(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode())
    except (ssl.SSLError, ValueError):
        raise CertificateError(f"{path}: holds no PEM certificate of an authority") from None
    return pem


def read_pair(certificate: Path, key: Path, role: Literal["server", "client"]) -> tuple[bytes, bytes]:
    """A private key and its certificate chain, both PEM, in the order in which gRPC takes them.

    Args:
        certificate: the chain, the leaf first.
        key: its private key, not encrypted.
        role: which end of a connection it is to stand for.

    Raises:
        CertificateError: a file cannot be read, the two do not belong together, or nobody would accept the certificate
            today.
    """
    pems = _read(key), _read(certificate)
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def no_password() -> str:
        raise CertificateError(f"{key}: is encrypted: give one without a password, in a file that only its owner reads")

    try:
        for side in (server, client):
            side.load_cert_chain(certificate, key, password=no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key}: is not the key of the certificate in {certificate}") from None
        raise CertificateError(f"{certificate}, {key}: one of them is no PEM certificate or no PEM key") from None
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    checking = client if role == "server" else server
    checking.verify_mode = ssl.CERT_REQUIRED
    checking.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    checking.load_verify_locations(certificate)
    if refusal := _handshake_refusal(server, client):
        raise CertificateError(f"{certificate}: {refusal}: put a valid certificate of a {role} there")
    return pems


def _handshake_refusal(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """Why the end that checks the other's certificate refuses it (expired, not yet valid, made for another purpose).

    The standard library has no way to look into a certificate, so the two ends shake hands in memory.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
    for _ in range(HANDSHAKE_TURNS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror}") from None
