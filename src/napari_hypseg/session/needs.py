"""What mapping and clustering a volume will need, before it is begun: disk and memory."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

from napari_hypseg.volumes.limits import free_disk, free_memory, in_words
from napari_hypseg.volumes.volume import Box

__all__ = ["Needs", "needs_of"]

# Bytes of memory: the program itself, for each coordinate of a tile that is smoothed, and for each
# voxel the labels, the layer and the pass at hand.
_PROGRAM, _SMOOTHED, _EACH = 1e9, 28.0, 12.0
# Coordinates of the largest tile.
_TILE = 1 << 26
# Bytes of disk for each point: a byte of label at eleven granularities, and one of its leaf.
_LABELS = 12.0
# Files of the largest store that are looked at: a folder may hold a great many others.
_FILES = 20_000


@dataclass(frozen=True)
class Needs:
    """Bytes that mapping and clustering take at most, and bytes that there are.

    Attributes
    ----------
    disk, memory : float
        Needed.
    disk_free, memory_free : float
        There now; infinite where the system does not tell.
    """

    disk: float
    memory: float
    disk_free: float
    memory_free: float

    @property
    def shortage(self) -> str:
        """What there is too little of, in a sentence; empty if there is enough.

        Examples
        --------
        >>> Needs(2e9, 1e9, 5e8, 4e9).shortage
        'there may be too little disk space: up to 2 GB needed, 500 MB free'
        """
        short = [
            f"too little {what}: up to {in_words(needed)} needed, {in_words(free)} free"
            for what, needed, free in (
                ("memory", self.memory, self.memory_free),
                ("disk space", self.disk, self.disk_free),
            )
            if free < needed
        ]
        return f"there may be {' and '.join(short)}" if short else ""


def needs_of(
    shape: tuple[int, int, int], dim: int, folder: Path, *, box: Box | None = None, stride: int = 1
) -> Needs:
    """What mapping a volume and clustering its points need.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, in voxels.
    dim : int
        Dimension of the latent space.
    folder : path
        Where the results are kept; it need not be there yet. What it holds is not needed again.
    box, stride
        Only this part, and only every n-th voxel along each axis.
    """
    spans = [s.indices(n) for s, n in zip(box or (slice(None),) * 3, shape, strict=True)]
    points = math.prod(max(0, -(-(stop - start) // stride)) for start, stop, _ in spans)
    held = sum(map(_held, (folder / "latents", folder / "smoothed.zarr")))
    return Needs(
        # Points in float32, and smoothed ones.
        disk=(2 * 4 * dim + _LABELS) * points,
        memory=_PROGRAM + _SMOOTHED * min(dim * points, _TILE) + _EACH * points,
        disk_free=free_disk(folder) + held,
        memory_free=free_memory(),
    )


def _held(store: Path) -> int:
    """Bytes of a store; nothing if there is none."""
    found = itertools.islice(store.rglob("*"), _FILES)
    return sum(path.stat().st_size for path in found if path.is_file())
