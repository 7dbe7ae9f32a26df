"""The machine as gatewise finds it: versions, devices, threads, and packages that are missing."""

import os
import platform
import re
import shlex
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

import torch
from packaging.requirements import Requirement

import gatewise
from gatewise.runs.environment import cores, installed_version

USES = {
    "images": "folders of images",
    "embeddings": "numeric_embedding",
    "onnx": "gatewise export --format onnx",
    "tensorboard": "--set tensorboard=true",
}
"""What each extra that serves a user is for; the others serve those who work on gatewise."""

NVIDIA = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Package:
    """A package that gatewise wants, and what is installed of it.

    Attributes:
        name: of the distribution.
        wanted: its versions, such as ">=2.10".
        installed: the version that is there; None: it is missing.
        fits: whether that is one of those wanted.
        use: what it is for, where gatewise runs without it; else None.
    """

    name: str
    wanted: str
    installed: str | None
    fits: bool
    use: str | None


def packages() -> list[Package]:
    """What the metadata of the installed gatewise ask for; nothing where it is not installed."""
    found = []
    for line in _requirements():
        requirement = Requirement(line)
        extras = [extra for extra in USES if requirement.marker and requirement.marker.evaluate({"extra": extra})]
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not needed and not extras:
            continue
        installed = installed_version(requirement.name)
        fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
        use = None if needed else USES[extras[0]]
        found.append(Package(requirement.name, str(requirement.specifier), installed, fits, use))
    return sorted(found, key=lambda package: package.use is not None)


def _requirements() -> list[str]:
    try:
        return requires("gatewise") or []
    except PackageNotFoundError:
        return []


def pip_line(wanted: list[Package]) -> str:
    """The command that brings packages."""
    return shlex.join(["pip", "install", *(f"{package.name}{package.wanted}" for package in wanted)])


def processor() -> dict[str, Any]:
    """Cores, threads, the vector instructions and the linear algebra that torch uses."""
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return {
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "blas": blas[1] if blas else None,
        "onednn": torch.backends.mkldnn.is_available(),
    }


def devices() -> list[dict[str, Any]]:
    """What --device takes here, and what it is; memory in GiB."""
    found: list[dict[str, Any]] = [{"device": "cpu", "name": platform.processor() or platform.machine()}]
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(number)
        found.append({"device": f"cuda:{number}", "name": about.name, "memory": round(about.total_memory / 2**30, 1)})
    if torch.backends.mps.is_available():
        found.append({"device": "mps", "name": "Metal"})
    return found


def problems(wanted: list[Package], threads: int) -> list[str]:
    """What is wrong, each with what to do."""
    found = ["gatewise is not installed, so what it needs is not known: pip install -e ."] * (not wanted)
    for package in wanted:
        if not package.fits and (package.use is None or package.installed):
            there = (
                f"{package.name} {package.installed} is too old or too new"
                if package.installed
                else f"{package.name} is missing"
            )
            found.append(f"{there}: {pip_line([package])}")
    if threads > cores():
        found.append(
            f"torch computes with {threads} threads on {cores()} cores, which is slow: set OMP_NUM_THREADS={cores()}, "
            f"or train with --set threads={cores()}"
        )
    if NVIDIA.exists() and not torch.cuda.is_available():
        why = (
            "is built without CUDA: install one that is" if torch.version.cuda is None else "cannot use the NVIDIA card"
        )
        found.append(f"there is an NVIDIA driver, and torch {torch.__version__} {why}")
    return found


def examine() -> dict[str, Any]:
    """All of it: what `gatewise doctor --json` prints.

    `missing` has, for each use that lacks packages, the command that brings them; `problems` what is wrong.
    """
    wanted, chip = packages(), processor()
    missing: dict[str, list[Package]] = {}
    for package in wanted:
        if package.use and package.installed is None:
            missing.setdefault(package.use, []).append(package)
    return {
        "gatewise": gatewise.__version__,
        "folder": str(Path(gatewise.__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": chip,
        "devices": devices(),
        "packages": [asdict(package) for package in wanted],
        "missing": {use: pip_line(some) for use, some in missing.items()},
        "problems": problems(wanted, chip["threads"]),
    }
