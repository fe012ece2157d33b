"""`make release`: builds all distributions into dist/, checks them, installs them alone, and talks with them.

    python -m tools.release [--out dist]

Builds sdists and wheels twice, in clones of the commit that is checked out, in two folders and with other permissions,
and compares the files. Asks twine whether PyPI would take them. Installs the wheels into bare environments in a
temporary folder, prints what each takes on disk (as `du` counts it, without pip and bytecode), and holds a conversation
there: digits in, digits out. Exits with status 1 and a sentence where anything is wrong.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from tools import ROOT
from tools.release.conversation import converse
from tools.release.distributions import (
    Built,
    ReleaseError,
    build,
    check_metadata,
    check_version,
    clone,
    differences,
)
from tools.release.environment import MB, Environment

EDGE_MB, WHEEL_MB, WORKER_MB = 190, 1, 1600
"""An edge and a worker on disk, and the wheel of the edge, take at most this."""


@click.command(help=__doc__.partition("\n")[0] if __doc__ else None)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "dist", help="Folder that is written anew.")
def main(out: Path) -> None:
    """Builds and checks."""
    try:
        with tempfile.TemporaryDirectory(prefix="antiphon-release-") as scratch:
            release(out, Path(scratch))
    except ReleaseError as error:
        sys.exit(f"make release: {error}")


def release(out: Path, scratch: Path) -> None:
    """Everything in order; the files are in `out` only if all of it went well.

    Raises:
        ReleaseError: something is wrong with what was built.
    """
    clone(scratch / "one")
    clone(scratch / "other" / "folder")
    builds = build(scratch / "one", scratch / "dist")
    again = build(scratch / "other" / "folder", scratch / "again", umask=0o077)
    if differ := differences(builds, again):
        raise ReleaseError(f"{', '.join(differ)}: two builds of the same commit differ")
    print(f"antiphon {check_version(builds)}: two builds are the same, byte by byte")
    files = sorted((scratch / "dist").iterdir())
    check_metadata(files)
    print(f"twine: PyPI would take all {len(files)} files")
    for built in builds.values():
        print(f"  {built.name:24} wheel {mb(built.wheel):6.2f} MB, sdist {mb(built.sdist):6.2f} MB")
    if mb(builds["antiphon"].wheel) >= WHEEL_MB:
        raise ReleaseError(f"the wheel of antiphon has {WHEEL_MB} MB or more")
    try_out(builds, scratch)
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(scratch / "dist", out)
    print(f"{out}: ready to be uploaded")


def try_out(builds: Mapping[str, Built], scratch: Path) -> None:
    """Installs the wheels alone, as an edge, a gateway and a worker would, and lets them talk with each other.

    Raises:
        ReleaseError: an installation is too large, or does not do what it is for.
    """
    elsewhere = scratch / "elsewhere"
    elsewhere.mkdir()

    def install(environment: Environment, *names: str) -> float:
        wanted = [f"{name}=={builds[name].version}" for name in names]
        environment.install("--no-compile", "--find-links", scratch / "dist", *wanted)
        size = environment.disk_mb()
        print(f"  {' '.join(names):46} {size:6.0f} MB on disk")
        return size

    edge = Environment(scratch / "edge")
    if install(edge, "antiphon") > EDGE_MB:
        raise ReleaseError(f"an edge takes more than {EDGE_MB} MB")
    install(edge, "antiphon-gateway")
    worker = Environment(scratch / "worker")
    worker.install_torch()
    if install(worker, "antiphon-cloud", "antiphon-number-clerk") > WORKER_MB:
        raise ReleaseError(f"a worker takes more than {WORKER_MB} MB")
    print(f"the number clerk answers: {converse(worker.bin, edge.bin, elsewhere)}; the gateway shows its page")


def mb(file: Path) -> float:
    """The size of a file."""
    return file.stat().st_size / MB


if __name__ == "__main__":
    main()
