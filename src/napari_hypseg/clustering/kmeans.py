"""k-means in the Poincare ball, and its Euclidean twin, on weighted points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit, prange
from torch import Tensor

from napari_hypseg.geometry import distance, mobius_add
from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.training.devices import match_numba_threads

__all__ = ["KMeans", "count_distinct", "hyperbolic_kmeans", "hyperbolic_kmeans_job", "nearest"]

# In the plane, restarts on so many points are tried on a grid's cells, where one cluster has at
# least so many of them, until a round lowers the inertia by less than this fraction; the best is
# refined with all points for so many rounds.
_MANY = 50_000
_GRID = 256
_FULL = 20
_SLOW = 3e-5
_LAST_ROUNDS = 2
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
    coordinates = centroids.T.contiguous()
    return torch.from_numpy(
        _nearest(points.contiguous().numpy(), coordinates.numpy(), scale.numpy())
    )


@njit(parallel=True, nogil=True, cache=True)
def _nearest(
    points: npt.NDArray[np.floating],
    coordinates: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    n, (d, k) = len(points), coordinates.shape
    found = np.empty(n, np.int64)
    for block in prange((n + 255) // 256):
        score = np.empty(k)
        for i in range(256 * block, min(256 * block + 256, n)):
            score[:] = 0.0
            for j in range(d):
                for c in range(k):
                    gap = points[i, j] - coordinates[j, c]
                    score[c] += gap * gap
            least = 0
            for c in range(k):
                score[c] *= scale[c]
                if score[c] < score[least]:
                    least = c
            found[i] = least
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
    and takes one of Lou's steps towards the means; the rounds end when both are at rest. More than
    50,000 points of the plane are binned for the restarts; the best one goes on with all points.

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
    generator = torch.Generator().manual_seed(seed)
    total = n_init * max_iter
    tried_x, tried_w = x, w
    if x.shape[1] == 2 and len(x) > _MANY:
        cells_x, cells_w = _binned(x, w)
        if len(cells_x) >= _FULL * k:
            tried_x, tried_w = cells_x, cells_w
    found = []
    for done in range(0, total, max_iter):
        progress = Progress("k-means", done, total)
        start = yield from _draw_job(tried_x, tried_w, k, generator, progress, curvature)
        rounds = range(done, done + max_iter)
        job = _lloyd_job(
            tried_x, tried_w, start, rounds, total, curvature, 0.0 if tried_x is x else _SLOW
        )
        found.append((yield from job))
    inertia, centroids, labels = min(found, key=lambda restart: restart[0])
    if tried_x is not x:
        rounds = range(total, total + _LAST_ROUNDS)
        job = _lloyd_job(x, w, centroids, rounds, total, curvature, _SLOW)
        inertia, centroids, labels = yield from job
    yield Progress("k-means", total, total)
    mass = torch.zeros(k, dtype=torch.float64).index_add_(0, labels, w)
    order = mass.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(k)
    return KMeans(centroids[order].numpy(), rank[labels].numpy(), inertia)


def _binned(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted means of the points in each cell of a grid over the plane."""
    low, high = x.amin(0), x.amax(0)
    step = float((high - low).max()) / _GRID
    sums = _sum_cells(x.numpy(), w.numpy(), low.numpy(), 1 / step if step else 0.0, _GRID)
    sums = sums[sums[:, 0] > 0]
    return torch.from_numpy(sums[:, 1:] / sums[:, :1]), torch.from_numpy(sums[:, 0].copy())


@njit(nogil=True, cache=True)
def _sum_cells(
    points: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    scale: float,
    side: int,
) -> npt.NDArray[np.float64]:
    """Weight, and weighted sum of points, of each cell, shape (side^2, 3)."""
    sums = np.zeros((side * side, 3))
    for i in range(len(points)):
        row = min(int((points[i, 0] - low[0]) * scale), side - 1)
        column = min(int((points[i, 1] - low[1]) * scale), side - 1)
        cell = sums[row * side + column]
        cell[0] += weights[i]
        cell[1] += weights[i] * points[i, 0]
        cell[2] += weights[i] * points[i, 1]
    return sums


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
    x: Tensor,
    w: Tensor,
    k: int,
    generator: torch.Generator,
    progress: Progress,
    curvature: float | None,
) -> Job[Tensor]:
    """Draw starts: each with probability weight times squared distance to those before."""
    gap = torch.ones_like(w)
    drawn: list[Tensor] = []
    while len(drawn) < k:
        yield progress
        cumulated = (w * gap).cumsum(0)
        u = torch.rand(1, generator=generator, dtype=torch.float64) * cumulated[-1]
        # The last point with any probability, should rounding carry the draw past the end.
        point = x[int(torch.searchsorted(cumulated, u, right=True).clamp_max(len(x) - 1))]
        apart = _squared(x, point, curvature)
        gap = torch.minimum(gap, apart) if drawn else apart
        drawn.append(point)
    return torch.stack(drawn)


