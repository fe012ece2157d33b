"""Certificates of authorities that live as long as a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import trustme

PAST: dict[str, Any] = {"not_before": datetime(2020, 1, 1, tzinfo=UTC), "not_after": datetime(2021, 1, 1, tzinfo=UTC)}
FUTURE: dict[str, Any] = {"not_before": datetime(2100, 1, 1, tzinfo=UTC), "not_after": datetime(2101, 1, 1, tzinfo=UTC)}


@dataclass(frozen=True)
class Files:
    """One certificate on disk, its key, and the authority that signed it."""

    ca: Path
    certificate: Path
    key: Path


@cache
def authority(name: str) -> trustme.CA:
    """The authority of that name; making its key is what takes time."""
    return trustme.CA(organization_name=name)


def issue(folder: Path, host: str = "localhost", *, by: str = "ours", **validity: Any) -> Files:
    """Writes a certificate for `host`, signed by the authority `by`, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    ca = authority(by)
    leaf = ca.issue_cert(host, **validity)
    files = Files(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    files.ca.write_bytes(ca.cert_pem.bytes())
    files.certificate.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
    files.key.write_bytes(leaf.private_key_pem.bytes())
    return files
