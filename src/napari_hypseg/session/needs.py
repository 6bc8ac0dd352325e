"""What mapping all voxels of a volume will need, before it is begun: disk and memory."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Needs", "needs_of"]

# Bytes: the program itself, and for each voxel the labels, the layer and the pass at hand.
_PROGRAM, _EACH = 1e9, 12.0
# Latents, smoothed latents and those of the coarser passes (1/8 + 1/64 + 1/512), uncompressed.
_COPIES = 2.15


@dataclass(frozen=True)
class Needs:
    """Bytes that a mapping takes at most, and bytes that there are.

    Attributes
    ----------
    disk, memory : float
        Needed.
    disk_free, memory_free : float or None
        There now; None where the system does not tell.
    """

    disk: float
    memory: float
    disk_free: float | None
    memory_free: float | None

    @property
    def shortage(self) -> str:
        """What there is too little of, in a sentence; empty if there is enough.

        Examples
        --------
        >>> Needs(2e9, 1e9, 5e8, 4e9).shortage
        'there may be too little disk space: up to 2 GB needed, 0.5 GB free'
        """
        for what, needed, free in (
            ("disk space", self.disk, self.disk_free),
            ("memory", self.memory, self.memory_free),
        ):
            if free is not None and free < needed:
                return (
                    f"there may be too little {what}: up to {needed / 1e9:.2g} GB needed, "
                    f"{free / 1e9:.2g} GB free"
                )
        return ""


def needs_of(shape: tuple[int, int, int], dim: int, folder: Path) -> Needs:
    """What mapping every voxel needs.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, in voxels.
    dim : int
        Dimension of the latent space.
    folder : path
        Where the results are kept; it need not be there yet.
    """
    voxels = math.prod(shape)
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), None)
    return Needs(
        disk=_COPIES * voxels * dim * 4,
        memory=_PROGRAM + _EACH * voxels,
        disk_free=None if there is None else shutil.disk_usage(there).free,
        memory_free=_free_memory(),
    )


def _free_memory() -> float | None:
    """Memory that programs can have without swapping (Linux tells, others don't as simply)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(found[0]) if found else None
