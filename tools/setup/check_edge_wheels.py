"""Checks that every dependency of the edge has an aarch64 wheel, so that a Raspberry Pi needs no compiler.

    python -m tools.setup.check_edge_wheels

Resolves what pyproject.toml names with pip as Debian 12 and 13 would (50 MB of downloads each) and prints the
wheels. Exits with status 1 if a dependency has no wheel. pip's settings (PIP_INDEX_URL and so on) apply.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import click

from tools import ROOT

DEBIANS = {"bookworm": ((3, 11), 36), "trixie": ((3, 13), 41)}  # Python, minor version of glibc 2
OLDEST_GLIBC = 17  # manylinux2014, the oldest for aarch64


@click.command()
@click.argument("suites", nargs=-1, type=click.Choice(list(DEBIANS)))
def main(suites: tuple[str, ...]) -> None:
    """Prints the aarch64 wheels of every dependency on SUITES (default: all)."""
    missing = False
    for suite in suites or DEBIANS:
        (major, minor), glibc = DEBIANS[suite]
        print(f"Debian {suite}: Python {major}.{minor}, glibc 2.{glibc}, aarch64")
        with tempfile.TemporaryDirectory() as scratch:
            try:
                wheels = download(requirements(), (major, minor), glibc, Path(scratch))
            except LookupError:
                missing = True
                for requirement in requirements():
                    if not has_wheel(requirement, (major, minor), glibc):
                        print(f"  no wheel of {requirement}")
                continue
        print(f"  {'package':<27}{'version':<12}{'MB':>6}  tag")
        for path, size in sorted(wheels.items()):
            name, version, *_, platform = path.removesuffix(".whl").split("-")
            print(f"  {name:<27}{version:<12}{size / 1e6:>6.1f}  {platform}")
        print(f"  {len(wheels)} wheels, {sum(wheels.values()) / 1e6:.1f} MB")
    sys.exit(1 if missing else 0)


def requirements() -> list[str]:
    """The requirements of `pip install antiphon`."""
    requirements: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return requirements


def download(wanted: list[str], python: tuple[int, int], glibc: int, folder: Path) -> dict[str, int]:
    """Downloads the wheels of `wanted` and their dependencies; returns file names and sizes in bytes.

    Raises:
        LookupError: pip does not find all of them.
    """
    version = ".".join(map(str, python))
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(glibc, OLDEST_GLIBC - 1, -1)]
    platforms.append("manylinux2014_aarch64")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--implementation", "cp", "--python-version", version]
    command += [argument for platform in platforms for argument in ("--platform", platform)]
    if subprocess.run([*command, *wanted], check=False).returncode != 0:
        raise LookupError
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def has_wheel(requirement: str, python: tuple[int, int], glibc: int) -> bool:
    """Whether pip finds wheels of `requirement` and all its dependencies."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            download([requirement], python, glibc, Path(scratch))
        except LookupError:
            return False
    return True


if __name__ == "__main__":
    main()
