"""Kinds of voxels: clusters by latent point and by what lies beside it, wherever they lie."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.clustering.kmeans import count_distinct, hyperbolic_kmeans_job, nearest
from napari_hypseg.clustering.reduce import Points, sample_job
from napari_hypseg.clustering.ward import Regions
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes.volume import Box

__all__ = ["ROUNDS", "kinds_job"]

#: Rounds of k-means for the leaves of a tree: 100 lower the sum of squared distances by 1.4 % more.
ROUNDS = 30


def kinds_job(
    boxes: list[Box],
    shape: tuple[int, int, int],
    read: Callable[[Box], Points],
    *,
    leaves: int,
    curved: int,
    seed: int,
) -> Job[tuple[npt.NDArray[np.uint8], Regions]]:
    """Cluster the voxels of a volume by their coordinates alone.

    They are told apart by k-means of a sample, on the tangent space at the centre. There distances
    across a ray of length r are ``sinh(r) / r`` times too short (1.2 at r = 1), but the clusters
    are small, and only the leaves of a tree whose merges go by the distance: the means that these
    start from are those on the hyperboloid, of all voxels.

    Parameters
    ----------
    boxes : list of tuple of slice
        Which tile the volume.
    shape : tuple of int
        Its shape, (z, y, x).
    read : callable
        Coordinates of a box of voxels, shape (z, y, x, m): `curved` on the hyperboloid, the others
        Euclidean.
    leaves : int
        Clusters at most, up to 256; fewer where fewer coordinates are different.
    curved : int
    seed : int

    Returns
    -------
    labels : array of uint8, shape (z, y, x)
        Cluster of each voxel, from 0.
    regions : Regions
        Each may merge with every other.
    """
    sample = yield from sample_job(boxes, math.prod(shape), read, seed=seed)
    sample = _tangent(sample, curved)
    count = count_distinct(torch.from_numpy(sample), leaves)
    fit = yield from hyperbolic_kmeans_job(
        sample, count, seed=seed, n_init=1, max_iter=ROUNDS, curvature=None
    )
    centroids = torch.from_numpy(fit.centroids)
    labels, counts = np.empty(shape, np.uint8), np.zeros(count, np.int64)
    # Of the coordinates, and of the one of time.
    sums = np.zeros((sample.shape[1] + 1, count))
    for done, box in enumerate(boxes):
        yield Progress("labelling voxels", done, len(boxes))
        points = read(box)
        flat = points.reshape(-1, points.shape[-1])
        vectors = torch.from_numpy(_tangent(flat, curved))
        found = nearest(vectors, centroids, curvature=None).numpy()
        labels[box] = found.reshape(points.shape[:-1])
        counts += np.bincount(found, minlength=count)
        time = np.sqrt(1 + np.square(flat[:, :curved]).sum(1))
        for row, values in zip(sums, (*flat.T, time), strict=True):
            row += np.bincount(found, values, minlength=count)
    yield Progress("labelling voxels", len(boxes), len(boxes))

    used = np.flatnonzero(counts)
    if len(used) < count:  # one whose sample lay nearer to another's mean in the end
        labels = (np.cumsum(counts > 0) - 1).astype(np.uint8)[labels]
    weights = counts[used].astype(np.float64)
    means = (sums[:, used] / weights).T
    means, time = means[:, :-1], means[:, -1]
    # Back onto the hyperboloid: a mean of its points lies above it.
    means[:, :curved] /= np.sqrt(time**2 - np.square(means[:, :curved]).sum(1))[:, None]
    pairs = np.stack(np.triu_indices(len(used), 1), axis=1).astype(np.int32)
    return labels, Regions(np.ascontiguousarray(means), weights, pairs, np.zeros(len(used)))


def _tangent(points: Points, curved: int) -> Points:
    """Points, shape (n, m), with tangent vectors in place of coordinates on the hyperboloid."""
    lengths = np.linalg.norm(points[:, :curved], axis=1, keepdims=True)
    # A point near the centre is its own vector.
    shrunk = np.divide(np.arcsinh(lengths), lengths, out=np.ones_like(lengths), where=lengths > 0)
    return np.concatenate([points[:, :curved] * shrunk, points[:, curved:]], 1)
