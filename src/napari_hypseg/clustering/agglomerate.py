"""The top of the tree of the volume: a few regions, merged by what their borders are worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from napari_hypseg.clustering.ward import Merges, Regions, join_regions, merge_costs
from napari_hypseg.jobs import Job, Progress

__all__ = ["contacts_job", "merge_leaves_job"]

Counts = npt.NDArray[np.int64]

# Regions that are left to Ward's criterion.
_COARSE = 8
# Planes between two reports of progress.
_PLANES = 16


def contacts_job(labels: npt.NDArray[np.uint8], count: int) -> Job[Counts]:
    """Area of contact of each two regions, in voxel faces, shape (count, count)."""
    areas = np.zeros((count, count), np.int64)
    for start in range(0, len(labels), _PLANES):
        yield Progress("measuring borders", start, len(labels))
        _add_contacts(labels, areas, start, min(start + _PLANES, len(labels)))
    return areas


@njit(nogil=True, cache=True)
def _add_contacts(labels: npt.NDArray[np.uint8], areas: Counts, start: int, stop: int) -> None:
    nz, ny, nx = labels.shape
    for z in range(start, stop):
        for y in range(ny):
            for x in range(nx):
                here = labels[z, y, x]
                for axis in range(3):
                    there = here
                    if axis == 0 and z + 1 < nz:
                        there = labels[z + 1, y, x]
                    elif axis == 1 and y + 1 < ny:
                        there = labels[z, y + 1, x]
                    elif axis == 2 and x + 1 < nx:
                        there = labels[z, y, x + 1]
                    if there != here:
                        areas[here, there] += 1
                        areas[there, here] += 1


def merge_leaves_job(regions: Regions, contacts: Counts, *, curved: int) -> Job[Merges]:
    """Merge regions that touch until one is left.

    A border saves what merging its two regions would add to the sum of squared distances (Ward's
    criterion, see `merge_regions_job`). The one that saves the least for its area goes first: so
    a texture's waves go before small things that stand out. But then a faint cell would go before
    the bright things that it holds: the last 8 regions merge by Ward's criterion alone, which
    counts voxels.

    Parameters
    ----------
    regions : Regions
        What to start from; changed in place. Its edges are not looked at.
    contacts : array of int64, shape (n, n)
        Area of contact of each two of them; changed in place.
    curved : int
        See `merge_regions_job`.

    Returns
    -------
    Merges
        All n - 1 merges; heights are Ward's, kept from falling from one merge to the next.

    References
    ----------
    Koepfler, Lopez and Morel, "A multiscale algorithm for image segmentation by variational
    method", SIAM J. Numer. Anal. 31, 1994: Mumford and Shah's energy, whose borders count by area.
    """
    n = len(regions.weights)
    points, weights, heights = regions.points, regions.weights, regions.heights
    names = np.arange(n, dtype=np.int32)
    all_pairs, all_heights = np.empty((n - 1, 2), np.int32), np.empty(n - 1)
    for made in range(n - 1):
        yield Progress("merging the last regions", made, n - 1)
        edges = np.argwhere(np.triu(contacts)).astype(np.int32)
        costs = merge_costs(points, weights, edges, curved)
        area = contacts[edges[:, 0], edges[:, 1]]
        save = costs / area if n - made > _COARSE else costs
        chosen = int(np.argmin(save))
        pair, cost = edges[chosen : chosen + 1].copy(), costs[chosen : chosen + 1]
        stays, goes = pair[0]
        join_regions(points, weights, heights, names, pair, cost, curved, n + made)
        contacts[stays] += contacts[goes]
        contacts[:, stays] += contacts[:, goes]
        contacts[goes] = contacts[:, goes] = 0
        contacts[stays, stays] = 0
        all_pairs[made], all_heights[made] = pair[0], cost[0]
    return Merges(all_pairs, np.maximum.accumulate(all_heights))
