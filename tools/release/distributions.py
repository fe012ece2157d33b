"""The distributions of this repository, and how they are built: in clones, so that nothing uncommitted gets in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools import ROOT

PACKAGING = ROOT / ".venv/packaging/bin/python"
PAGE = Path("gateway/antiphon_gateway/page")  # built by npm; git does not have it
FOLDERS = {"antiphon": ".", "antiphon-cloud": "cloud", "antiphon-gateway": "gateway", "antiphon-number-clerk": "clerk"}


class ReleaseError(Exception):
    """What keeps this checkout from being released, in a sentence."""


@dataclass(frozen=True)
class Built:
    """What a distribution became."""

    name: str
    version: str
    wheel: Path
    sdist: Path


def git(*arguments: str | Path) -> str:
    """What git says of this checkout."""
    command = ["git", "-C", ROOT, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def clone(folder: Path) -> None:
    """Clones the commit that is checked out, and adds the page that was built.

    Raises:
        ReleaseError: something is changed but not committed, or there is no page.
    """
    if changed := git("status", "--porcelain", "--untracked-files=no"):
        first = changed.splitlines()[0].split()[-1]
        raise ReleaseError(f"{first} is changed and not committed: commit or stash what is to be released")
    if not (ROOT / PAGE / "index.html").exists():
        raise ReleaseError(f"{PAGE} is not built: make page")
    git("clone", "--quiet", "--shared", ROOT, folder)
    shutil.copytree(ROOT / PAGE, folder / PAGE)


def build(source: Path, out: Path, umask: int = 0o022) -> dict[str, Built]:
    """Builds sdists from a clone, and wheels from the sdists, with the commit's time in all of them."""
    clock = {"SOURCE_DATE_EPOCH": git("log", "-1", "--format=%ct")}
    for folder in FOLDERS.values():
        command: list[str | Path] = [PACKAGING, "-m", "build", "--no-isolation", "--outdir", out, source / folder]
        _quietly(command, os.environ | clock, umask)
    return {name: _found(name, out) for name in FOLDERS}


def differences(one: Mapping[str, Built], other: Mapping[str, Built]) -> list[str]:
    """The names of files that are not the same, byte by byte, in two builds."""
    pairs = [(a, b) for name in one for a, b in zip(_files(one[name]), _files(other[name]), strict=True)]
    return [a.name for a, b in pairs if a.name != b.name or _digest(a) != _digest(b)]


def check_metadata(files: list[Path]) -> None:
    """Asks twine whether PyPI would take the files and show their pages."""
    _quietly([PACKAGING, "-m", "twine", "check", "--strict", *files], os.environ, 0o022)


def check_version(builds: Mapping[str, Built]) -> str:
    """The version that all distributions have. A release has a page in the changelog and addresses that exist.

    Raises:
        ReleaseError: they differ, or the checkout is not what its tag promises.
    """
    versions = {built.version for built in builds.values()}
    if len(versions) != 1:
        raise ReleaseError(f"the distributions are of versions {', '.join(sorted(versions))}: they must be of one")
    (version,) = versions
    if "dev" not in version:
        if f"## [{version}]" not in (ROOT / "CHANGELOG.md").read_text():
            raise ReleaseError(f"CHANGELOG.md has no section [{version}]: rename Unreleased")
        if ".example" in (ROOT / "pyproject.toml").read_text():
            raise ReleaseError("pyproject.toml: antiphon.example is no address: name the repository in all four files")
    return version


def _quietly(command: list[str | Path], environment: Mapping[str, str], umask: int) -> None:
    done = subprocess.run(
        command, env=environment, umask=umask, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        said = "\n".join(done.stdout.splitlines()[-20:])
        raise ReleaseError(f"{' '.join(map(str, command[1:4]))} failed, and said last:\n{said}")


def _found(name: str, out: Path) -> Built:
    prefix = name.replace("-", "_")
    (wheel,) = out.glob(f"{prefix}-[0-9]*.whl")
    (sdist,) = out.glob(f"{prefix}-[0-9]*.tar.gz")
    return Built(name, wheel.name.split("-")[1], wheel, sdist)


def _files(built: Built) -> tuple[Path, Path]:
    return built.wheel, built.sdist


def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()
