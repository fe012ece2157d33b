"""Certificate files: what is accepted, and one sentence for each that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antiphon.tls import CertificateError, is_loopback, read_authorities, read_pair
from tests.support.certificates import FUTURE, PAST, issue


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_valid_pair_is_handed_to_grpc_as_it_is(tmp_path: Path, role: str) -> None:
    files = issue(tmp_path)
    pair = read_pair(files.certificate, files.key, role)  # type: ignore[arg-type]
    assert pair == (files.key.read_bytes(), files.certificate.read_bytes())
    assert read_authorities(files.ca) == files.ca.read_bytes()


@pytest.mark.parametrize("role", ["server", "client"])
@pytest.mark.parametrize(("validity", "words"), [(PAST, "has expired"), (FUTURE, "not yet valid")])
def test_a_certificate_out_of_its_time_is_refused(
    tmp_path: Path, role: str, validity: dict[str, Any], words: str
) -> None:
    files = issue(tmp_path, **validity)
    with pytest.raises(CertificateError, match=words) as raised:
        read_pair(files.certificate, files.key, role)  # type: ignore[arg-type]
    assert str(files.certificate) in str(raised.value)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    one, other = issue(tmp_path / "one"), issue(tmp_path / "other")
    with pytest.raises(CertificateError, match="is not the key of the certificate"):
        read_pair(one.certificate, other.key, "server")


def test_a_file_that_is_missing_or_no_pem_is_named(tmp_path: Path) -> None:
    files = issue(tmp_path)
    with pytest.raises(CertificateError, match=r"gone\.pem: cannot be read: No such file"):
        read_pair(tmp_path / "gone.pem", files.key, "server")
    (junk := tmp_path / "junk.pem").write_bytes(b"\xffjunk")
    with pytest.raises(CertificateError, match=r"junk\.pem, .*no PEM"):
        read_pair(junk, files.key, "server")
    with pytest.raises(CertificateError, match=r"junk\.pem: holds no PEM certificate"):
        read_authorities(junk)
    (empty := tmp_path / "empty.pem").write_bytes(b"")
    with pytest.raises(CertificateError, match="holds no PEM certificate"):
        read_authorities(empty)


def test_an_encrypted_key_is_refused_without_asking_for_its_password(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    files = issue(tmp_path)
    key = load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(CertificateError, match="is encrypted"):
        read_pair(files.certificate, files.key, "server")


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.1.7:1", False),
        ("worker.example:1", False),
        ("localhost.example:1", False),
    ],
)
def test_loopback_is_what_never_leaves_the_machine(address: str, inside: bool) -> None:
    assert is_loopback(address) is inside
