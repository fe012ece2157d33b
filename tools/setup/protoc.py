"""The protoc of the committed stubs: older than the libraries beside it, so that they run on more than the newest.

A stub demands a protobuf of at least its protoc's version, and protobuf promises that one major version later still
runs it. grpcio-tools 1.72.1 is the oldest whose stubs are for protobuf 6 (6.30.0), so they run on 6 and 7; 1.71 is for
protobuf 5. It wants protobuf below 7 itself, so `make install` puts it apart, into .venv/protoc, without what it needs
for anything but compiling.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tools import ROOT

HOME = ROOT / ".venv/protoc"


def protoc(*arguments: str) -> bytes:
    """Runs protoc and returns what it writes on standard output.

    Raises:
        subprocess.CalledProcessError: it found a mistake, which is on standard error; or it is not installed.
    """
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
