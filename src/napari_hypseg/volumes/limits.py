"""What this machine has left, memory and room on a disk, and what was taken of it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["free_address_space", "free_disk", "free_memory", "in_words", "peak_memory"]

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
# Of a control group, in versions 2 and 1: its limit, what it holds, and what of that are files
# that the system read lately and lets go when memory is wanted.
_LIMITS = {
    "2": ("memory.max", "memory.current", "inactive_file"),
    "1": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_memory() -> float:
    """Bytes of memory that a process can still take without others being swapped out.

    What is available on the machine, within the limits of the control groups (containers, systemd,
    most clusters), of the Slurm job and of the process (``ulimit -v``).
    """
    left = [psutil.virtual_memory().available, free_address_space(), *_left_in_groups()]
    job = _slurm_memory()
    if job is not None:
        left.append(job - psutil.Process().memory_info().rss)
    return float(max(0.0, min(left)))


def _left_in_groups() -> Iterator[float]:
    """Bytes that the control groups of this process, and those around them, may still take."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            version, mounts = "2", [_GROUPS, _GROUPS / "unified"]
        elif "memory" in kinds.split(","):
            version, mounts = "1", [_GROUPS / "memory"]
        else:
            continue
        for mount in mounts:
            # A container may see itself at the top: then the path is nowhere below.
            inner = mount / path.lstrip("/")
            for folder in [inner, *inner.parents]:
                if folder.is_relative_to(mount):
                    yield from _left_in_group(folder, *_LIMITS[version])


def _left_in_group(folder: Path, limit: str, held: str, files: str) -> Iterator[float]:
    # No such group, or its limit is the word "max".
    with suppress(OSError, ValueError):
        most = float((folder / limit).read_text())
        taken = float((folder / held).read_text())
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == files:
                taken -= float(count)
        yield most - taken


def free_address_space() -> float:
    """Bytes that the process may still take by a limit of its own (``ulimit -v``)."""
    if sys.platform != "win32":
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            return float(most - psutil.Process().memory_info().vms)
    return float("inf")


def _slurm_memory() -> float | None:
    """Bytes that a Slurm job may take on this node; None outside of one, or where it may all."""
    # Slurm counts in binary megabytes, 0 stands for all there is.
    for name, factor in (
        ("SLURM_MEM_PER_NODE", "1"),
        ("SLURM_MEM_PER_CPU", os.environ.get("SLURM_CPUS_ON_NODE", "1")),
    ):
        with suppress(KeyError, ValueError):
            most = int(os.environ[name]) * int(factor) * 2.0**20
            return most if most > 0 else None
    return None


def peak_memory() -> float | None:
    """Most memory that this process held so far, in GB; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    try:
        # Linux's getrusage counts the memory of the process that started this one, too.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(round(float(line.split()[1]) / 1e6, 3) for line in lines if "VmHWM" in line)
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # macOS counts in bytes, others in kilobytes.
        return round(peak / (1e9 if sys.platform == "darwin" else 1e6), 3)


def free_disk(path: Path) -> float:
    """Bytes that can still be written in a folder, or in the nearest one above that exists."""
    folder = path.absolute()
    while not folder.exists():
        folder = folder.parent
    return float(shutil.disk_usage(folder).free)


def in_words(size: float) -> str:
    """A number of bytes for a person.

    Examples
    --------
    >>> in_words(2.5e9), in_words(8e5)
    ('2.5 GB', '0.8 MB')
    """
    units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))
    unit, name = next((u for u in units if size >= u[0]), units[-1])
    return f"{size / unit:.3g} {name}"
