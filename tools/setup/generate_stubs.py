"""Regenerates the protobuf and gRPC stubs beside dialogue.proto; `--check` only checks that they are current."""

import argparse
import sys
import tempfile
from pathlib import Path

from tools import ROOT
from tools.setup.protoc import protoc

PROTO = ROOT / "proto"
SOURCE = "antiphon/v1/dialogue.proto"
STUBS = ("dialogue_pb2.py", "dialogue_pb2.pyi", "dialogue_pb2_grpc.py")


def generate(out: Path) -> None:
    """Runs protoc on the contract and writes the stubs into `out`."""
    flags = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    protoc(f"-I{PROTO}", *flags, SOURCE)


def main() -> int:
    """Writes the stubs, or with `--check` returns 1 if they differ from the contract."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a stub differs")
    if not parser.parse_args().check:
        generate(PROTO)
        return 0
    folder = Path(SOURCE).parent
    with tempfile.TemporaryDirectory() as temporary:
        generate(Path(temporary))
        drifted = [
            stub
            for stub in STUBS
            if (PROTO / folder / stub).read_bytes() != (Path(temporary) / folder / stub).read_bytes()
        ]
    if drifted:
        print(
            f"stubs differ from {SOURCE}: {', '.join(drifted)}; run python -m tools.setup.generate_stubs",
            file=sys.stderr,
        )
    return bool(drifted)


if __name__ == "__main__":
    sys.exit(main())