def _lloyd_job(
    x: Tensor,
    w: Tensor,
    centroids: Tensor,
    rounds: range,
    total: int,
    curvature: float | None,
    slow: float = 0.0,
) -> Job[tuple[float, Tensor, Tensor]]:
    """Inertia, centroids and labels after at most so many of all ``total`` rounds.

    The rounds end when all is at rest, or a round lowers the inertia by a fraction below ``slow``.
    """
    labels, gap, sums = _round(x, w, centroids, curvature)
    inertia = float(w @ gap)
    for done in rounds:
        yield Progress("k-means", min(done, total), total)
        new = _moved(centroids, sums, curvature)
        for empty in (sums[:, 0] == 0).nonzero()[:, 0]:
            worst = x[int((w * gap).argmax())]
            new[empty] = worst
            gap = torch.minimum(gap, _squared(x, worst, curvature))
        step = float((new - centroids).abs().max())
        centroids = new
        before, last = labels, inertia
        labels, gap, sums = _round(x, w, centroids, curvature)
        inertia = float(w @ gap)
        if (step < _STILL and torch.equal(before, labels)) or last - inertia < slow * last:
            break
    return inertia, centroids, labels


def _round(
    x: Tensor, w: Tensor, centroids: Tensor, curvature: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels, squared distances to the centroids, and the sums that move them."""
    match_numba_threads()
    c = curvature or 0.0
    labels, gap, sums = _assign(
        x.contiguous().numpy(), w.numpy(), centroids.contiguous().numpy(), c
    )
    return torch.from_numpy(labels), torch.from_numpy(gap), torch.from_numpy(sums.sum(0))


@njit(parallel=True, nogil=True, cache=True)
def _assign(
    points: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    centroids: npt.NDArray[np.float64],
    curvature: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """One pass: the nearest centroids, squared distances, and sums for each block and centroid.

    The sums are the weight, and T and S of `napari_hypseg.geometry.frechet_means` (in R^d the
    weight again, and the weighted differences).
    """
    (n, d), k = points.shape, len(centroids)
    labels, squares = np.empty(n, np.int64), np.empty(n)
    blocks = (n + 4095) // 4096
    sums = np.zeros((blocks, k, 2 + d))
    rim = np.empty(k)
    for j in range(k):
        rim[j] = 1.0 - curvature * np.square(centroids[j]).sum()
    for block in prange(blocks):
        for i in range(4096 * block, min(4096 * block + 4096, n)):
            best, nearest_one, apart = np.inf, 0, 0.0
            for j in range(k):
                square = 0.0
                for a in range(d):
                    square += (points[i, a] - centroids[j, a]) ** 2
                if square < best * rim[j]:
                    best, nearest_one, apart = square / rim[j], j, square
            labels[i] = nearest_one
            to = sums[block, nearest_one]
            to[0] += weights[i]
            if curvature == 0.0:
                squares[i] = apart
                to[1] += weights[i]
                for a in range(d):
                    to[2 + a] += weights[i] * (points[i, a] - centroids[nearest_one, a])
                continue
            norm = 0.0
            for a in range(d):
                norm += points[i, a] ** 2
            gap = 1.0 - curvature * norm
            # q = sinh(r / 2)^2, kept off 0 because r / sinh(r) divides by it.
            q = max(curvature * apart / (gap * rim[nearest_one]), 1e-30)
            half_sinh = np.sqrt(q * (q + 1.0))
            r = np.log1p(2.0 * (q + half_sinh))
            squares[i] = r * r / curvature if apart > 0.0 else 0.0
            ratio = weights[i] * r / half_sinh
            to[1] += 0.5 * ratio + ratio * q
            for a in range(d):
                here = centroids[nearest_one, a]
                to[2 + a] += ratio / gap * (points[i, a] - here) - ratio * q * here
    return labels, squares, sums


def _moved(centroids: Tensor, sums: Tensor, curvature: float | None) -> Tensor:
    """Centroids one of Lou's steps nearer to their means (at them, in R^d)."""
    tiny = torch.finfo(sums.dtype).tiny
    total, direction = sums[:, 1:2], sums[:, 2:]
    if not curvature:
        return centroids + direction / total.clamp_min(tiny)
    direction = math.sqrt(curvature) * direction
    norm = torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
    root = ((total - norm) * (total + norm)).clamp_min(0.0).sqrt()
    step = direction / (total + root).clamp_min(tiny) / math.sqrt(curvature)
    return mobius_add(centroids, step, c=curvature)
