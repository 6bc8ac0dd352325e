"""Ward's criterion on a graph: merge neighbouring regions of latent points, cheapest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes.compiled import compiled

__all__ = [
    "Merges",
    "Regions",
    "contract_edges",
    "join_regions",
    "merge_costs",
    "merge_regions_job",
    "to_hyperboloid",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int32]

# A region this many times larger hardly feels what joins it ...
_FAR_LARGER = 100
# ... and takes all at once that cost at most so much times its cheapest.
_NEARLY = 1.25


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
        Their Frechet means: some coordinates on the hyperboloid (spatial coordinates), the
        others in Euclidean space.
    weights : array, shape (n,)
        Voxels in each.
    edges : array of int32, shape (m, 2)
        Pairs that touch, the smaller index first, each once.
    heights : array, shape (n,)
        The highest merge inside each; 0 for single ones.
    """

    points: Floats
    weights: Floats
    edges: Indices
    heights: Floats


@dataclass
class Merges:
    """What was merged, in the order of merging.

    Attributes
    ----------
    pairs : array of int32, shape (m, 2)
        Merge i joined these; the result has the number ``n + i``, n being the regions at first.
    heights : array, shape (m,)
        Growth of the sum of squared distances (at least the heights of both parts).
    """

    pairs: Indices
    heights: Floats


# Regions are given by their numbers below: to slice out a point takes as long as a distance.


@compiled()
def _time(points: Floats, region: int, curved: int) -> float:
    """Time coordinate on the hyperboloid."""
    square = 1.0
    for i in range(curved):
        square += points[region, i] * points[region, i]
    return float(np.sqrt(square))


@compiled()
def _squared_curved(points: Floats, a: int, b: int, rise: float, curved: int) -> float:
    """Squared hyperbolic distance of two regions whose time coordinates are ``rise`` apart."""
    gap = 0.0
    for i in range(curved):
        gap += (points[a, i] - points[b, i]) ** 2
    chord = max(gap - rise * rise, 0.0)
    if chord < 1e-2:
        # The series of what stands below, to double precision: neighbours are nearly alike.
        series = 1 / 12 - chord * (1 / 90 - chord * (1 / 560 - chord / 3150))
        return float(chord * (1 - chord * series))
    half = 0.5 * np.sqrt(chord)
    # Their logarithm is arcsinh, in a quarter of its time; it has all digits down to this chord.
    return float((2 * np.log(half + np.sqrt(1 + half * half))) ** 2)


@compiled()
def merge_costs(points: Floats, weights: Floats, edges: Indices, curved: int) -> Floats:
    """What merging the two regions of each edge adds to the sum of squared distances."""
    times = np.array([_time(points, region, curved) for region in range(len(points))])
    out = np.empty(len(edges))
    for e in range(len(edges)):
        a, b = edges[e, 0], edges[e, 1]
        # In the product of hyperbolic and Euclidean space.
        square = _squared_curved(points, a, b, times[a] - times[b], curved) if curved else 0.0
        for i in range(curved, points.shape[1]):
            square += (points[a, i] - points[b, i]) ** 2
        out[e] = weights[a] * weights[b] / (weights[a] + weights[b]) * square
    return out


@compiled()
def _scrambled(number: int) -> int:
    """A number below 2^31 that looks random (a multiplicative hash)."""
    return int((number * 2654435761) & 0xFFFFFFFF) ^ int((number * 40503) >> 7 & 0xFFFF)


@compiled()
def _pick(edges: Indices, costs: Floats, weights: Floats) -> tuple[Indices, Floats]:
    """The merges of a round, as pairs (stays, goes), and their costs.

    First the edges that are the cheapest of both their regions; of equals the one with the least
    scrambled number: where voxels are all alike, by plain number each would wait for the one
    before it. Then small regions join a far larger one at nearly its cheapest cost, though it is
    another's turn: a background with ten thousand specks would else take ten thousand rounds.
    """
    count = len(weights)
    best, least = np.full(count, -1, np.int32), np.full(count, np.inf)
    for e in range(len(edges)):
        for side in range(2):
            region = edges[e, side]
            if costs[e] < least[region] or (
                costs[e] == least[region] and _scrambled(e) < _scrambled(best[region])
            ):
                best[region], least[region] = e, costs[e]
    pairs = np.empty((count, 2), np.int32)
    found = np.empty(count)
    n = 0
    for region in range(count):
        e = best[region]
        if e < 0:
            continue
        other = edges[e, 0] + edges[e, 1] - region
        if best[other] == e:
            if region > other:
                continue
        elif weights[region] * _FAR_LARGER > weights[other] or costs[e] > _NEARLY * least[other]:
            continue
        stays, goes = (region, other) if best[other] == e else (other, region)
        pairs[n, 0], pairs[n, 1], found[n] = stays, goes, costs[e]
        n += 1
    return pairs[:n], found[:n]


