"""Makes the base image of images/ from Debian's packages, for a machine that reaches no registry of images.

    python -m tools.images.base [--arch arm64]

It is called `docker.io/library/debian:bookworm-slim` like the one of the registry, and has the same packages and the
same files left out, so that `tools.images.build` builds on it unchanged. Needs root, and Debian's mmdebstrap and
buildah; for another architecture also qemu-user-static and binfmt_misc.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

BASE = "docker.io/library/debian:bookworm-slim"
# What the registry's image leaves out too: https://github.com/debuerreotype/debuerreotype, .slimify-excludes.
LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")
KEPT = "/usr/share/doc/*/copyright"
NO_LISTS = 'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*'


def make_base(architecture: str | None) -> str:
    """Makes the image and returns its name.

    Args:
        architecture: Debian's name of it; None for this machine's.

    Raises:
        subprocess.CalledProcessError: mmdebstrap or buildah fails.
    """
    with tempfile.TemporaryDirectory(prefix="antiphon-base-") as folder:
        root = Path(folder) / "root.tar"
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--customize-hook={NO_LISTS}"]
        command += [f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT]
        command += [f"--dpkgopt=path-include={KEPT}"]
        command += [f"--architectures={architecture}"] if architecture else []
        subprocess.run([*command, "bookworm", root], check=True)
        return image_of(root, architecture)


def image_of(root: Path, architecture: str | None) -> str:
    """Makes the image of a root file system (a tar file)."""
    as_that = ["--arch", architecture] if architecture else []
    container = _buildah("from", *as_that, "scratch")
    try:
        _buildah("add", "--quiet", container, root, "/")
        _buildah("config", "--cmd", "bash", *as_that, container)
        _buildah("commit", "--quiet", container, BASE)
    finally:
        _buildah("rm", container)
    return BASE


def _buildah(*arguments: str | Path) -> str:
    command = ["buildah", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    """Makes the image and says what it is called."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", help="Debian's name of the architecture (default: this machine's)")
    print(make_base(parser.parse_args().arch))


if __name__ == "__main__":
    main()
