"""The graphics card: whether it can run a model, known before anything is loaded, and whether it still runs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

from antiphon_cloud.errors import ConfigError, DeviceLostError

OLDEST = (8, 0)  # compute capability that the kernels need: bfloat16 products, and copies beside them
LISTING_S = 10.0  # that nvidia-smi gets to list processes
NAMED_HOLDERS = 3

Version = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What of this machine decides whether steps can run on its card. Versions are of CUDA."""

    torch_cuda: Version | None  # that torch was built for; None for a build without
    driver_cuda: Version | None  # the newest that the driver knows; None where there is no driver
    name: str | None = None  # of the card; None where torch finds none
    reason: str = ""  # why it finds none, in its words
    capability: Version = (0, 0)
    triton_cuda: Version | None = None  # of the assembler that Triton takes for this card; None without Triton
    launcher_error: str = ""  # why Triton cannot launch a kernel here, in its words


@dataclass(frozen=True, slots=True)
class Holder:
    """Another process that holds some of a card's memory."""

    name: str
    pid: int
    held_bytes: int | None  # None where the driver does not tell

    def __str__(self) -> str:
        held = "" if self.held_bytes is None else f", {self.held_bytes / 1e9:.1f} GB"
        return f"{self.name} (process {self.pid}{held})"


def require_card() -> None:
    """Returns where steps can run on the card.

    Raises:
        ConfigError: they cannot; the message says what is missing, and what to do.
    """
    if wrong := what_is_wrong(look()):
        raise ConfigError(f"--device cuda: {wrong}")


def what_is_wrong(found: Found) -> str | None:
    """Why steps cannot run, and what to do; None where they can. A driver runs what was made for its major version."""
    if found.torch_cuda is None:
        return f"this PyTorch ({torch.__version__}) is built without CUDA; install a build with it, or use --device cpu"
    if found.driver_cuda is None:
        return "no NVIDIA driver is installed here; install one, or use --device cpu"
    if found.driver_cuda[0] < found.torch_cuda[0]:
        remedy = f"install a PyTorch for CUDA {found.driver_cuda[0]}"
        return _too_old(found.driver_cuda, f"this PyTorch ({torch.__version__})", found.torch_cuda, remedy)
    if found.name is None:
        why = f" ({found.reason})" if found.reason else ""
        return f"PyTorch finds no NVIDIA GPU here{why}; see CUDA_VISIBLE_DEVICES and nvidia-smi, or use --device cpu"
    if found.capability < OLDEST:
        return (
            f"{found.name} has compute capability {_shown(found.capability)}, and the kernels need {_shown(OLDEST)}; "
            "use an A10G, A100, L4 or later card, or --device cpu"
        )
    if found.triton_cuda is None:
        return "Triton is not installed, or not whole: pip install 'antiphon-cloud[gpu]'"
    if found.driver_cuda[0] < found.triton_cuda[0]:
        remedy = "install the Triton that came with this PyTorch"
        return _too_old(found.driver_cuda, f"what Triton makes for {found.name}", found.triton_cuda, remedy)
    if found.launcher_error:
        return (
            f"Triton cannot build what launches its kernels ({found.launcher_error}): install a C compiler and "
            "Python's headers (apt-get install gcc python3-dev)"
        )
    return None


def _too_old(driver: Version, what: str, needed: Version, remedy: str) -> str:
    known = f"the NVIDIA driver here knows CUDA {_shown(driver)}"
    return f"{known}, and {what} needs {_shown(needed)}; update the driver, or {remedy}"


def look() -> Found:
    """What there is on this machine. Takes no memory of the card."""
    torch_version, driver = torch_cuda(), driver_cuda()
    if torch_version is None or driver is None:
        return Found(torch_cuda=torch_version, driver_cuda=driver)
    with warnings.catch_warnings(record=True) as said:  # where it finds nothing it says why in a warning
        warnings.simplefilter("always")
        there = torch.cuda.is_available()
    if not there:
        reason = _first_line(said[0].message) if said else ""
        return Found(torch_cuda=torch_version, driver_cuda=driver, reason=reason)
    capability = torch.cuda.get_device_capability()
    return Found(
        torch_cuda=torch_version,
        driver_cuda=driver,
        name=torch.cuda.get_device_name(),
        capability=capability,
        triton_cuda=triton_cuda(capability),
        launcher_error=launcher_error(),
    )


