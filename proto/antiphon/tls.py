"""Checks certificates and addresses for both sides before anything is sent, with the standard library alone."""

from __future__ import annotations

import ssl
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from antiphon.address import split_address
from antiphon.errors import AntiphonError

HANDSHAKE_TURNS = 4  # exchanges of bytes; TLS 1.3 needs two


class CertificateError(AntiphonError):
    """An unusable certificate, key or authority."""


class ExposedError(AntiphonError):
    """An address that other machines reach, without TLS."""


def check_private(address: str, *, insecure: bool) -> None:
    """Returns where plaintext at HOST:PORT stays on this machine, or may leave it.

    Raises:
        ExposedError: others can reach the address.
    """
    if not insecure and not is_loopback(address):
        raise ExposedError(
            f"--listen {address} is reached from other machines, and conversations would cross the network in "
            "plaintext: give --tls-cert and --tls-key, or --insecure on a network that you trust"
        )


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is a loopback address. Of names, only localhost counts as one."""
    try:
        host, _ = split_address(address)
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, or not an address
        return False


def read_authorities(path: Path) -> bytes:
    """The certificate authorities of a PEM file.

    Raises:
        CertificateError: it is unreadable or holds no certificate.
    """
    pem = _read(path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode())
    except (ssl.SSLError, ValueError):
        raise CertificateError(f"{path}: holds no PEM certificate of an authority") from None
    return pem


def read_pair(certificate: Path, key: Path, role: Literal["server", "client"]) -> tuple[bytes, bytes]:
    """A private key and its certificate chain, both PEM, in gRPC's order.

    Args:
        certificate: the chain, the leaf first.
        key: its private key, not encrypted.
        role: the end of a connection that presents it.

    Raises:
        CertificateError: a file cannot be read, the two do not belong together, or no peer would accept the
            certificate today.
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
    except OSError as error:  # it went away meanwhile
        raise CertificateError(f"{certificate}, {key}: cannot be read: {error.strerror or error}") from None
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
    """Why a peer would refuse the certificate (expired, not yet valid, made for another purpose); None if it would not.

    The standard library cannot inspect a certificate, so the two ends do a TLS handshake in memory.
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
