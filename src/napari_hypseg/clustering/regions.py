"""From latent points to touching regions: tiles, supervoxels, one graph, one merging."""

from __future__ import annotations

import math
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.clustering.ward import Regions, contract_edges, merge_regions_job
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes.compiled import compiled
from napari_hypseg.volumes.volume import Box

__all__ = ["RegionLabels", "grid_edges", "regions_job"]

Indices = npt.NDArray[np.int32]

# Voxels that are merged as one graph. Larger volumes are cut into tiles of this size; in each,
# voxels merge into supervoxels, and the supervoxels of all tiles merge as one graph. With d = 2
# merging takes 120 bytes a voxel of a tile.
_TILE = 1 << 20
# Units of progress a tile.
_UNITS = 1000
# Voxels a supervoxel of a tile, on average; more where a volume would have too many supervoxels:
# the memory for their one graph, about 600 bytes each, does not grow with the volume.
_SUPERVOXEL = 64
_MOST_SUPERVOXELS = 1 << 20
# Tiles merged at the same time, at most.
_MOST_WORKERS = 8


def grid_edges(shape: tuple[int, int, int]) -> Indices:
    """Pairs of neighbours (6-neighbourhood) of a grid's voxels in C order, shape (m, 2)."""
    index = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    pairs = [
        np.stack([np.moveaxis(index, a, 0)[:-1].ravel(), np.moveaxis(index, a, 0)[1:].ravel()], 1)
        for a in range(3)
    ]
    return np.concatenate(pairs)


@dataclass(frozen=True)
class _Tile:
    """A tile whose voxels have merged.

    Attributes
    ----------
    labels : bytes
        Supervoxel of each voxel, uint32, compressed: a tenth of its size.
    regions : Regions
        The supervoxels.
    faces : dict
        Labels of the planes at both ends along each axis, by (axis, whether it is the far end).
    """

    labels: bytes
    regions: Regions
    faces: dict[tuple[int, bool], Indices]


