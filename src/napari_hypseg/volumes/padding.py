"""Padding: voxels that nobody measured, all of one exact value, from a mask or a frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .volume import Box

__all__ = ["Faces", "find_padding", "solid"]

# A volume of fewer values than this is drawn or labelled, not measured: none of them is padding.
_FEWEST_VALUES = 16
# Padding covers a whole face of the volume, but for a few voxels, ...
_WHOLE = 0.95
# ... or it is so many times as frequent as the values beside it, ...
_SPIKE = 3
# ... covers this share of all faces in solid patches, ...
_COVERED = 0.01
# ... is so many times as frequent there as in the whole volume, and fills so many of the eight
# corners, as what is saturated does not.
_ENRICHED = 1.5
_CORNERS = 4


class Faces:
    """The outermost voxels of a volume, gathered slab by slab.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, (z, y, x).
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._depth = shape[0]
        self._ends: list[npt.NDArray[Any]] = []
        self._sides: list[list[npt.NDArray[Any]]] = [[], [], [], []]

    def add(self, box: Box, voxels: npt.NDArray[Any]) -> None:
        """Take the faces of a slab of whole slices; the slabs come from first to last."""
        if box[0].start == 0:
            self._ends.append(voxels[0].copy())
        if box[0].stop == self._depth:
            self._ends.append(voxels[-1].copy())
        parts = voxels[:, 0], voxels[:, -1], voxels[:, :, 0], voxels[:, :, -1]
        for side, part in zip(self._sides, parts, strict=True):
            side.append(part.copy())

    def planes(self) -> list[npt.NDArray[Any]]:
        """The six faces: both ends along z, along y, and along x."""
        return [*self._ends, *(np.concatenate(side) for side in self._sides)]


def find_padding(
    faces: Faces, values: npt.NDArray[Any], counts: npt.NDArray[np.int64]
) -> float | None:
    """The value that stands for no measurement; None if there is none.

    It is one exact value that covers a whole face of the volume (a frame, missing slices); or one
    that is far more frequent than those next to it, and covers corners and faces in solid patches,
    more often than it comes inside (a mask, what turning a volume leaves). So no share of the
    voxels is asked for. What a detector saturates is as frequent, but lies all over.

    Parameters
    ----------
    faces : Faces
        Of the whole volume.
    values : array, shape (n,)
        Finite values of the volume's voxels, or of a sample of them, each once, in rising order.
    counts : array of int, shape (n,)
        How often each comes.
    """
    if len(values) < _FEWEST_VALUES:
        return None
    planes = faces.planes()
    outer = np.concatenate([plane.ravel() for plane in planes])
    found, often = np.unique(outer[np.isfinite(outer)], return_counts=True)
    if not len(found):
        return None
    value = found[often.argmax()]
    place = int(np.searchsorted(values, value))
    if place == len(values) or values[place] != value:
        return None
    # A plane is a box one voxel deep: beyond its two sides it goes on.
    patches = [solid(np.pad(plane == value, 1, constant_values=True)[None]) for plane in planes]
    covered = sum(int(patch.sum()) for patch in patches) / len(outer)
    share = counts[place] / counts.sum()
    beside = np.concatenate([counts[max(0, place - 3) : place], counts[place + 1 : place + 4]])
    spike = counts[place] >= _SPIKE * np.median(beside)
    enriched = covered >= max(_COVERED, _ENRICHED * share)
    whole = max(float(patch.mean()) for patch in patches) >= _WHOLE
    corners = sum(int(patch[0][np.ix_((0, -1), (0, -1))].sum()) for patch in patches[:2])
    return float(value) if whole or (spike and enriched and corners >= _CORNERS) else None


def solid(equal: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Where voxels lie among their like: without those that have a value by chance.

    A voxel stays if three of its six neighbours (along y and x, three of four, in a single plane)
    are marked too.

    Parameters
    ----------
    equal : array of bool, shape (z + 2, y + 2, x + 2), or (1, y + 2, x + 2)
        The voxels marked, with one more on each side.

    Returns
    -------
    array of bool, shape (z, y, x)
    """
    flat = len(equal) == 1
    inner = equal if flat else equal[1:-1]
    near = inner[:, 1:-1, :-2].astype(np.uint8)
    for part in (inner[:, 1:-1, 2:], inner[:, :-2, 1:-1], inner[:, 2:, 1:-1]):
        near += part
    if not flat:
        near += equal[:-2, 1:-1, 1:-1]
        near += equal[2:, 1:-1, 1:-1]
    kept: npt.NDArray[np.bool_] = inner[:, 1:-1, 1:-1] & (near >= 3)
    return kept
