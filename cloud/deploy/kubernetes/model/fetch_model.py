"""Fetches a published checkpoint from Hugging Face's hub into a folder, with the standard library alone.

    REPOSITORY=kyutai/moshiko-pytorch-bf16 REVISION=main python fetch_model.py /model

A file that is there with the size (and, where the hub tells it, the SHA-256) that it should have is not fetched again.
One that came half goes on where it stopped. HF_TOKEN, for models behind an agreement, goes to the hub and to nobody
whom the hub sends on to. HF_ENDPOINT names a mirror.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import sys
import urllib.parse
import urllib.request
from pathlib import Path, PurePosixPath
from typing import Any

logger = logging.getLogger("fetch_model")

HUB = "https://huggingface.co"
TIMEOUT_S = 60.0
CHUNK = 1 << 20
# Pages, pictures, and formats that the worker does not read (pickles among them: they may hold any program).
LEFT_OUT = {
    ".md",
    ".png",
    ".jpg",
    ".gif",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".gguf",
    ".gitattributes",
    ".gitignore",
}


def files(hub: str, repository: str, revision: str, token: str | None) -> tuple[str, list[dict[str, Any]]]:
    """The commit that the revision means, and its files: `rfilename`, `size` and, of large ones, `lfs`.

    Raises:
        OSError: the hub does not answer, or refuses.
        ValueError: its answer is none.
    """
    with _open(
        f"{hub}/api/models/{repository}/revision/{urllib.parse.quote(revision, safe='')}?blobs=true", token
    ) as body:
        told = json.load(body)
    return told["sha"], [each for each in told["siblings"] if wanted(each["rfilename"])]


def wanted(name: str) -> bool:
    """Whether a worker may need the file.

    Raises:
        ValueError: the name leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the hub names a file outside of the model: {name!r}")
    return (path.suffix or path.name) not in LEFT_OUT


def fetch(url: str, path: Path, size: int, sha256: str | None, token: str | None) -> bool:
    """Brings one file; False where it was there.

    Raises:
        OSError: it cannot be fetched or written.
        ValueError: what came is not what the hub announced.
    """
    if path.is_file() and path.stat().st_size == size and sha256 in (None, digest(path)):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    have = part.stat().st_size if part.exists() else 0
    if have < size or not size:
        with (
            _open(url, token, have) as body,
            part.open("ab" if body.status == http.client.PARTIAL_CONTENT else "wb") as out,
        ):
            while chunk := body.read(CHUNK):
                out.write(chunk)
    if part.stat().st_size != size or sha256 not in (None, digest(part)):
        part.unlink()
        raise ValueError(f"{path.name} came damaged or cut off; it is fetched anew by the next try")
    part.replace(path)
    return True


def digest(path: Path) -> str:
    """The file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(url: str, token: str | None, start: int = 0) -> Any:
    request = urllib.request.Request(url)  # noqa: S310 - the hub's, or what the operator named
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    if start:
        request.add_header("Range", f"bytes={start}-")
    through_the_proxy_of_the_environment = urllib.request.build_opener()
    return through_the_proxy_of_the_environment.open(request, timeout=TIMEOUT_S)


def main(folder: Path) -> None:
    """Fetches all files; the log says which."""
    hub, token = os.environ.get("HF_ENDPOINT", HUB).rstrip("/"), os.environ.get("HF_TOKEN")
    repository, revision = os.environ["REPOSITORY"], os.environ.get("REVISION", "main")
    commit, found = files(hub, repository, revision, token)
    logger.info("%s at %s: %d files", repository, commit, len(found))
    for each in found:
        name, lfs = each["rfilename"], each.get("lfs") or {}
        url = f"{hub}/{repository}/resolve/{commit}/{urllib.parse.quote(name)}"
        new = fetch(url, folder / name, each.get("size") or lfs.get("size", 0), lfs.get("sha256"), token)
        logger.info("%s: %s", name, "fetched" if new else "was there")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(Path(sys.argv[1]))
    except (OSError, ValueError) as error:
        sys.exit(f"fetch_model: {error}")
