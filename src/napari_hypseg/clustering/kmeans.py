"""k-means in the Poincare ball, and its Euclidean twin, on weighted points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numba import njit, prange
from torch import Tensor

from napari_hypseg.geometry import distance, frechet_means
from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.training.devices import match_numba_threads

__all__ = ["KMeans", "count_distinct", "hyperbolic_kmeans", "hyperbolic_kmeans_job", "nearest"]


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
    put on the point that is worst off. The computation is in float64.

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
    found = []
    for done in range(0, total, max_iter):
        progress = Progress("k-means", done, total)
        start = yield from _draw_job(x, w, k, generator, progress, curvature)
        rounds = range(done, done + max_iter)
        found.append((yield from _lloyd_job(x, w, start, rounds, total, curvature)))
    yield Progress("k-means", total, total)
    inertia, centroids, labels = min(found, key=lambda restart: restart[0])
    mass = torch.zeros(k, dtype=torch.float64).index_add_(0, labels, w)
    order = mass.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(k)
    return KMeans(centroids[order].numpy(), rank[labels].numpy(), inertia)


def count_distinct(points: Tensor, most: int) -> int:
    """How many of the points differ, counted no further than ``most``."""
    # Nearly always the first coordinate tells, and sorting numbers is faster than sorting points.
    found = len(torch.unique(points[:, 0]))
    return min(most, found if found >= most else len(torch.unique(points, dim=0)))


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
) -> Job[tuple[float, Tensor, Tensor]]:
    """Inertia, centroids and labels after at most so many of all ``total`` rounds."""
    k = len(centroids)
    labels = nearest(x, centroids, curvature=curvature)
    # A few of Lou's steps from the last round's mean do, until labels no longer change.
    settled = False
    for done in rounds:
        yield Progress("k-means", done, total)
        centroids = _means(x, w, labels, centroids, 100 if settled else 10, curvature)
        gap = _squared(x, centroids[labels], curvature)
        for empty in (torch.bincount(labels, minlength=k) == 0).nonzero()[:, 0]:
            worst = x[int((w * gap).argmax())]
            centroids[empty] = worst
            gap = torch.minimum(gap, _squared(x, worst, curvature))
        moved = nearest(x, centroids, curvature=curvature)
        if torch.equal(moved, labels):
            if settled:
                break
            settled = True
        labels = moved
    inertia = float((w * _squared(x, centroids[labels], curvature)).sum())
    return inertia, centroids, labels


def _means(
    x: Tensor, w: Tensor, labels: Tensor, start: Tensor, steps: int, curvature: float | None
) -> Tensor:
    k = len(start)
    if curvature:
        return frechet_means(x, labels, k, w, c=curvature, start=start, max_iter=steps)
    mass = torch.zeros(k, dtype=x.dtype).index_add_(0, labels, w)
    total = torch.zeros_like(start).index_add_(0, labels, w[:, None] * x)
    return torch.where(mass[:, None] > 0, total / mass[:, None].clamp_min(1e-300), start)
