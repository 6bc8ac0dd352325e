"""From latent points to touching regions: tiles, supervoxels, one graph, one merging."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from napari_hypseg.clustering.ward import Merges, Regions, merge_regions_job, unique_edges
from napari_hypseg.jobs import Job, Progress

__all__ = ["grid_edges", "regions_job"]

Ints = npt.NDArray[np.int64]

# Voxels that are merged as one graph. Larger volumes are cut into tiles of this size; in each,
# voxels merge into supervoxels, and the supervoxels of all tiles merge as one graph.
_TILE = 1 << 20
# Units of progress a tile.
_UNITS = 1000
# Voxels a supervoxel of a tile, on average.
_SUPERVOXEL = 64


def grid_edges(shape: tuple[int, int, int]) -> Ints:
    """Pairs of neighbours (6-neighbourhood) of a grid's voxels in C order, shape (m, 2)."""
    index = np.arange(math.prod(shape)).reshape(shape)
    pairs = [
        np.stack([np.moveaxis(index, a, 0)[:-1].ravel(), np.moveaxis(index, a, 0)[1:].ravel()], 1)
        for a in range(3)
    ]
    return np.concatenate(pairs)


def regions_job(
    points: npt.NDArray[np.floating], *, leaves: int, hyperbolic: bool
) -> Job[tuple[npt.NDArray[np.int32], Regions]]:
    """Merge the voxels of a volume, touching ones only, into a few regions.

    Parameters
    ----------
    points : array, shape (z, y, x, d)
        Their latent points: spatial coordinates on the hyperboloid, or points of R^d.
    leaves : int
        Regions to leave.
    hyperbolic : bool
        Which of the two.

    Returns
    -------
    labels : array of int32, shape (z, y, x)
        The region of each voxel, 0 to leaves - 1.
    regions : Regions
        Their means, sizes and contacts.
    """
    z, y, x, d = points.shape
    shape = (z, y, x)
    tiles = _tiles(shape)
    numbers = np.empty(shape, np.int64)
    parts: list[Regions] = []
    count = 0
    for done, box in enumerate(tiles):
        tile = points[box]
        sides = (tile.shape[0], tile.shape[1], tile.shape[2])
        size = math.prod(sides)
        start = Regions(
            tile.reshape(size, d).astype(np.float64), np.ones(size), grid_edges(sides),
            np.zeros(size),
        )  # fmt: skip
        until = max(leaves, size // _SUPERVOXEL)
        job = merge_regions_job(start, until, hyperbolic=hyperbolic)
        left, merges, names = yield from _within(job, done, len(tiles) + 1)
        numbers[box] = count + _leaf_of(size, merges, names).reshape(sides)
        left.edges = left.edges + count
        parts.append(left)
        count += len(names)
    everything = Regions(
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.weights for p in parts]),
        unique_edges(np.concatenate([p.edges for p in parts] + _seams(numbers, tiles)), count),
        np.concatenate([p.heights for p in parts]),
    )
    job = merge_regions_job(everything, leaves, hyperbolic=hyperbolic)
    regions, merges, names = yield from _within(job, len(tiles), len(tiles) + 1)
    labels = _leaf_of(count, merges, names).astype(np.int32)[numbers]
    return labels, regions


def _within(
    job: Job[tuple[Regions, Merges, Ints]], done: int, total: int
) -> Job[tuple[Regions, Merges, Ints]]:
    """A job's progress as the share of one step among ``total``."""
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            result: tuple[Regions, Merges, Ints] = end.value
            return result
        part = int(_UNITS * progress.fraction)
        yield Progress("merging voxels", _UNITS * done + part, _UNITS * total)


def _tiles(shape: tuple[int, int, int]) -> list[tuple[slice, slice, slice]]:
    """Boxes of at most about ``_TILE`` voxels that cover a shape, as cubic as it allows."""
    cuts = [1, 1, 1]
    while math.prod(-(-n // c) for n, c in zip(shape, cuts, strict=True)) > _TILE:
        axis = int(np.argmax([n / c for n, c in zip(shape, cuts, strict=True)]))
        cuts[axis] += 1
    edges = [np.linspace(0, n, c + 1).astype(int) for n, c in zip(shape, cuts, strict=True)]
    return [
        (
            slice(edges[0][i], edges[0][i + 1]),
            slice(edges[1][j], edges[1][j + 1]),
            slice(edges[2][k], edges[2][k + 1]),
        )
        for i, j, k in np.ndindex(*cuts)
    ]


def _seams(numbers: Ints, tiles: list[tuple[slice, slice, slice]]) -> list[Ints]:
    """Pairs of supervoxels that touch across the faces between tiles."""
    found = []
    for axis in range(3):
        along = np.moveaxis(numbers, axis, 0)
        for cut in sorted({box[axis].start for box in tiles} - {0}):
            pairs = np.stack([along[cut - 1].ravel(), along[cut].ravel()], 1)
            found.append(np.unique(np.sort(pairs, axis=1), axis=0))
    return found


def _leaf_of(count: int, merges: Merges, names: Ints) -> Ints:
    """For each of ``count`` first regions, which of the regions left holds it."""
    owner = np.full(count + len(merges.pairs), -1, np.int64)
    owner[names] = np.arange(len(names))
    for index in range(len(merges.pairs) - 1, -1, -1):
        a, b = merges.pairs[index]
        owner[a] = owner[b] = owner[count + index]
    return owner[:count]
