"""k-means in the Poincare ball, and its Euclidean twin, on weighted points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_hypseg.geometry import distance, frechet_means

__all__ = ["KMeans", "hyperbolic_kmeans", "nearest"]

# Points in one block of distances.
_BLOCK = 1 << 16


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
    """Index of the nearest centroid of each point, at the cost of a matrix product.

    For a given point x the distance to c grows with ``|x - c|^2 / (1 - curvature |c|^2)``, which
    is linear in ``(|x|^2, x, 1)``: no division and no inverse cosine a point.

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
    square = centroids.square().sum(1)
    scale = 1 / (1 - curvature * square) if curvature else torch.ones_like(square)
    # In the points' own type, but from float64: k rows cost nothing.
    along = (-2 * scale[:, None] * centroids).to(points.dtype)
    constant, scale = (scale * square).to(points.dtype), scale.to(points.dtype)
    found = torch.empty(len(points), dtype=torch.int64, device=points.device)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        score = torch.addmm(constant, block, along.T)
        if curvature:
            score.addmm_(block.square().sum(1, keepdim=True), scale[None])
        found[start : start + _BLOCK] = score.argmin(1)
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
        How often each point counts.
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
        If there are fewer distinct points than clusters, or a point lies outside the ball.

    Notes
    -----
    Hsu et al. 2021 (NeurIPS), section 3.3; means after Lou et al. 2020.

    Examples
    --------
    >>> points = [[0.5, 0.0], [0.6, 0.0], [-0.5, 0.1]]
    >>> hyperbolic_kmeans(points, 2).labels.tolist()
    [0, 0, 1]
    """
    x = torch.as_tensor(np.asarray(points), dtype=torch.float64)
    w = torch.ones(len(x), dtype=torch.float64)
    if weights is not None:
        w = torch.as_tensor(np.asarray(weights), dtype=torch.float64)
    if curvature and bool((curvature * x.square().sum(1) >= 1).any()):
        raise ValueError("a point lies outside the Poincare ball")
    distinct = len(torch.unique(x[:, 0])) if len(x) > k else 0
    if distinct < k and len(torch.unique(x, dim=0)) < k:
        raise ValueError(f"can't make {k} clusters of fewer distinct points")
    generator = torch.Generator().manual_seed(seed)
    best: tuple[float, Tensor, Tensor] | None = None
    for _ in range(n_init):
        centroids, labels, inertia = _restart(x, w, k, generator, max_iter, curvature)
        if best is None or inertia < best[0]:
            best = inertia, centroids, labels
    if best is None:
        raise ValueError(f"k-means needs at least 1 restart, not {n_init}")
    inertia, centroids, labels = best
    mass = torch.zeros(k, dtype=torch.float64).index_add_(0, labels, w)
    order = mass.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(k)
    return KMeans(centroids[order].numpy(), rank[labels].numpy(), inertia)


def _squared(x: Tensor, y: Tensor, curvature: float | None) -> Tensor:
    if curvature:
        return distance(x, y, c=curvature).square()
    return (x - y).square().sum(-1)


def _plus_plus(
    x: Tensor, w: Tensor, k: int, generator: torch.Generator, curvature: float | None
) -> Tensor:
    """First centroids: each drawn with probability weight times squared distance to the others."""
    first = torch.multinomial(w / w.sum(), 1, generator=generator)
    chosen = [x[first[0]]]
    gap = _squared(x, chosen[0], curvature)
    for _ in range(k - 1):
        cumulated = (w * gap).cumsum(0)
        u = torch.rand(1, generator=generator, dtype=torch.float64) * cumulated[-1]
        # The last point with any probability, should rounding carry the draw past the end.
        index = int(torch.searchsorted(cumulated, u, right=True).clamp_max(len(x) - 1))
        chosen.append(x[index])
        gap = torch.minimum(gap, _squared(x, chosen[-1], curvature))
    return torch.stack(chosen)


def _restart(
    x: Tensor,
    w: Tensor,
    k: int,
    generator: torch.Generator,
    max_iter: int,
    curvature: float | None,
) -> tuple[Tensor, Tensor, float]:
    centroids = _plus_plus(x, w, k, generator, curvature)
    labels = nearest(x, centroids, curvature=curvature)
    for _ in range(max_iter):
        centroids = _means(x, w, labels, centroids, curvature)
        gap = _squared(x, centroids[labels], curvature)
        for empty in (torch.bincount(labels, minlength=k) == 0).nonzero()[:, 0]:
            worst = int((w * gap).argmax())
            centroids[empty], gap[worst] = x[worst], 0.0
        moved = nearest(x, centroids, curvature=curvature)
        if torch.equal(moved, labels):
            break
        labels = moved
    inertia = float((w * _squared(x, centroids[labels], curvature)).sum())
    return centroids, labels, inertia


def _means(x: Tensor, w: Tensor, labels: Tensor, start: Tensor, curvature: float | None) -> Tensor:
    k = len(start)
    if curvature:
        # The last round's means are so near that a few of Lou's steps reach the new ones.
        return frechet_means(x, labels, k, w, c=curvature, start=start, tol=1e-8, max_iter=10)
    mass = torch.zeros(k, dtype=x.dtype).index_add_(0, labels, w)
    total = torch.zeros_like(start).index_add_(0, labels, w[:, None] * x)
    return torch.where(mass[:, None] > 0, total / mass[:, None].clamp_min(1e-300), start)
