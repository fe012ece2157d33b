"""Compiles the step's C++ once a machine, keeps it in the cache, checks it and loads it.

The library knows neither Python nor torch, so one file serves every version of both. Its name is a hash of all that it
was made from, the processor's features included: a home directory that several machines share is safe.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from antiphon.cache_folder import Kind, cache_folder, cache_root

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).parent / "csrc"
FLAGS = (
    "-std=c++17", "-O3", "-shared", "-fPIC", "-pthread",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math",  # the same bits wherever it runs
)  # fmt: skip
NATIVE = "-march=native"
COMPILERS = ("c++", "g++", "clang++")
COMPILE_TIMEOUT_S = 300

_threads: int | None = None


class BuildError(Exception):
    """The library cannot be had; the message says why, in one line."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled step, or None where it cannot be had; the log says why, once."""
    if os.environ.get("ANTIPHON_NATIVE", "1") == "0":
        logger.info("the compiled CPU step is switched off (ANTIPHON_NATIVE=0)")
        return None
    try:
        return load(build(find_compiler()))
    except BuildError as error:
        logger.warning("the CPU step is not compiled, so int8 steps take two to four times as long: %s", error)
        return None


def set_threads(count: int | None) -> None:
    """Sets how many threads a step takes from now on; None for as many as torch takes."""
    global _threads
    _threads = count


def threads() -> int:
    """Threads of a step."""
    return _threads or torch.get_num_threads()


def find_compiler() -> str:
    """The C++ compiler's command: $CXX, or the first that is installed.

    Raises:
        BuildError: there is none.
    """
    for command in (os.environ.get("CXX"), *COMPILERS):
        if command and (found := shutil.which(command)):
            return found
    raise BuildError("no C++ compiler is installed (Debian: apt-get install g++)")


def build(compiler: str, root: Path | None = None) -> Path:
    """The library, compiled unless the cache holds it already.

    Args:
        compiler: its command.
        root: of the cache; None for the one that holds.

    Raises:
        BuildError: the compiler fails, or the cache cannot be written, or somebody else can.
    """
    name, found = f"step-{fingerprint(compiler)}.so", cache_root(root)
    try:
        if found is not None and (path := found / Kind.NATIVE.value / name).is_file():
            require_private(path.parent, path)
            return path
        folder = cache_folder(Kind.NATIVE, root)
        require_private(folder)
        path = folder / name
        with tempfile.TemporaryDirectory(dir=folder) as work:
            made = Path(work) / path.name
            start = time.perf_counter()
            command = [compiler, *FLAGS, NATIVE, "-o", str(made), str(SOURCE / "step.cpp")]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)  # noqa: S603
            made.chmod(0o700)  # the umask may let others write
            made.rename(path)  # at once: another process may be looking
            logger.info("compiled the CPU step in %.1f s: %s", time.perf_counter() - start, path)
    except subprocess.CalledProcessError as error:
        raise BuildError(f"{compiler} fails: {(error.stderr.strip() or '?').splitlines()[-1]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{error}; ANTIPHON_CACHE names another folder") from error
    return path


def require_private(*paths: Path) -> None:
    """Checks that nobody but this user (or root, who may do anything) can have put code there.

    Raises:
        BuildError: one of the paths is another user's, or others may write to it.
        OSError: it cannot be looked at.
    """
    if not hasattr(os, "geteuid"):
        return
    for path in paths:
        found = path.stat()
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise BuildError(
                f"{path} is another user's, or others may write to it: no code is loaded from there; ANTIPHON_CACHE "
                "names another folder"
            )


def fingerprint(compiler: str) -> str:
    """A hash of the sources, the compiler's version, the flags and this processor's features.

    Raises:
        BuildError: the compiler does not run.
    """
    digest = hashlib.sha256()
    for source in sorted((*SOURCE.glob("*.h"), *SOURCE.glob("*.cpp"))):
        digest.update(source.read_bytes())
    try:
        version = subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{compiler} does not run: {error}") from error
    digest.update(version.stdout)
    digest.update(" ".join((*FLAGS, platform.machine(), *processor_features())).encode())
    return digest.hexdigest()[:16]


def processor_features() -> list[str]:
    """What the kernel says that the first processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return [platform.processor()]
    return [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]


def load(path: Path) -> ctypes.CDLL:
    """Loads the library and declares its functions.

    Raises:
        BuildError: it cannot be loaded here, or computes something else than it should.
    """
    try:
        loaded = ctypes.CDLL(str(path))  # its calls let other Python threads run
    except OSError as error:
        raise BuildError(f"{path} cannot be loaded ({error}); delete it") from error
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    functions: tuple[tuple[Any, list[Any]], ...] = (
        (loaded.antiphon_matmul, [pointer, pointer, pointer, integer, integer, integer, pointer]),
        (loaded.antiphon_embed, [pointer, integer, pointer, integer, integer, pointer]),
        (loaded.antiphon_layers, [*[pointer] * 5, integer, integer, pointer]),
        (loaded.antiphon_draw, [pointer, integer, pointer, pointer, pointer, integer, pointer]),
        (loaded.antiphon_codes, [*[pointer] * 9, integer, integer, pointer, pointer]),
    )
    for function, arguments in functions:
        function.argtypes, function.restype = arguments, None
    check(loaded, path)
    return loaded


class Matrix(ctypes.Structure):
    """An int8 matrix, as the library takes it."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("outputs", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("beside", ctypes.c_void_p),  # a LowRankPointers; null for none
    )


def check(loaded: ctypes.CDLL, path: Path) -> None:
    """Raises BuildError unless the library multiplies as it should; this compiler's code may never have run before."""
    rng = np.random.default_rng(0)
    weight, x = rng.integers(-128, 128, (37, 229), dtype=np.int8), rng.standard_normal((7, 229), dtype=np.float32)
    scale = rng.random(37, dtype=np.float32)
    wanted = x.astype(np.float64) @ (weight * scale[:, None].astype(np.float64)).T
    matrix = Matrix(weight.ctypes.data, scale.ctypes.data, *weight.shape)
    for rows in (1, 3, 7):
        found = np.full((rows, 37), np.nan, np.float32)
        loaded.antiphon_matmul(ctypes.addressof(matrix), None, x.ctypes.data, rows, 2, 1, found.ctypes.data)
        if not np.allclose(found, wanted[:rows], rtol=1e-4, atol=1e-4 * float(np.abs(wanted).max())):
            raise BuildError(f"{path} gives wrong products on this processor; report the compiler and the processor")
