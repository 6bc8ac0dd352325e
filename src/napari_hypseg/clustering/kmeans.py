"""k-means in the Poincare ball, and its Euclidean twin, on weighted points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import prange
from torch import Tensor

from napari_hypseg.geometry import distance, mobius_add
from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.training.devices import match_numba_threads
from napari_hypseg.volumes.compiled import compiled

__all__ = [
    "KMeans",
    "count_distinct",
    "hyperbolic_kmeans",
    "hyperbolic_kmeans_job",
    "nearest",
]

# Points in a row for one thread.
_BLOCK = 4096
# Centroids that move less have come to rest.
_STILL = 1e-12


@dataclass(frozen=True)
class KMeans:
    """The outcome of k-means.

    Attributes
    ----------
    centroids : array, shape (k, d), float64
        Frechet means of the clusters, the heaviest cluster first.
    labels : array, shape (n,), int64
        Cluster of each point, 0 to k - 1.
    inertia : float
        Weighted sum of squared distances of the points to their centroids.
    """

    centroids: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    inertia: float


def nearest(points: Tensor, centroids: Tensor, *, curvature: float | None = 1.0) -> Tensor:
    """Index of the nearest centroid of each point (of equals, the first).

    For a given point x the distance to c grows with ``|x - c|^2 / (1 - curvature |c|^2)``: no
    division and no inverse cosine a point. Computed in float64 from differences, which keeps its
    digits near the rim; as a matrix product, ``|x|^2 - 2 x c + |c|^2``, it loses them and takes
    longer.

    Parameters
    ----------
    points : tensor, shape (n, d)
        Points of the ball, or of R^d.
    centroids : tensor, shape (k, d)
        The centroids, float64.
    curvature : float or None
        The ball has curvature ``-curvature``; None for R^d.

    Returns
    -------
    tensor of int64, shape (n,)
    """
    match_numba_threads()
    scale = 1 / (1 - (curvature or 0.0) * centroids.square().sum(1))
    return torch.from_numpy(
        _nearest(points.contiguous().numpy(), centroids.contiguous().numpy(), scale.numpy())
    )


@compiled(parallel=True)
def _nearest(
    points: npt.NDArray[np.floating],
    centroids: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    (n, d), k = points.shape, len(centroids)
    found = np.empty(n, np.int64)
    for block in prange((n + _BLOCK - 1) // _BLOCK):
        for i in range(_BLOCK * block, min(_BLOCK * block + _BLOCK, n)):
            own, score = 0, np.inf
            for j in range(k):
                square = 0.0
                for a in range(d):
                    square += (points[i, a] - centroids[j, a]) ** 2
                square *= scale[j]
                if square < score:
                    own, score = j, square
            found[i] = own
    return found


def hyperbolic_kmeans(
    points: npt.NDArray[Any] | Tensor,
    k: int,
    *,
    weights: npt.NDArray[Any] | Tensor | None = None,
    seed: int = 0,
    n_init: int = 4,
    max_iter: int = 100,
    curvature: float | None = 1.0,
) -> KMeans:
    """k-means with geodesic distances and Frechet means.

    Starts are drawn as in k-means++, by squared distance; a cluster that loses all its points is
    put on the point that is worst off. The computation is in float64. A round assigns the points
    and takes one of Lou's steps towards the means; the rounds end when the means are at rest.

    Parameters
    ----------
    points : array or tensor, shape (n, d)
        Points of the Poincare ball (of R^d with ``curvature=None``).
    k : int
        Number of clusters, at most the number of distinct points.
    weights : array or tensor, shape (n,), optional
        How often each point counts, above 0.
    seed : int
        The same seed gives the same clusters.
    n_init : int
        Restarts; the one with the least inertia is kept.
    max_iter : int
        Most rounds of a restart.
    curvature : float or None
        The ball has curvature ``-curvature``; None clusters in R^d.

    Returns
    -------
    KMeans

    Raises
    ------
    ValueError
        If there are fewer distinct points than clusters, a point lies outside the ball or is not
        a number, or the weights do not fit.

    Notes
    -----
    Hsu et al. 2021 (NeurIPS), section 3.3; means after Lou et al. 2020.

    Examples
    --------
    >>> points = [[0.5, 0.0], [0.6, 0.0], [-0.5, 0.1]]
    >>> hyperbolic_kmeans(points, 2).labels.tolist()
    [0, 0, 1]
    """
    return finish(
        hyperbolic_kmeans_job(
            points, k, weights=weights, seed=seed, n_init=n_init, max_iter=max_iter,
            curvature=curvature,
        )
    )  # fmt: skip


def hyperbolic_kmeans_job(
    points: npt.NDArray[Any] | Tensor,
    k: int,
    *,
    weights: npt.NDArray[Any] | Tensor | None = None,
    seed: int = 0,
    n_init: int = 4,
    max_iter: int = 100,
    curvature: float | None = 1.0,
) -> Job[KMeans]:
    """The generator twin of `hyperbolic_kmeans`."""
    x = torch.tensor(np.asarray(points), dtype=torch.float64)
    w = torch.ones(x.shape[:1], dtype=torch.float64)
    if weights is not None:
        w = torch.tensor(np.asarray(weights), dtype=torch.float64)
    _check(x, w, k, min(n_init, max_iter), curvature)
    total = k + max_iter
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(n_init, k, generator=generator, dtype=torch.float64)
    centroids = yield from _draw_job(x, w, draws, total, curvature)
    inertia, centroids = yield from _lloyd_job(x, w, centroids, range(k, total), total, curvature)
    best = centroids[inertia.argmin()]
    yield Progress("k-means", total, total)
    labels = nearest(x, best, curvature=curvature)
    mass = torch.zeros(k, dtype=torch.float64).index_add_(0, labels, w)
    order = mass.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(k)
    return KMeans(best[order].numpy(), rank[labels].numpy(), float(inertia.min()))


def count_distinct(points: Tensor, most: int) -> int:
    """How many of the points differ, counted no further than ``most``."""
    # Nearly always some of the first coordinates tell, and sorting all points takes long.
    for some in (points[: 100 * most, 0], points[:, 0]):
        if len(torch.unique(some)) >= most:
            return most
    return min(most, len(torch.unique(points, dim=0)))


def _check(x: Tensor, w: Tensor, k: int, tries: int, curvature: float | None) -> None:
    if x.ndim != 2 or not bool(x.isfinite().all()):
        raise ValueError("k-means needs points of shape (n, d), all of them finite numbers")
    if w.shape != x.shape[:1] or not bool(((w > 0) & w.isfinite()).all()):
        raise ValueError(f"k-means of {len(x)} points needs as many weights, all of them positive")
    if k < 1 or tries < 1:
        raise ValueError("k-means needs at least 1 cluster, 1 restart and 1 round")
    if curvature and bool((curvature * x.square().sum(1) >= 1).any()):
        raise ValueError("a point lies outside the Poincare ball")
    if count_distinct(x, k) < k:
        raise ValueError(f"can't make {k} clusters of fewer distinct points")


def _squared(x: Tensor, y: Tensor, curvature: float | None) -> Tensor:
    if curvature:
        return distance(x, y, c=curvature).square()
    return (x - y).square().sum(-1)


def _draw_job(
    x: Tensor, w: Tensor, draws: Tensor, total: int, curvature: float | None
) -> Job[Tensor]:
    """Starts, shape (restarts, k, d), each drawn by weight times squared distance to the last."""
    match_numba_threads()
    restarts, k = draws.shape
    gap = np.ones((restarts, len(x)))
    chosen = np.empty((restarts, k), np.int64)
    for done in range(k):
        yield Progress("k-means", done, total)
        chosen[:, done] = _drawn(w.numpy(), gap, draws[:, done].numpy())
        _nearer(x.numpy(), chosen[:, done], gap, done == 0, curvature or 0.0)
    return x[torch.from_numpy(chosen)]


@compiled(parallel=True)
def _drawn(
    weights: npt.NDArray[np.float64],
    gap: npt.NDArray[np.float64],
    draws: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """For each row of gaps the point at a fraction of the sum of weights times gaps."""
    restarts, n = gap.shape
    chosen = np.empty(restarts, np.int64)
    for r in prange(restarts):
        mass = 0.0
        for i in range(n):
            mass += weights[i] * gap[r, i]
        mass *= draws[r]
        # The last point with any probability, should rounding carry the draw past the end.
        i, last, cumulated = 0, 0, 0.0
        while i < n and cumulated <= mass:
            if gap[r, i] > 0.0:
                cumulated += weights[i] * gap[r, i]
                last = i
            i += 1
        chosen[r] = last
    return chosen


@compiled(parallel=True)
def _nearer(
    points: npt.NDArray[np.float64],
    chosen: npt.NDArray[np.int64],
    gap: npt.NDArray[np.float64],
    first: bool,
    curvature: float,
) -> None:
    """Lower each row of gaps to the squared distances to the point chosen, in place."""
    restarts, n = gap.shape
    blocks = (n + _BLOCK - 1) // _BLOCK
    for part in prange(restarts * blocks):
        r, block = part // blocks, part % blocks
        to = points[chosen[r]]
        rim = 1.0 - curvature * np.square(to).sum()
        for i in range(_BLOCK * block, min(_BLOCK * block + _BLOCK, n)):
            apart, norm = 0.0, 0.0
            for a in range(len(to)):
                apart += (points[i, a] - to[a]) ** 2
                norm += points[i, a] ** 2
            if curvature != 0.0:
                q = curvature * apart / ((1.0 - curvature * norm) * rim)
                apart = np.log1p(2.0 * (q + np.sqrt(q * (q + 1.0)))) ** 2 / curvature
            if first or apart < gap[r, i]:
                gap[r, i] = apart


def _lloyd_job(
    x: Tensor,
    w: Tensor,
    centroids: Tensor,
    rounds: range,
    total: int,
    curvature: float | None,
) -> Job[tuple[Tensor, Tensor]]:
    """Inertia (restarts,) and centroids (restarts, k, d) after at most so many of ``total`` rounds.

    All restarts take a round together; the rounds of one end when it is at rest.
    """
    match_numba_threads()
    centroids = centroids.clone()
    sums = _sums(x, w, centroids, curvature)
    inertia = sums[:, 0, -1].clone()
    going = torch.arange(len(centroids))
    for done in rounds:
        yield Progress("k-means", min(done, total), total)
        before = centroids[going]
        new = _moved(before, sums, curvature)
        for restart in (sums[..., 0] == 0).any(1).nonzero()[:, 0]:
            own = nearest(x, before[restart], curvature=curvature)
            gap = _squared(x, before[restart, own], curvature)
            for empty in (sums[restart, :, 0] == 0).nonzero()[:, 0]:
                worst = x[int((w * gap).argmax())]
                new[restart, empty] = worst
                gap = torch.minimum(gap, _squared(x, worst, curvature))
        centroids[going] = new
        sums = _sums(x, w, new, curvature)
        inertia[going] = sums[:, 0, -1]
        goes = (new - before).abs().amax((1, 2)) >= _STILL
        going, sums = going[goes], sums[goes]
        if not len(going):
            break
    return inertia, centroids


def _sums(x: Tensor, w: Tensor, centroids: Tensor, curvature: float | None) -> Tensor:
    """For each restart and cluster its weight, the sums that move it, and (at 0) the inertia."""
    out = _sum_blocks(x.numpy(), w.numpy(), centroids.numpy(), curvature or 0.0)
    return torch.from_numpy(out.sum(1))


@compiled(parallel=True)
def _sum_blocks(
    points: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    centroids: npt.NDArray[np.float64],
    curvature: float,
) -> npt.NDArray[np.float64]:
    """Sums of each block of points, shape (restarts, blocks, k, 1 + 1 + d + 1).

    They are the weight, T and S of `napari_hypseg.geometry.frechet_means` (in R^d the weight again,
    and the weighted differences), and in the first cluster's row the inertia of all.
    """
    (n, d), (restarts, k) = points.shape, centroids.shape[:2]
    blocks = (n + _BLOCK - 1) // _BLOCK
    sums = np.zeros((restarts, blocks, k, 3 + d))
    for part in prange(restarts * blocks):
        r, block = part // blocks, part % blocks
        scale = np.empty(k)
        for j in range(k):
            scale[j] = 1.0 / (1.0 - curvature * np.square(centroids[r, j]).sum())
        for i in range(_BLOCK * block, min(_BLOCK * block + _BLOCK, n)):
            own, score = 0, np.inf
            for j in range(k):
                square = 0.0
                for a in range(d):
                    square += (points[i, a] - centroids[r, j, a]) ** 2
                square *= scale[j]
                if square < score:
                    own, score = j, square
            to = sums[r, block, own]
            to[0] += weights[i]
            if curvature == 0.0:
                sums[r, block, 0, 2 + d] += weights[i] * score
                to[1] += weights[i]
                for a in range(d):
                    to[2 + a] += weights[i] * (points[i, a] - centroids[r, own, a])
                continue
            norm = 0.0
            for a in range(d):
                norm += points[i, a] ** 2
            rim = 1.0 - curvature * norm
            # q = sinh(r / 2)^2, kept off 0 because r / sinh(r) divides by it.
            q = max(curvature * score / rim, 1e-30)
            half_sinh = np.sqrt(q * (q + 1.0))
            dist = np.log1p(2.0 * (q + half_sinh))
            if score > 0.0:
                sums[r, block, 0, 2 + d] += weights[i] * dist * dist / curvature
            ratio = weights[i] * dist / half_sinh
            to[1] += 0.5 * ratio + ratio * q
            for a in range(d):
                here = centroids[r, own, a]
                to[2 + a] += ratio / rim * (points[i, a] - here) - ratio * q * here
    return sums


def _moved(centroids: Tensor, sums: Tensor, curvature: float | None) -> Tensor:
    """Centroids one of Lou's steps on (in R^d, their means)."""
    tiny = torch.finfo(sums.dtype).tiny
    total, direction = sums[..., 1:2], sums[..., 2:-1]
    if not curvature:
        return centroids + direction / total.clamp_min(tiny)
    direction = math.sqrt(curvature) * direction
    norm = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
    root = ((total - norm) * (total + norm)).clamp_min(0.0).sqrt()
    step = direction / (total + root).clamp_min(tiny) / math.sqrt(curvature)
    return mobius_add(centroids, step, c=curvature)
