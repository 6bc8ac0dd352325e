"""Kinds of voxels: clusters by latent point and by what lies beside it, wherever they lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from numba import prange

from napari_hypseg.clustering.kmeans import count_distinct, hyperbolic_kmeans_job
from napari_hypseg.clustering.reduce import Points, sample_job
from napari_hypseg.clustering.ward import Regions
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.training.devices import match_numba_threads
from napari_hypseg.volumes.compiled import compiled
from napari_hypseg.volumes.volume import Box

__all__ = ["ROUNDS", "kinds_job"]

#: Rounds of k-means for the leaves of a tree: 100 lower the sum of squared distances by 1.4 % more.
ROUNDS = 30

# Voxels in a row for one thread.
_BLOCK = 1 << 14

Bytes = npt.NDArray[np.uint8]
Channels = npt.NDArray[np.float32]


def kinds_job(
    boxes: Sequence[Box],
    shape: tuple[int, int, int],
    read: Callable[[Box], Channels],
    *,
    leaves: int,
    dim: int,
    curvature: float | None,
    seed: int,
    outside: npt.NDArray[np.bool_] | None = None,
) -> Job[tuple[Bytes, Regions]]:
    """Cluster the voxels of a volume by their points and what lies beside them alone.

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
        Channels of a box of voxels, shape (z, y, x, m): points and, in units of tangent vectors,
        what lies beside them.
    leaves : int
        Clusters at most, up to 256; fewer where fewer voxels are different.
    dim : int
        Channels of the points, d.
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

    def inside(box: Box) -> Channels:
        channels = read(box)
        if outside is None:
            return channels.reshape(-1, channels.shape[-1])
        kept: Channels = channels[~outside[box]]
        return kept

    total = math.prod(shape) if outside is None else int((~outside).sum())
    sample = yield from sample_job(boxes, total, inside, seed=seed)
    vectors = _tangents(sample, dim, root)
    count = count_distinct(torch.from_numpy(vectors), leaves)
    fit = yield from hyperbolic_kmeans_job(
        vectors, count, seed=seed, n_init=1, max_iter=ROUNDS, curvature=None
    )
    # All of a coordinate in a row: so that a point is compared with many at once.
    centroids = np.ascontiguousarray(fit.centroids.T)
    labels, sums = np.full(shape, 255, np.uint8), np.zeros((count, sample.shape[1] + 2))
    match_numba_threads()
    for done, box in enumerate(boxes):
        yield Progress("labelling voxels", done, len(boxes))
        found, parts = _assign(inside(box), dim, root, centroids)
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
        means[:, :dim] /= np.sqrt(time**2 - np.square(means[:, :dim]).sum(1))[:, None]
    pairs = np.stack(np.triu_indices(len(used), 1), axis=1).astype(np.int32)
    return labels, Regions(means, weights, pairs, np.zeros(len(used)))


@compiled()
def _to_tangent(channels: npt.NDArray[np.floating], dim: int, root: float, vector: Points) -> float:
    """Tangent vector at the centre, in lengths of the unit hyperboloid, and what lies beside it.

    It is written into ``vector``. Returns ``c |x|^2`` of the point x.
    """
    square = 0.0
    for a in range(dim):
        square += (root * channels[a]) ** 2
    norm = np.sqrt(square)
    # A point near the centre is its own vector.
    factor = np.arctanh(norm) / norm if norm > 1e-9 else 1.0
    for a in range(len(channels)):
        scale = 2 * root * (factor if a < dim else 1.0) if root else 1.0
        vector[a] = scale * channels[a]
    return square


@compiled()
def _tangents(channels: Points, dim: int, root: float) -> Points:
    vectors = np.empty(channels.shape)
    for i in range(len(channels)):
        _to_tangent(channels[i], dim, root, vectors[i])
    return vectors


@compiled(parallel=True)
def _assign(channels: Channels, dim: int, root: float, centroids: Points) -> tuple[Bytes, Points]:
    """Nearest centroid of each voxel, and sums for each, block by block.

    The sums are those of the coordinates on the hyperboloid and of what lies beside them, of the
    coordinate of time, and the number of voxels.
    """
    (n, m), k = channels.shape, centroids.shape[1]
    blocks = (n + _BLOCK - 1) // _BLOCK
    found, sums = np.empty(n, np.uint8), np.zeros((blocks, k, m + 2))
    for block in prange(blocks):
        far, vector = np.empty(k), np.empty(m)
        for i in range(block * _BLOCK, min((block + 1) * _BLOCK, n)):
            square = _to_tangent(channels[i], dim, root, vector)
            far[:] = 0.0
            for a in range(m):
                for j in range(k):
                    far[j] += (vector[a] - centroids[a, j]) ** 2
            own = far.argmin()
            found[i] = own
            row = sums[block, own]
            for a in range(m):
                lifted = root and a < dim
                row[a] += 2 * root * channels[i, a] / (1 - square) if lifted else vector[a]
            row[m] += (1 + square) / (1 - square)
            row[m + 1] += 1
    return found, sums
