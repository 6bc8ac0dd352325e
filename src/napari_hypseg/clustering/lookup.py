"""Nearest centroids of very many points of the plane, looked up in a grid and yet exact."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import prange

from napari_hypseg.training.devices import match_numba_threads
from napari_hypseg.volumes.compiled import compiled

__all__ = ["Lookup"]

Points = npt.NDArray[np.float64]

# Cells along each side, at most; and points for each cell, at least: making a cell costs as much
# as finding the nearest centroid of a few points.
_CELLS = 512
_POINTS = 4
# A cell that an edge between two clusters crosses.
_CUT = 255
# Points in a row for one thread.
_BLOCK = 1 << 14


class Lookup:
    """For each cell of a grid the centroid that is nearest everywhere in it, if there is one.

    Points in other cells, or outside of the grid, are compared with all centroids, so that each
    point gets the label that `napari_hypseg.clustering.kmeans.nearest` gives.

    Parameters
    ----------
    centroids : sequence of array, shape (k, 2)
        Several sets of centroids, each at most 255.
    reach : float
        The largest coordinate of most points.
    count : int
        How many points will be looked up.
    curvature : float or None
        The ball has curvature ``-curvature``; None for R^2.
    """

    def __init__(
        self, centroids: Sequence[Points], reach: float, count: int, curvature: float | None
    ) -> None:
        match_numba_threads()
        # One below the other, with what the squared distance to each is multiplied by.
        every = np.concatenate(centroids)
        scale = 1 / (1 - (curvature or 0.0) * np.square(every).sum(1))
        self._rows = np.concatenate([every, scale[:, None]], axis=1)
        self._ends = np.cumsum([0, *map(len, centroids)])
        # A little more, so that the farthest point lies inside.
        self._reach = 1.001 * reach or 1.0
        side = max(1, min(_CELLS, math.isqrt(count // _POINTS)))
        self._cells = _cells(side, self._reach, self._rows, self._ends)

    def labels(
        self, points: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """For each set the index of the nearest centroid of each point, and how often each occurs.

        Parameters
        ----------
        points : array, shape (n, 2)

        Returns
        -------
        labels : array of uint8, shape (sets, n)
        counts : array of int64, shape (sets, 255)
        """
        match_numba_threads()
        found, counts = _labels(points, self._reach, self._cells, self._rows, self._ends)
        return found, counts.sum(0)


@compiled()
def _nearest(x: float, y: float, rows: Points, start: int, stop: int) -> int:
    own, score = 0, np.inf
    for j in range(start, stop):
        square = ((x - rows[j, 0]) ** 2 + (y - rows[j, 1]) ** 2) * rows[j, 2]
        if square < score:
            own, score = j - start, square
    return own


@compiled(parallel=True)
def _cells(
    side: int, reach: float, rows: Points, ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Label of each cell in each set, shape (sets, side, side)."""
    found = np.empty((len(ends) - 1, side, side), np.uint8)
    # Half a cell, and what rounding may add to it.
    half = reach / side * (1 + 1e-9)
    for row in prange(side):
        x = (2 * row + 1 - side) * reach / side
        for column in range(side):
            y = (2 * column + 1 - side) * reach / side
            for s in range(len(ends) - 1):
                start, stop = ends[s], ends[s + 1]
                own = _nearest(x, y, rows, start, stop)
                label = own
                u, v, scale = rows[start + own]
                for j in range(start, stop):
                    # How much nearer than j, at least: a quadratic function of the place.
                    gap = ((x - rows[j, 0]) ** 2 + (y - rows[j, 1]) ** 2) * rows[j, 2] - (
                        (x - u) ** 2 + (y - v) ** 2
                    ) * scale
                    slope = abs((x - rows[j, 0]) * rows[j, 2] - (x - u) * scale) + abs(
                        (y - rows[j, 1]) * rows[j, 2] - (y - v) * scale
                    )
                    bend = min(rows[j, 2] - scale, 0.0)
                    least = gap - 2 * half * slope + 2 * half * half * bend
                    if j != start + own and least <= 1e-12 * scale:
                        label = _CUT
                        break
                found[s, row, column] = label
    return found


@compiled(parallel=True)
def _labels(
    points: npt.NDArray[np.floating],
    reach: float,
    cells: npt.NDArray[np.uint8],
    rows: Points,
    ends: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    n, (sets, side, _) = len(points), cells.shape
    found = np.empty((sets, n), np.uint8)
    blocks = (n + _BLOCK - 1) // _BLOCK
    counts = np.zeros((blocks, sets, 255), np.int64)
    scale = side / (2 * reach)
    for block in prange(blocks):
        start, stop = _BLOCK * block, min(_BLOCK * block + _BLOCK, n)
        place = np.empty(stop - start, np.int64)
        for i in range(start, stop):
            x, y = float(points[i, 0]), float(points[i, 1])
            inside = max(abs(x), abs(y)) < reach
            row, column = int((x + reach) * scale), int((y + reach) * scale)
            place[i - start] = row * side + column if inside else -1
        # One set after the other: its cells then stay in the cache.
        for s in range(sets):
            flat = cells[s].ravel()
            for i in range(start, stop):
                label = flat[place[i - start]] if place[i - start] >= 0 else np.uint8(_CUT)
                if label == _CUT:
                    x, y = float(points[i, 0]), float(points[i, 1])
                    label = np.uint8(_nearest(x, y, rows, ends[s], ends[s + 1]))
                found[s, i] = label
                counts[block, s, label] += 1
    return found, counts
