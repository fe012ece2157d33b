"""Shared by all stages: error messages, a log, and checkpoints."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from antiphon.errors import AntiphonError

CHECKPOINT_STEPS = 100  # between two checkpoints


def run(main: Callable[[], None], name: str) -> None:
    """Runs a stage; expected errors end it with one sentence on standard error and status 1."""
    try:
        main()
    except AntiphonError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: {error.filename or 'output'}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted; the same command goes on from the last checkpoint")


def positive(text: str) -> int:
    """Parses an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def log(path: Path, line: dict[str, Any]) -> None:
    """Appends a line of JSON."""
    with path.open("a") as file:
        print(json.dumps(line), file=file)


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically; call it after all other writes of a step."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def fingerprint(path: Path) -> str:
    """The first 16 hexadecimal digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
