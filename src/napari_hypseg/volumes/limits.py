"""What this machine has left, memory and room on a disk, and what was taken of it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

__all__ = ["free_disk", "free_memory", "in_words", "peak_memory"]


def free_memory() -> float:
    """Bytes of memory that a process can still take without others being swapped out.

    On Linux what is available, within the limit of the control group; elsewhere all that is
    built in, where the system tells; else infinity.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(float(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError, IndexError):
        try:
            return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (AttributeError, ValueError, OSError):
            return float("inf")
    group = Path("/sys/fs/cgroup")
    try:
        most = float((group / "memory.max").read_text())
        taken = float((group / "memory.current").read_text())
    except (OSError, ValueError):  # No such group, or its limit is the word "max".
        return free
    return min(free, max(0.0, most - taken))


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
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