def launcher_error() -> str:
    """Why Triton cannot launch a kernel; nothing where it can. It compiles a little C once, and keeps it."""
    try:
        from triton.runtime import driver

        driver.active.utils  # noqa: B018  # builds it
    except ImportError:
        return ""  # told by `triton_cuda`
    except (RuntimeError, AssertionError, OSError, subprocess.CalledProcessError) as error:
        return _first_line(error)
    return ""


def torch_cuda() -> Version | None:
    """The CUDA that torch was built for."""
    return _version(torch.version.cuda) if torch.version.cuda else None


def driver_cuda(library: str = "libcuda.so.1") -> Version | None:
    """The newest CUDA that the driver knows, which it says without a card."""
    number = ctypes.c_int()
    try:
        if ctypes.CDLL(library).cuDriverGetVersion(ctypes.byref(number)) != 0:
            return None
    except (OSError, AttributeError):  # no such library, or another one of that name
        return None
    return number.value // 1000, number.value % 1000 // 10


def triton_cuda(capability: Version) -> Version | None:
    """The CUDA of the assembler that Triton takes for a card."""
    try:
        from triton.backends.nvidia.compiler import get_ptxas  # it comes with the `gpu` extra

        return _version(get_ptxas(10 * capability[0] + capability[1]).version)
    except (ImportError, RuntimeError, OSError):
        return None


def memory(device: torch.device) -> tuple[int, int]:
    """Bytes of the card's memory that are free, and in all.

    Raises:
        ConfigError: the card cannot even be opened: another process holds all of it, or has it for itself.
    """
    try:
        return torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        others = ", ".join(map(str, holders(device))) or "another process may hold all of it"
        raise ConfigError(
            f"{name(device)} cannot be used ({_first_line(error)}): {others}; end that process, or use another card"
        ) from None


def holders(device: torch.device) -> list[Holder]:
    """Other processes that hold memory of the card, the largest first; as far as nvidia-smi knows any."""
    try:
        card = torch.cuda.get_device_properties(device).uuid
        query = ["nvidia-smi", f"--id=GPU-{card}", "--query-compute-apps=pid,used_memory,process_name"]
        listed = subprocess.run(  # noqa: S603 - nothing of it comes from outside
            [*query, "--format=csv,noheader,nounits"], capture_output=True, text=True, timeout=LISTING_S, check=True
        )
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return []
    found = []
    for line in listed.stdout.splitlines():
        pid, held, path = (part.strip() for part in line.split(",", 2))
        if pid.isdecimal() and int(pid) != os.getpid():
            found.append(Holder(path.rpartition("/")[2], int(pid), int(held) << 20 if held.isdecimal() else None))
    return sorted(found, key=lambda holder: -(holder.held_bytes or 0))[:NAMED_HOLDERS]


def name(device: torch.device) -> str:
    """The card's, as people know it."""
    with suppress(RuntimeError, AssertionError):
        return torch.cuda.get_device_name(device)
    return "the card"


@contextmanager
def faults(device: torch.device) -> Iterator[None]:
    """Tells the block's errors that end all work on the device from those that end what was tried.

    Raises:
        DeviceLostError: the block has failed, and the device does nothing any more.
    """
    try:
        yield
    except RuntimeError as error:
        if device.type == "cuda" and _lost(device):
            raise DeviceLostError(
                f"a computation on {name(device)} failed, after which nothing on it goes on ({_first_line(error)})"
            ) from None
        raise


@contextmanager
def room(device: torch.device) -> Iterator[None]:
    """Says in a sentence that the block ran out of the card's memory.

    Raises:
        ConfigError: it did, though what can be foretold had room.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        others = ", ".join(map(str, holders(device)))
        raise ConfigError(
            f"{name(device)} ran out of memory while the model was loaded; take fewer slots, or "
            + (f"end what else is there: {others}" if others else "--kv-cache int8")
        ) from None


def _lost(device: torch.device) -> bool:
    """Whether the device fails at whatever it is asked for, as after an illegal access."""
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def _version(text: str) -> Version:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def _shown(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


def _first_line(error: object) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
