"""Builds images of images/ from this checkout.

    python -m tools.images.build worker-cpu gateway             # with buildah, as antiphon-worker-cpu:VERSION and so on
    python -m tools.images.build worker-cuda --engine podman
    python -m tools.images.build edge --platform linux/arm64
    python -m tools.images.build worker-cpu -- --build-arg TORCH_INDEX=https://pypi.org/simple

The context is build/images: the wheels of this checkout and constraints.txt, nothing else. `--context-only` makes it
and stops, for a builder of your own. What follows `--` goes to the engine. Where no registry is reached,
`tools.images.base` makes the base first.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from antiphon import __version__
from tools import ROOT
from tools.release.distributions import FOLDERS

IMAGES = ROOT / "images"
CONTEXT = ROOT / "build/images"
NAMES = sorted(path.stem for path in IMAGES.glob("*.Containerfile"))
# Health checks are Docker's, not OCI's; with this format Kubernetes ignores them and Docker and podman obey.
BUILD = {
    "buildah": ["buildah", "build", "--format", "docker", "--layers"],
    "podman": ["podman", "build", "--format", "docker"],
    "docker": ["docker", "build"],
}


def make_context() -> Path:
    """Lays the wheels and the constraints into the context, and returns it.

    Raises:
        subprocess.CalledProcessError: pip cannot build the wheels.
    """
    shutil.rmtree(CONTEXT, ignore_errors=True)
    CONTEXT.mkdir(parents=True)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(CONTEXT)]
    subprocess.run([*wheel, *(str(ROOT / folder) for folder in FOLDERS.values())], check=True)
    shutil.copy(ROOT / "constraints.txt", CONTEXT)
    return CONTEXT


def build(name: str, engine: str, arguments: list[str]) -> str:
    """Builds one image and returns its tag.

    Raises:
        subprocess.CalledProcessError: the engine fails.
    """
    tag = f"antiphon-{name}:{__version__}"
    command = [*BUILD[engine], "--tag", tag, "--file", IMAGES / f"{name}.Containerfile", *arguments, CONTEXT]
    subprocess.run(list(map(str, command)), check=True)
    return tag


def size_mb(tag: str, engine: str) -> float:
    """What the image takes on disk, in MB."""
    inspect = "docker" if engine == "docker" else "podman"  # which shares its store with buildah
    found = subprocess.run([inspect, "image", "inspect", tag], check=True, capture_output=True, text=True).stdout
    return float(json.loads(found)[0]["Size"]) / 1e6


def main() -> None:
    """Builds, and prints each image's name, size and time."""
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given, to_engine = sys.argv[1:cut], sys.argv[cut + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; all of them without one")
    parser.add_argument("--engine", choices=list(BUILD), default="buildah", help="default: %(default)s")
    parser.add_argument("--platform", help="such as linux/arm64 (default: this machine's)")
    parser.add_argument("--context-only", action="store_true", help="make build/images and stop")
    arguments = parser.parse_args(given)
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no image {', '.join(sorted(unknown))}: choose of {', '.join(NAMES)}")
    make_context()
    if arguments.context_only:
        print(CONTEXT)
        return
    platform = ["--platform", arguments.platform] if arguments.platform else []
    for name in arguments.names or NAMES:
        start = time.perf_counter()
        tag = build(name, arguments.engine, [*platform, *to_engine])
        print(f"{tag}: {size_mb(tag, arguments.engine):.0f} MB, built in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
