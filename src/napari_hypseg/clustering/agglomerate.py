"""The top of the tree of the volume: some regions, merged by what their borders are worth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from napari_hypseg.clustering.ward import (
    Floats,
    Indices,
    Merges,
    Regions,
    join_regions,
    merge_costs,
)
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes.compiled import compiled

__all__ = ["Counts", "contacts_job", "merge_borders_job"]

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[np.unsignedinteger]

# A region fewer is worth so many faces of border: the square of how many are left, by this.
_PRICE = 800
# Costs count by this power: in full, thin sheets, whose border is all they are, go too early; not
# at all (Ward's criterion), small things do.
_POWER = 2 / 3


def contacts_job(slabs: Iterable[Labels], planes: int, count: int) -> Job[Counts]:
    """Area of contact of each two regions in voxel faces, shape (count, count).

    On the diagonal stands a region's area on the faces of the volume, so that a row's sum is the
    region's surface.

    Parameters
    ----------
    slabs : iterable of array of unsigned int, each shape (some, y, x)
        The region of each voxel, some planes after others.
    planes : int
        How many these are together.
    count : int
        How many regions there are.
    """
    areas, done = np.zeros((count, count), np.int64), 0
    last: Labels | None = None
    for labels in slabs:
        yield Progress("measuring borders", done, planes)
        _add_faces(labels[:-1], labels[1:], areas)
        _add_faces(labels[:, :-1], labels[:, 1:], areas)
        _add_faces(labels[:, :, :-1], labels[:, :, 1:], areas)
        outer = [labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]]
        if last is None:
            outer.append(labels[0])
        else:
            _add_faces(last[None], labels[:1], areas)
        done, last = done + len(labels), labels[-1].copy()
        if done == planes:
            outer.append(last)
        for face in outer:
            areas += np.diag(np.bincount(face.ravel(), minlength=count))
    return areas


@compiled()
def _add_faces(here: Labels, there: Labels, areas: Counts) -> None:
    """Count the faces between voxels and those that lie behind them."""
    nz, ny, nx = here.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a, b = here[z, y, x], there[z, y, x]
                if a != b:
                    areas[a, b] += 1
                    areas[b, a] += 1


def merge_borders_job(regions: Regions, contacts: Counts, *, curved: int) -> Job[Merges]:
    """Merge regions until one is left, those first that are worth the least for their border.

    What keeping two regions apart is worth is what merging them would add to the sum of squared
    distances (Ward's criterion, see `merge_regions_job`). What it costs is their border's area and,
    as in a description that is to be short, one region more: n^2 / 800 faces where n are left. The
    pair with the least

        worth / (area + n^2 / 800)^(2/3)

    goes first: so a texture's waves go before small things that stand out. Two regions may merge if
    they touch, or if both lie in the same third one, with more than half of their surface: so
    things of a kind, such as the ribosomes of a cell, can become one, and there is no border to
    count.

    Parameters
    ----------
    regions : Regions
        What to start from; changed in place. Its edges are not looked at.
    contacts : array of int64, shape (n, n)
        See `contacts_job`; changed in place.
    curved : int
        See `merge_regions_job`.

    Returns
    -------
    Merges
        All n - 1 merges in their order; heights are Ward's, kept from falling from one merge to the
        next.

    References
    ----------
    Koepfler, Lopez and Morel, "A multiscale algorithm for image segmentation by variational
    method", SIAM J. Numer. Anal. 31, 1994: Mumford and Shah's energy, whose borders count by area.
    Delong et al., "Fast approximate energy minimization with label costs", Int. J. Comput. Vis. 96,
    2012: a price for each region, wherever its parts lie.
    """
    n = len(regions.weights)
    points, weights, heights = regions.points, regions.weights, regions.heights
    names, left = np.arange(n, dtype=np.int32), np.arange(n, dtype=np.int32)
    worth = np.full((n, n), np.inf)
    pairs = np.stack(np.triu_indices(n, 1), 1).astype(np.int32)
    _fill(worth, pairs, merge_costs(points, weights, pairs, curved))
    all_pairs, all_heights = np.empty((n - 1, 2), np.int32), np.empty(n - 1)
    for merge in range(n - 1):
        yield Progress("merging the last regions", merge, n - 1)
        pair = _next_pair(left, worth, contacts)
        stays, goes = pair[0]
        cost = worth[stays, goes : goes + 1].copy()
        join_regions(points, weights, heights, names, pair, cost, curved, n + merge)
        all_pairs[merge], all_heights[merge] = pair[0], cost[0]
        left = left[left != goes]
        within = contacts[goes, goes] + contacts[stays, stays]
        contacts[stays] += contacts[goes]
        contacts[:, stays] = contacts[stays]
        contacts[stays, stays] = within
        others = left[left != stays]
        pairs = np.stack([np.full_like(others, stays), others], 1)
        _fill(worth, pairs, merge_costs(points, weights, pairs, curved))
    return Merges(all_pairs, np.maximum.accumulate(all_heights))


def _fill(matrix: Floats, pairs: Indices, values: Floats) -> None:
    """Set the entries of pairs in a symmetric matrix."""
    matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = values


@compiled()
def _next_pair(left: Indices, worth: Floats, contacts: Counts) -> Indices:
    """Which two merge next, shape (1, 2), the smaller number first."""
    n = len(left)
    holder = _holders(left, contacts)
    out, least = np.empty((1, 2), np.int32), np.inf
    for i in range(n):
        for j in range(i + 1, n):
            a, b = left[i], left[j]
            area = contacts[a, b]
            if not area and (holder[i] < 0 or holder[i] != holder[j]):
                continue
            value = worth[a, b] / (area + n * n / _PRICE) ** _POWER
            if value < least:
                least, out[0, 0], out[0, 1] = value, a, b
    return out


@compiled()
def _holders(left: Indices, contacts: Counts) -> Indices:
    """Which region each one lies in, with more than half of its surface, by places in ``left``.

    -1 is none; two that lie in each other lie in none.
    """
    n = len(left)
    around = np.full(n, -1, np.int32)
    for i in range(n):
        surface = contacts[left[i]][left].sum()
        for j in range(n):
            if j != i and 2 * contacts[left[i], left[j]] > surface:
                around[i] = j
    holder = around.copy()
    for i in range(n):
        if around[i] >= 0 and around[around[i]] == i:
            holder[i] = -1
    return holder
