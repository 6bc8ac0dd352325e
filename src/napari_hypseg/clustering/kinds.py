"""Kinds of voxels: clusters by latent point, wherever they lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from numba import prange

from napari_hypseg.clustering.kmeans import count_distinct, hyperbolic_kmeans_job
from napari_hypseg.clustering.ward import Regions
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.training.devices import match_numba_threads
from napari_hypseg.volumes.compiled import compiled
from napari_hypseg.volumes.volume import Box

__all__ = ["kinds_job"]

# Rounds of k-means for the leaves: 100 lower the sum of squared distances by 1.4 % more.
_ROUNDS = 30
# Points that it is fitted on.
_SAMPLE = 200_000
# Voxels in a row for one thread.
_BLOCK = 1 << 14

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]


def kinds_job(
    boxes: Sequence[Box],
    shape: tuple[int, int, int],
    read: Callable[[Box], Floats],
    *,
    leaves: int,
    curvature: float | None,
    seed: int,
    outside: npt.NDArray[np.bool_] | None = None,
) -> Job[tuple[Bytes, Regions]]:
    """Cluster the voxels of a volume by their points alone.

    They are told apart by k-means of a sample, on the tangent space at the centre. There distances
    across a ray of length r are ``sinh(r) / r`` times too short (1.2 at r = 1), but the clusters
    are small, and only the leaves of a tree whose merges go by the distance: the means that these
    start from are those on the hyperboloid, of all voxels.

    Parameters
    ----------
    boxes : sequence of tuple of slice
        Which tile the volume.
    shape : tuple of int
        Its shape, (z, y, x).
    read : callable
        Points of a box of voxels, shape (z, y, x, d).
    leaves : int
        Clusters at most, up to 256; fewer where fewer voxels are different.
    curvature : float or None
        The ball has curvature ``-curvature``; None for R^d.
    seed : int
    outside : array of bool, shape (z, y, x), optional
        Voxels that are left out.

    Returns
    -------
    labels : array of uint8, shape (z, y, x)
        Cluster of each voxel, from 0; 255 outside.
    regions : Regions
        Of the unit hyperboloid (or R^d); each may merge with every other.
    """
    root = math.sqrt(curvature or 0.0)

    def inside(box: Box) -> Floats:
        points = read(box)
        if outside is None:
            return points.reshape(-1, points.shape[-1])
        kept: Floats = points[~outside[box]]
        return kept

    total = math.prod(shape) if outside is None else int((~outside).sum())
    sample = yield from _sample_job(boxes, total, inside, seed)
    vectors = _tangents(sample, root)
    count = count_distinct(torch.from_numpy(vectors), leaves)
    fit = yield from hyperbolic_kmeans_job(
        vectors, count, seed=seed, n_init=1, max_iter=_ROUNDS, curvature=None
    )
    # All of a coordinate in a row: so that a point is compared with many at once.
    centroids = np.ascontiguousarray(fit.centroids.T)
    labels, sums = np.full(shape, 255, np.uint8), np.zeros((count, sample.shape[1] + 2))
    match_numba_threads()
    for done, box in enumerate(boxes):
        yield Progress("labelling voxels", done, len(boxes))
        found, parts = _assign(inside(box), root, centroids)
        if outside is None:
            labels[box] = found.reshape(labels[box].shape)
        else:
            labels[box][~outside[box]] = found
        sums += parts.sum(0)
    yield Progress("labelling voxels", len(boxes), len(boxes))

    used = np.flatnonzero(sums[:, -1])
    if len(used) < count:  # one whose sample lay nearer to another's mean in the end
        names = np.full(256, 255, np.uint8)
        names[used] = np.arange(len(used))
        labels = names[labels]
    weights = sums[used, -1].copy()
    means = sums[used, :-2] / weights[:, None]
    if curvature:
        # Back onto the hyperboloid: a mean of its points lies above it.
        time = sums[used, -2] / weights
        means /= np.sqrt(time**2 - np.square(means).sum(1))[:, None]
    pairs = np.stack(np.triu_indices(len(used), 1), axis=1).astype(np.int32)
    return labels, Regions(means, weights, pairs, np.zeros(len(used)))


def _sample_job(
    boxes: Sequence[Box], total: int, read: Callable[[Box], Floats], seed: int
) -> Job[Points]:
    """A uniform random sample of the ``total`` points in boxes, shape (n, d); all of few points."""
    rng = np.random.default_rng(seed)
    share = min(1.0, _SAMPLE / total)
    parts = []
    for i, box in enumerate(boxes):
        points = read(box)
        count = len(points) if share == 1 else int(rng.binomial(len(points), share))
        parts.append(points[rng.choice(len(points), count, replace=False)].astype(np.float64))
        yield Progress("sampling the latents", i + 1, len(boxes))
    sample: Points = np.concatenate(parts)
    return sample


@compiled()
def _to_tangent(point: npt.NDArray[np.floating], root: float, vector: Points) -> float:
    """Tangent vector at the centre, in lengths of the unit hyperboloid, written into ``vector``.

    Returns ``c |x|^2`` of the point x.
    """
    square = 0.0
    for a in range(len(point)):
        square += (root * point[a]) ** 2
    norm = np.sqrt(square)
    # A point near the centre is its own vector.
    factor = np.arctanh(norm) / norm if norm > 1e-9 else 1.0
    scale = 2 * root * factor if root else 1.0
    for a in range(len(point)):
        vector[a] = scale * point[a]
    return square


@compiled()
def _tangents(points: Points, root: float) -> Points:
    vectors = np.empty(points.shape)
    for i in range(len(points)):
        _to_tangent(points[i], root, vectors[i])
    return vectors


@compiled(parallel=True)
def _assign(points: Floats, root: float, centroids: Points) -> tuple[Bytes, Points]:
    """Nearest centroid of each voxel, and sums for each, block by block.

    The sums are those of the coordinates on the hyperboloid, of the coordinate of time, and the
    number of voxels.
    """
    (n, d), k = points.shape, centroids.shape[1]
    blocks = (n + _BLOCK - 1) // _BLOCK
    found, sums = np.empty(n, np.uint8), np.zeros((blocks, k, d + 2))
    for block in prange(blocks):
        far, vector = np.empty(k), np.empty(d)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, n)):
            square = _to_tangent(points[i], root, vector)
            far[:] = 0.0
            for a in range(d):
                for j in range(k):
                    far[j] += (vector[a] - centroids[a, j]) ** 2
            own = far.argmin()
            found[i] = own
            row = sums[block, own]
            for a in range(d):
                row[a] += 2 * root * points[i, a] / (1 - square) if root else vector[a]
            row[d] += (1 + square) / (1 - square)
            row[d + 1] += 1
    return found, sums
