"""A whole volume of latent points as a few weighted ones, to fit clusters on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents
from napari_hypseg.volumes.compiled import compiled
from napari_hypseg.volumes.volume import Box

__all__ = ["reduce_job", "sample_job"]

# Cells along each side of the grid over the points: with 1024 (at least half of them within the
# points' reach) they are far smaller than the posterior's spread, and at most a few hundred
# thousand are occupied.
_CELLS = 1024
# Points drawn where the latent space has too many dimensions for a grid.
_SAMPLE = 200_000

Points = npt.NDArray[np.float64]


def reduce_job(latents: Latents, *, seed: int = 0) -> Job[tuple[Points, Points]]:
    """Weighted points that stand for all points of a store.

    In two dimensions a grid is laid over the points, and each occupied cell gives the mean of its
    points, weighted by their exact number. In more dimensions a uniform random sample of 200,000
    points is drawn (all of them, if there are no more).

    Parameters
    ----------
    latents : Latents
        The points.
    seed : int
        Seed of the sample.

    Returns
    -------
    points : array, shape (m, d)
    weights : array, shape (m,)
        They add up to the number of voxels.
    """
    chunks = list(latents.chunk_boxes())
    total, d = int(np.prod(latents.shape)), latents.dim
    if d == 2:
        grid = _Grid()
        for i, box in enumerate(chunks):
            grid.add(latents.read_all(box).reshape(-1, 2))
            yield Progress("binning the disk", i + 1, len(chunks))
        return grid.points()

    sample = yield from sample_job(chunks, total, latents.read_all, seed=seed)
    return sample, np.full(len(sample), total / len(sample))


def sample_job(
    boxes: Sequence[Box],
    total: int,
    read: Callable[[Box], npt.NDArray[np.floating]],
    *,
    seed: int,
) -> Job[Points]:
    """A uniform random sample of 200,000 points, shape (n, m); all of them, if there are no more.

    Parameters
    ----------
    boxes : sequence of tuple of slice
        Boxes of voxels that tile the volume.
    total : int
        Voxels in all of them.
    read : callable
        Points of a box, shape (..., m).
    seed : int
    """
    rng = np.random.default_rng(seed)
    share = min(1.0, _SAMPLE / total)
    parts = []
    for i, box in enumerate(boxes):
        points = read(box)
        points = points.reshape(-1, points.shape[-1])
        count = len(points) if share == 1 else int(rng.binomial(len(points), share))
        parts.append(points[rng.choice(len(points), count, replace=False)].astype(np.float64))
        yield Progress("sampling the latents", i + 1, len(boxes))
    sample: Points = np.concatenate(parts)
    return sample


class _Grid:
    """Cells of a square around the centre, which doubles its sides when a point lies outside."""

    def __init__(self) -> None:
        self._reach = 0.0
        self._sums = np.zeros((_CELLS, _CELLS, 3))

    def add(self, points: npt.NDArray[np.float32]) -> None:
        """Count points, shape (n, 2), in their cells."""
        farthest = float(np.abs(points).max())
        if not self._reach:
            self._reach = farthest
        while farthest > self._reach:
            # Four cells become one, of the inner half of the new square.
            quarter, half = _CELLS // 4, _CELLS // 2
            folded = self._sums.reshape(half, 2, half, 2, 3).sum((1, 3))
            self._sums[:] = 0
            self._sums[quarter:-quarter, quarter:-quarter] = folded
            self._reach *= 2
        _count(points, self._reach, self._sums)

    def points(self) -> tuple[Points, Points]:
        """Means of the points of each occupied cell, and their numbers."""
        sums = self._sums.reshape(-1, 3)
        sums = sums[sums[:, 0] > 0]
        return sums[:, 1:] / sums[:, :1], sums[:, 0].copy()


@compiled()
def _count(points: npt.NDArray[np.float32], reach: float, sums: Points) -> None:
    cells = len(sums)
    scale = cells / (2 * reach) if reach > 0 else 0.0
    for i in range(len(points)):
        x, y = float(points[i, 0]), float(points[i, 1])
        column = min(int((x + reach) * scale), cells - 1)
        row = min(int((y + reach) * scale), cells - 1)
        cell = sums[row, column]
        cell[0] += 1
        cell[1] += x
        cell[2] += y
