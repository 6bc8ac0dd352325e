"""From latent points to touching regions: tiles, supervoxels, one graph, one merging."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numba import njit

from napari_hypseg.clustering.ward import Merges, Regions, contract_edges, merge_regions_job
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes.volume import Box

__all__ = ["grid_edges", "regions_job"]

Indices = npt.NDArray[np.int32]

# Voxels that are merged as one graph. Larger volumes are cut into tiles of this size; in each,
# voxels merge into supervoxels, and the supervoxels of all tiles merge as one graph. With d = 2
# merging takes 120 bytes a voxel of a tile.
_TILE = 1 << 20
# Units of progress a tile.
_UNITS = 1000
# Voxels a supervoxel of a tile, on average.
_SUPERVOXEL = 64


def grid_edges(shape: tuple[int, int, int]) -> Indices:
    """Pairs of neighbours (6-neighbourhood) of a grid's voxels in C order, shape (m, 2)."""
    index = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    pairs = [
        np.stack([np.moveaxis(index, a, 0)[:-1].ravel(), np.moveaxis(index, a, 0)[1:].ravel()], 1)
        for a in range(3)
    ]
    return np.concatenate(pairs)


def regions_job(
    shape: tuple[int, int, int],
    read: Callable[[Box], npt.NDArray[np.float64]],
    *,
    leaves: int,
    hyperbolic: bool,
) -> Job[tuple[Indices, Regions]]:
    """Merge the voxels of a volume, touching ones only, into a few regions.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x).
    read : callable
        Latent points of a box, shape (z, y, x, d): spatial coordinates on the hyperboloid, or
        points of R^d.
    leaves : int
        Regions to leave, at most the number of voxels.
    hyperbolic : bool
        Which of the two.

    Returns
    -------
    labels : array of int32, shape (z, y, x)
        The region of each voxel, 0 to leaves - 1.
    regions : Regions
        Their means, sizes and contacts.
    """
    tiles = _tiles(shape)
    labels = np.empty(shape, np.int32)
    parts: list[Regions] = []
    count = 0
    for done, box in enumerate(tiles):
        yield Progress("merging voxels", _UNITS * done, _UNITS * (len(tiles) + 1))
        inside = labels[box]
        until = max(leaves, inside.size // _SUPERVOXEL)
        job = merge_regions_job(_single_voxels(read(box)), until, hyperbolic=hyperbolic)
        left, merges, names = yield from _within(job, done, len(tiles) + 1)
        inside[:] = count + _owners(inside.size, merges.pairs, names).reshape(inside.shape)
        left.edges = left.edges + np.int32(count)
        parts.append(left)
        count += len(names)
    edges = np.concatenate([p.edges for p in parts] + _seams(labels, tiles))
    everything = Regions(
        np.concatenate([p.points for p in parts]),
        np.concatenate([p.weights for p in parts]),
        contract_edges(edges, np.arange(count, dtype=np.int32), count),
        np.concatenate([p.heights for p in parts]),
    )
    job = merge_regions_job(everything, leaves, hyperbolic=hyperbolic)
    regions, merges, names = yield from _within(job, len(tiles), len(tiles) + 1)
    owners = _owners(count, merges.pairs, names)
    for box in tiles:
        labels[box] = owners[labels[box]]
        yield Progress("merging voxels", _UNITS * (len(tiles) + 1), _UNITS * (len(tiles) + 1))
    return labels, regions


def _single_voxels(points: npt.NDArray[np.float64]) -> Regions:
    """Every voxel a region of its own."""
    z, y, x, d = points.shape
    size = z * y * x
    return Regions(points.reshape(size, d), np.ones(size), grid_edges((z, y, x)), np.zeros(size))


def _within(
    job: Job[tuple[Regions, Merges, Indices]], done: int, total: int
) -> Job[tuple[Regions, Merges, Indices]]:
    """A job's progress as the share of one step among ``total``."""
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            result: tuple[Regions, Merges, Indices] = end.value
            return result
        part = int(_UNITS * progress.fraction)
        yield Progress("merging voxels", _UNITS * done + part, _UNITS * total)


def _tiles(shape: tuple[int, int, int]) -> list[Box]:
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


def _seams(labels: Indices, tiles: list[Box]) -> list[Indices]:
    """Pairs of supervoxels that touch across the faces between tiles, some more than once."""
    return [
        np.stack([np.take(labels, cut - 1, axis).ravel(), np.take(labels, cut, axis).ravel()], 1)
        for axis in range(3)
        for cut in {box[axis].start for box in tiles} - {0}
    ]


@njit(nogil=True, cache=True)
def _owners(count: int, pairs: Indices, names: Indices) -> Indices:
    """For each of ``count`` first regions, which of the regions left holds it."""
    owners = np.full(count + len(pairs), -1, np.int32)
    for index, name in enumerate(names):
        owners[name] = index
    for merge in range(len(pairs) - 1, -1, -1):
        owners[pairs[merge, 0]] = owners[pairs[merge, 1]] = owners[count + merge]
    return owners[:count]