@compiled()
def join_regions(
    points: Floats,
    weights: Floats,
    heights: Floats,
    names: Indices,
    pairs: Indices,
    merged: Floats,
    curved: int,
    next_name: int,
) -> Indices:
    """Merge pairs of regions, in place; gives the region that each one went into.

    Pairs of regions become pairs of names, and costs become heights.
    """
    into = np.arange(len(weights), dtype=np.int32)
    for merge in range(len(pairs)):
        a, b = pairs[merge, 0], pairs[merge, 1]
        while into[a] != a:  # what was to stay has gone into another in this round
            a = into[a]
        t = weights[b] / (weights[a] + weights[b])
        here, there = 1 - t, t
        if curved:
            rise = _time(points, a, curved) - _time(points, b, curved)
            gap = np.sqrt(_squared_curved(points, a, b, rise, curved))
            if gap > 1e-7:  # below, a geodesic is a straight line to double precision
                here, there = np.sinh((1 - t) * gap) / np.sinh(gap), np.sinh(t * gap) / np.sinh(gap)
        # The Frechet mean of two weighted points lies on their geodesic.
        for i in range(curved):
            points[a, i] = here * points[a, i] + there * points[b, i]
        for i in range(curved, points.shape[1]):
            points[a, i] = (1 - t) * points[a, i] + t * points[b, i]
        weights[a] += weights[b]
        heights[a] = merged[merge] = max(merged[merge], heights[a], heights[b])
        pairs[merge, 0], pairs[merge, 1] = names[a], names[b]
        names[a] = next_name + merge
        into[b] = a
    for region in range(len(into)):
        while into[region] != into[into[region]]:
            into[region] = into[into[region]]
    return into


def merge_regions_job(
    regions: Regions, until: int, *, curved: int
) -> Job[tuple[Regions, Merges, Indices]]:
    """Merge touching regions by Ward's criterion until so many are left.

    Merging A and B costs ``w_A w_B / (w_A + w_B) d(m_A, m_B)^2``, d being the distance of the space
    and m the Frechet mean of a region (of the two means, at every merge). In each round
    all pairs that are each other's cheapest neighbour merge at once (and small regions join a far
    larger one together): few rounds in place of one merge at a time. Where all regions of R^d
    touch, plain Ward makes the same merges in another order. On a sparse graph a merge may let
    regions touch that are more alike than the two just merged: there the order matters a little,
    and heights are kept from falling.

    Parameters
    ----------
    regions : Regions
        What to start from; changed in place: hand it over and keep no name for it.
    until : int
        Regions to leave. More are left where nothing touches any more.
    curved : int
        So many first coordinates are those of the hyperboloid, the rest are Euclidean: the points
        lie in the product of the two spaces.

    Returns
    -------
    regions : Regions
        Those left.
    merges : Merges
        All merges made.
    number : array of int32
        For each region left, its number among those at first (below n) and the merges (n + i).
    """
    points, weights, heights = regions.points, regions.weights, regions.heights
    edges, first = regions.edges, len(regions.weights)
    names = np.arange(first, dtype=np.int32)
    del regions  # its arrays shrink from round to round only if nothing else holds them
    all_pairs, all_heights, made = [], [], 0
    while len(edges) and len(weights) > until:
        count = len(weights)
        yield Progress("merging regions", first - count, first - until)
        costs = merge_costs(points, weights, edges, curved)
        yield Progress("merging regions", first - count, first - until)
        pairs, merged = _pick(edges, costs, weights)
        # The last round must not take more than is asked, and then the cheapest.
        order = np.argsort(merged, kind="stable")[: count - until]
        pairs, merged = pairs[order], merged[order]
        into = join_regions(points, weights, heights, names, pairs, merged, curved, first + made)
        made += len(order)
        del costs, order
        all_pairs.append(pairs)
        all_heights.append(merged)
        kept = np.flatnonzero(into == np.arange(count))
        new = np.empty(count, np.int32)
        new[kept] = np.arange(len(kept))
        points, weights, heights, names = points[kept], weights[kept], heights[kept], names[kept]
        yield Progress("merging regions", first - len(kept), first - until)
        edges = contract_edges(edges, new[into], len(kept))
    merges = Merges(
        np.concatenate(all_pairs) if all_pairs else np.empty((0, 2), np.int32),
        np.concatenate(all_heights) if all_heights else np.empty(0),
    )
    return Regions(points, weights, edges, heights), merges, names


@compiled()
def contract_edges(edges: Indices, new: Indices, count: int) -> Indices:
    """Edges after regions were renumbered: each once, smaller index first, in ascending order.

    Parameters
    ----------
    edges : array of int32, shape (m, 2)
        Pairs of regions.
    new : array of int32, shape (n,)
        New number of each region, below ``count``; an edge within one region is dropped.
    count : int
        Regions left.

    Returns
    -------
    array of int32, shape (at most m, 2)
    """
    # A counting sort by the larger number, then by the smaller; equal edges then come together.
    ends = np.zeros(count + 1, np.int32)
    for e in range(len(edges)):
        a, b = new[edges[e, 0]], new[edges[e, 1]]
        if a != b:
            ends[max(a, b) + 1] += 1
    for i in range(count):
        ends[i + 1] += ends[i]
    lows = np.empty(ends[count], np.int32)
    starts = ends[:-1].copy()
    for e in range(len(edges)):
        a, b = new[edges[e, 0]], new[edges[e, 1]]
        if a != b:
            high = max(a, b)
            lows[starts[high]] = min(a, b)
            starts[high] += 1
    last = np.full(count, -1, np.int32)
    places = np.zeros(count + 1, np.int32)
    for high in range(count):
        for i in range(ends[high], ends[high + 1]):
            if last[lows[i]] != high:
                last[lows[i]] = high
                places[lows[i] + 1] += 1
    for i in range(count):
        places[i + 1] += places[i]
    out = np.empty((places[count], 2), np.int32)
    last[:] = -1
    for high in range(count):
        for i in range(ends[high], ends[high + 1]):
            low = lows[i]
            if last[low] != high:
                last[low] = high
                out[places[low], 0], out[places[low], 1] = low, high
                places[low] += 1
    return out
