"""`make lowest`: the tests with the oldest libraries that the distributions allow.

    python -m tools.release.lowest [PYTEST'S ARGUMENTS]

Makes an environment in build/lowest: what a pyproject.toml of ours names at its lowest version, as uv resolves it
(`--resolution lowest-direct`), what those need at its newest, and the tests' own tools as constraints.txt pins them.
torch is the pinned one, by pip: PyPI's older builds for Linux carry CUDA. Runs the tests that are not slow, of
contract, edge, gateway and worker, and leaves the environment for the next run (1.4 GB: remove the folder at last).
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from tools import ROOT
from tools.release.distributions import FOLDERS, PACKAGING
from tools.release.environment import Environment

HOME = ROOT / "build/lowest"
TOOLS = (
    "filelock", "hypothesis", "kubernetes-validate", "matplotlib", "openai[realtime]", "pocketsphinx", "pytest",
    "pytest-asyncio", "pytest-timeout", "pytest-xdist", "pyyaml", "trustme", "websockets",
)  # fmt: skip
OLD = "googleapis-common-protos<=1.70"  # newer ones need a newer protobuf than ours do
TESTS = [f"tests/{room}" for room in ("antiphon", "antiphon_edge", "antiphon_gateway", "antiphon_cloud", "contract")]


def pinned() -> list[str]:
    """The tests' tools at the versions of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().lower().splitlines()
    versions = dict(line.split("==") for line in lines if "==" in line)
    tools = [f"{tool}=={versions[tool.partition('[')[0]]}" for tool in TOOLS]
    return [*tools, f"sphn=={versions['sphn']}; platform_machine == 'x86_64'"]


def install() -> Path:
    """Makes the environment, prints what uv changes in it, and returns its Python."""
    environment = Environment(HOME)
    environment.install_torch()
    (torch,) = metadata.distributions(name="torch", path=[str(environment.packages)])
    constraints = HOME / "constraints.txt"
    constraints.write_text(f"torch=={torch.version}\n{OLD}\n")
    python = environment.bin / "python"
    uv = ["pip", "install", "--python", str(python), "--resolution", "lowest-direct", "--constraint", str(constraints)]
    extras = {"antiphon": "[voice]"}
    ours = [part for name, at in FOLDERS.items() for part in ("--editable", f"{ROOT / at}{extras.get(name, '')}")]
    subprocess.run([PACKAGING.parent / "uv", *uv, *ours, *pinned()], check=True)
    return python


def main() -> None:
    """Installs, then becomes pytest."""
    python = install()
    os.chdir(ROOT)
    arguments = sys.argv[1:] or ["-q", "-n", "2", "--dist", "loadfile", "-m", "not slow", *TESTS]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execve(python, [str(python), "-m", "pytest", "-p", "no:cacheprovider", *arguments], environment)  # noqa: S606


if __name__ == "__main__":
    main()
