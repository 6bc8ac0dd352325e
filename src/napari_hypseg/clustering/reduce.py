"""A whole volume of latent points as a few weighted ones, to fit clusters on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents

__all__ = ["reduce_job"]

# Cells along each side of the grid over the disk: with 1024 they are far smaller than the
# posterior's spread, and at most a few hundred thousand are occupied.
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
        reach = 0.0
        for i, box in enumerate(chunks):
            reach = max(reach, float(np.abs(latents.read(box)).max()))
            yield Progress("binning the disk", i, 2 * len(chunks))
        step = max(2 * reach / _CELLS, np.finfo(np.float64).tiny)
        sums = np.zeros((3, _CELLS * _CELLS))
        for i, box in enumerate(chunks):
            x, y = latents.read(box).reshape(-1, 2).T.astype(np.float64)
            column, row = (
                np.minimum(((v + reach) / step).astype(np.int64), _CELLS - 1) for v in (x, y)
            )
            cell = row * _CELLS + column
            for total_of, values in zip(sums, (None, x, y), strict=True):
                total_of += np.bincount(cell, weights=values, minlength=_CELLS * _CELLS)
            yield Progress("binning the disk", len(chunks) + i + 1, 2 * len(chunks))
        used = np.flatnonzero(sums[0])
        weights = sums[0][used]
        means: Points = (sums[1:, used] / weights).T
        return means, weights

    rng = np.random.default_rng(seed)
    share = min(1.0, _SAMPLE / total)
    parts = []
    for i, box in enumerate(chunks):
        points = latents.read(box).reshape(-1, d)
        count = len(points) if share == 1 else int(rng.binomial(len(points), share))
        parts.append(points[rng.choice(len(points), count, replace=False)].astype(np.float64))
        yield Progress("sampling the latents", i + 1, len(chunks))
    sample: Points = np.concatenate(parts)
    return sample, np.full(len(sample), total / len(sample))
