"""The stage `environment`: what the figures were taken on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata

import numpy as np
import torch

from antiphon_cloud.runner import card
from tools.gpu.bandwidth import copy_bandwidth, peak_bandwidth
from tools.gpu.subject import Bench, Tell


def run(bench: Bench, tell: Tell) -> None:
    """Tells the card, its driver, what uses them, and how fast the card copies."""
    facts: dict[str, object] = {
        "torch": f"{torch.__version__} (CUDA {torch.version.cuda})",
        "triton": version_of("triton"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "card": platform.processor() or platform.machine(),
        "driver": "none",
    }
    if bench.device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        total = torch.cuda.mem_get_info()[1]
        copies, peak = copy_bandwidth(), peak_bandwidth(torch.cuda.get_device_name(), total)
        facts |= {
            "card": f"{torch.cuda.get_device_name()} ({total / 1e9:.0f} GB, capability {major}.{minor})",
            "driver": f"{driver()} (CUDA {card.driver_cuda()})",
            "copies": f"{copies / 1e9:.0f} GB/s",
            "data sheet": f"{peak / 1e9:.0f} GB/s" if peak else "unknown",
            "other processes": ", ".join(map(str, card.holders(torch.device("cuda")))) or "none known",
        }
    for what, found in facts.items():
        tell(f"{what}: {found}")
    tell("", kind="environment", **facts)


def version_of(package: str) -> str:
    """Of what is installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def driver() -> str:
    """The driver's version, as far as nvidia-smi is there to say it."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return "unknown"