def regions_job(
    shape: tuple[int, int, int],
    read: Callable[[Box], npt.NDArray[np.float64]],
    *,
    leaves: int,
    curved: int,
) -> Job[tuple[RegionLabels, Regions]]:
    """Merge the voxels of a volume, touching ones only, into a few regions.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x).
    read : callable
        Points of a box, shape (z, y, x, d): spatial coordinates on the hyperboloid, then those of
        Euclidean space. Called from several threads.
    leaves : int
        Regions to leave, at most the number of voxels and at most 65,536.
    curved : int
        How many coordinates are those of the hyperboloid.

    Returns
    -------
    labels : RegionLabels
        The region of each voxel, 0 to leaves - 1.
    regions : Regions
        Their means, sizes and contacts.
    """
    tiles = _tiles(shape)
    fractions = np.zeros(len(tiles))

    def progress() -> Progress:
        total = _UNITS * len(tiles)
        return Progress("merging voxels", int(_UNITS * fractions.sum()), total)

    supervoxel = max(_SUPERVOXEL, math.prod(shape) // _MOST_SUPERVOXELS)
    stop = threading.Event()

    def merge(index: int) -> _Tile | None:
        points = read(tiles[index])
        size = math.prod(points.shape[:3])
        job = merge_regions_job(
            _single_voxels(points), max(leaves, size // supervoxel), curved=curved
        )
        while not stop.is_set():
            try:
                fractions[index] = next(job).fraction
            except StopIteration as end:
                regions, merges, names = end.value
                owners = _owners(size, merges.pairs, names)
                fractions[index] = 1.0
                return _packed(owners.reshape(points.shape[:3]), regions)
        return None

    graph = _Graph()
    workers = min(torch.get_num_threads(), _MOST_WORKERS, len(tiles))
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[_Tile | None]] = deque()
        try:
            for index, box in enumerate(tiles):
                # Few tiles wait for one that takes long: each holds the memory of its graph.
                while len(ahead) <= workers and index + len(ahead) < len(tiles):
                    ahead.append(pool.submit(merge, index + len(ahead)))
                while not wait([ahead[0]], timeout=0.1).done:
                    yield progress()
                tile = ahead.popleft().result()
                if tile is not None:
                    graph.add(box, tile)
                yield progress()
        finally:
            stop.set()
    packed, count = graph.labels, graph.count
    job = merge_regions_job(graph.regions(), leaves, curved=curved)
    del graph
    regions, merges, names = yield from job
    owners = _owners(count, merges.pairs, names).astype(np.uint16)
    return RegionLabels(tiles, packed, owners), regions


@dataclass(frozen=True)
class RegionLabels:
    """The region of each voxel of a volume, packed: unpacked they would take the most memory.

    Attributes
    ----------
    tiles : list of Box
        In C order.
    packed : list of (int, bytes)
        For each tile the number of its first supervoxel, and its compressed labels.
    owners : array of uint16, shape (n,)
        The region of each supervoxel.
    """

    tiles: list[Box]
    packed: list[tuple[int, bytes]]
    owners: npt.NDArray[np.uint16]

    def slabs(self) -> Iterator[npt.NDArray[np.uint16]]:
        """The regions of some planes after others, from first to last, each shape (some, y, x)."""
        pairs = zip(self.tiles, self.packed, strict=True)
        for planes, tiles in groupby(pairs, lambda pair: pair[0][0]):
            _, y, x = self.tiles[-1]
            slab = np.empty((planes.stop - planes.start, y.stop, x.stop), np.uint16)
            for (_, *box), (start, squeezed) in tiles:
                local = np.frombuffer(zlib.decompress(squeezed), np.uint32)
                part = slab[:, *box]
                part[:] = self.owners[start:][local].reshape(part.shape)
            yield slab


class _Graph:
    """The supervoxels of all tiles, as they come, numbered one after the other.

    Attributes
    ----------
    count : int
        How many there are.
    labels : list of (int, bytes)
        For each tile the number of its first supervoxel, and its compressed labels.
    """

    def __init__(self) -> None:
        self.count = 0
        self.labels: list[tuple[int, bytes]] = []
        self._parts: list[Regions] = []
        self._seams: list[Indices] = []
        # Far faces that wait for the tile behind them, by axis and that tile's corner.
        self._open: dict[tuple[int, ...], Indices] = {}

    def add(self, box: Box, tile: _Tile) -> None:
        """Take up a tile; those before it along each axis are here already."""
        first = np.int32(self.count)
        for axis in range(3):
            corner = [s.start for s in box]
            before = self._open.pop((axis, *corner), None)
            if before is not None:
                pairs = np.stack([before.ravel(), (tile.faces[axis, False] + first).ravel()], 1)
                self._seams.append(np.unique(pairs, axis=0))
            corner[axis] = box[axis].stop
            self._open[axis, *corner] = tile.faces[axis, True] + first
        tile.regions.edges = tile.regions.edges + first
        self._parts.append(tile.regions)
        self.labels.append((self.count, tile.labels))
        self.count += len(tile.regions.weights)

    def regions(self) -> Regions:
        """All supervoxels and their contacts, within tiles and across their faces."""
        parts = self._parts
        edges = np.concatenate([p.edges for p in parts] + self._seams)
        return Regions(
            np.concatenate([p.points for p in parts]),
            np.concatenate([p.weights for p in parts]),
            contract_edges(edges, np.arange(self.count, dtype=np.int32), self.count),
            np.concatenate([p.heights for p in parts]),
        )


def _packed(labels: Indices, regions: Regions) -> _Tile:
    faces = {
        (axis, far): np.take(labels, -1 if far else 0, axis)
        for axis in range(3)
        for far in (False, True)
    }
    return _Tile(zlib.compress(labels.astype(np.uint32).tobytes(), 1), regions, faces)


def _single_voxels(points: npt.NDArray[np.float64]) -> Regions:
    """Every voxel a region of its own."""
    z, y, x, d = points.shape
    size = z * y * x
    return Regions(points.reshape(size, d), np.ones(size), grid_edges((z, y, x)), np.zeros(size))


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


@compiled()
def _owners(count: int, pairs: Indices, names: Indices) -> Indices:
    """For each of ``count`` first regions, which of the regions left holds it."""
    owners = np.full(count + len(pairs), -1, np.int32)
    for index, name in enumerate(names):
        owners[name] = index
    for merge in range(len(pairs) - 1, -1, -1):
        owners[pairs[merge, 0]] = owners[pairs[merge, 1]] = owners[count + merge]
    return owners[:count]
