"""Checks that the edge installs on a 64-bit Raspberry Pi without a compiler: an aarch64 wheel of every dependency.

    python -m tools.setup.check_edge_wheels

Resolves the `edge` extra of pyproject.toml with pip as Debian 12 and 13 would (it downloads 50 MB for each) and lists
what it found. Exit status 1 if a dependency has no wheel. pip's own settings (PIP_INDEX_URL and so on) hold.
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
OLDEST_GLIBC = 17  # manylinux2014; aarch64 has none before


@click.command()
@click.argument("suites", nargs=-1, type=click.Choice(list(DEBIANS)))
def main(suites: tuple[str, ...]) -> None:
    """Prints the aarch64 wheels of every dependency on SUITES (all of them where absent)."""
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
    """What `pip install antiphon[edge]` asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["edge"]]


def download(wanted: list[str], python: tuple[int, int], glibc: int, folder: Path) -> dict[str, int]:
    """File names and sizes in bytes of the wheels of `wanted` and of all that they need.

    Raises:
        LookupError: pip does not find them all.
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
    """Whether pip finds wheels of `requirement` and of all that it needs."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            download([requirement], python, glibc, Path(scratch))
        except LookupError:
            return False
    return True


if __name__ == "__main__":
    main()
