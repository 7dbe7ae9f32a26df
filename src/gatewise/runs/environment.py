"""The machine and the versions that a run was made with, and whether they are still the same."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch


def environment() -> dict[str, object]:
    """What a run ran on: `environment.json`."""
    packages = ("gatewise", "torch", "numpy", "polars", "scikit-learn", "safetensors", "skops")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: installed_version(name) for name in packages},
    }


def differences(there: dict[str, object]) -> list[str]:
    """What `environment.json` of a run says otherwise than this machine: Python, threads, the device and packages."""
    now = environment()
    packages = there.get("packages")
    before = {"python": there.get("python"), "threads": there.get("threads"), "cuda": there.get("cuda")}
    before |= packages if isinstance(packages, dict) else {}
    today = {name: now[name] for name in ("python", "threads", "cuda")} | now["packages"]  # pyrefly: ignore
    return [
        f"{name} {today[name]}, then {before[name]}" for name in today if name in before and before[name] != today[name]
    ]


def installed_version(name: str) -> str | None:
    """The version of a distribution that is installed; None where it is not."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
