"""Ward's criterion on a graph: merge neighbouring regions of latent points, cheapest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from napari_hypseg.jobs import Job, Progress

__all__ = ["Merges", "Regions", "merge_regions_job", "to_hyperboloid", "unique_edges"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def to_hyperboloid(points: npt.NDArray[np.floating], curvature: float) -> Floats:
    """Spatial coordinates on the unit hyperboloid of points of the ball, shape (n, d).

    There a point of a geodesic is a weighted sum of its ends, and distances near the rim keep
    their digits.
    """
    x = np.sqrt(curvature) * np.asarray(points, dtype=np.float64)
    lifted: Floats = 2 * x / (1 - np.square(x).sum(-1, keepdims=True))
    return lifted


@dataclass
class Regions:
    """Regions that still stand, and which of them touch.

    Attributes
    ----------
    points : array, shape (n, d)
        Their Frechet means: on the hyperboloid (spatial coordinates), or in R^d.
    weights : array, shape (n,)
        Voxels in each.
    edges : array of int64, shape (m, 2)
        Pairs that touch, the smaller index first, each once.
    heights : array, shape (n,)
        The highest merge inside each; 0 for single ones.
    """

    points: Floats
    weights: Floats
    edges: Ints
    heights: Floats


@dataclass
class Merges:
    """What was merged, in the order of merging.

    Attributes
    ----------
    pairs : array of int64, shape (m, 2)
        Merge i joined these; the result has the number ``n + i``, n being the regions at first.
    heights : array, shape (m,)
        Growth of the sum of squared distances (at least the heights of both parts).
    """

    pairs: Ints
    heights: Floats


@njit(cache=True)
def _squared(p: Floats, q: Floats, hyperbolic: bool) -> float:
    """Squared distance of two points."""
    gap, pp, qq = 0.0, 1.0, 1.0
    for i in range(len(p)):
        gap += (p[i] - q[i]) ** 2
        pp += p[i] * p[i]
        qq += q[i] * q[i]
    if not hyperbolic:
        return gap
    time = np.sqrt(pp) - np.sqrt(qq)
    return float((2 * np.arcsinh(0.5 * np.sqrt(max(gap - time * time, 0.0)))) ** 2)


@njit(parallel=True, cache=True)
def _costs(points: Floats, weights: Floats, edges: Ints, hyperbolic: bool) -> Floats:
    out = np.empty(len(edges))
    for e in prange(len(edges)):
        a, b = edges[e, 0], edges[e, 1]
        share = weights[a] * weights[b] / (weights[a] + weights[b])
        out[e] = share * _squared(points[a], points[b], hyperbolic)
    return out


@njit(cache=True)
def _cheapest(edges: Ints, costs: Floats, count: int) -> Ints:
    """The cheapest edge of every region (the first of equals); -1 without one."""
    best = np.full(count, -1, np.int64)
    for e in range(len(edges)):
        for side in range(2):
            region = edges[e, side]
            if best[region] < 0 or costs[e] < costs[best[region]]:
                best[region] = e
    return best


@njit(cache=True)
def _join(
    points: Floats,
    weights: Floats,
    heights: Floats,
    names: Ints,
    edges: Ints,
    costs: Floats,
    best: Ints,
    order: Ints,
    most: int,
    hyperbolic: bool,
    next_name: int,
    pairs: Ints,
    merged: Floats,
) -> tuple[int, Ints]:
    """Merge every pair whose cheapest edges are each other's; at most ``most`` pairs."""
    into = np.arange(len(weights))
    count = 0
    for e in order:
        a, b = edges[e, 0], edges[e, 1]
        if count == most or best[a] != e or best[b] != e:
            continue
        t = weights[b] / (weights[a] + weights[b])
        here, there = 1 - t, t
        if hyperbolic:
            gap = np.sqrt(_squared(points[a], points[b], True))
            if gap > 1e-7:  # below, a geodesic is a straight line to double precision
                here, there = np.sinh((1 - t) * gap) / np.sinh(gap), np.sinh(t * gap) / np.sinh(gap)
        # The Frechet mean of two weighted points lies on their geodesic.
        for i in range(points.shape[1]):
            points[a, i] = here * points[a, i] + there * points[b, i]
        weights[a] += weights[b]
        heights[a] = max(costs[e], heights[a], heights[b])
        pairs[count, 0], pairs[count, 1], merged[count] = names[a], names[b], heights[a]
        names[a] = next_name + count
        into[b] = a
        count += 1
    return count, into


def merge_regions_job(
    regions: Regions, until: int, *, hyperbolic: bool
) -> Job[tuple[Regions, Merges, Ints]]:
    """Merge touching regions by Ward's criterion until so many are left.

    Merging A and B costs ``w_A w_B / (w_A + w_B) d(m_A, m_B)^2``, d being the latent space's own
    distance and m the Frechet mean of a region (of the two means, at every merge). In each round
    all pairs that are each other's cheapest neighbour merge at once: pairs that plain Ward would
    merge too, only later or earlier, and few rounds in place of one merge at a time.

    Parameters
    ----------
    regions : Regions
        What to start from; changed in place, do not use it afterwards.
    until : int
        Regions to leave. More are left where nothing touches any more.
    hyperbolic : bool
        Points are on the hyperboloid, or in R^d.

    Returns
    -------
    regions : Regions
        Those left.
    merges : Merges
        All merges made.
    number : array of int64
        For each region left, its number among those at first (below n) and the merges (n + i).
    """
    points, weights, heights = regions.points, regions.weights, regions.heights
    edges, first = regions.edges, len(regions.weights)
    names = np.arange(first)
    all_pairs, all_heights, made = [], [], 0
    while len(edges) and len(weights) > until:
        count = len(weights)
        yield Progress("merging regions", first - count, first - until)
        costs = _costs(points, weights, edges, hyperbolic)
        best = _cheapest(edges, costs, count)
        mutual = np.flatnonzero((best[edges] == np.arange(len(edges))[:, None]).all(1))
        # The last round must not take more than is asked, and then the cheapest.
        order = mutual[np.argsort(costs[mutual], kind="stable")]
        pairs, merged = np.empty((len(order), 2), np.int64), np.empty(len(order))
        joined, into = _join(
            points, weights, heights, names, edges, costs, best, order, count - until,
            hyperbolic, first + made, pairs, merged,
        )  # fmt: skip
        made += joined
        all_pairs.append(pairs[:joined])
        all_heights.append(merged[:joined])
        kept = np.flatnonzero(into == np.arange(count))
        new = np.empty(count, np.int64)
        new[kept] = np.arange(len(kept))
        new = new[into]
        points, weights, heights, names = points[kept], weights[kept], heights[kept], names[kept]
        edges = unique_edges(new[edges], len(kept))
    merges = Merges(
        np.concatenate(all_pairs) if all_pairs else np.empty((0, 2), np.int64),
        np.concatenate(all_heights) if all_heights else np.empty(0),
    )
    return Regions(points, weights, edges, heights), merges, names


def unique_edges(edges: Ints, count: int) -> Ints:
    """Each pair of different regions once, the smaller index first."""
    low, high = edges.min(1), edges.max(1)
    keys = np.unique((low * count + high)[low != high])
    return np.stack([keys // count, keys % count], axis=1)
