"""Points of the plane stood for by the cells of a quadtree: small where they are dense."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_hypseg.geometry import distance
from napari_hypseg.volumes.compiled import compiled

__all__ = ["quadtree_cells"]

# The smallest cells are those of a grid with so many along each side.
_SIDE = 512


def quadtree_cells(
    x: Tensor, w: Tensor, counts: Sequence[float], curvature: float | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Means and weights of the points in each cell of a quadtree, for each of several counts.

    A cell is cut in four where the sum of squared distances to its mean is above that of all
    points to theirs, divided by the count.

    Parameters
    ----------
    x : tensor, shape (n, 2), float64
        Points of the ball, or of R^2; not all alike.
    w : tensor, shape (n,), float64
        Their weights.
    counts : sequence of float
        For each of them a quadtree; there are about as many cells as its square root.
    curvature : float or None
        The ball has curvature ``-curvature``; None for R^2.

    Yields
    ------
    means : tensor, shape (m, 2)
    weights : tensor, shape (m,)
    """
    low, high = x.amin(0), x.amax(0)
    scale = _SIDE / float((high - low).max())
    tree = [_sum_cells(x.numpy(), w.numpy(), low.numpy(), scale, _SIDE)]
    while len(tree[-1]) > 1:
        rows = tree[-1][::2] + tree[-1][1::2]
        tree.append(rows[:, ::2] + rows[:, 1::2])
    few, mass = _means(tree[-6].reshape(-1, 4))
    middle = (mass @ few / mass.sum())[None]
    apart = distance(few, middle, c=curvature) if curvature else (few - middle).norm(dim=1)
    inertia = float(mass @ apart.square())
    for count in counts:
        yield _means(_merged(tree, inertia / count, curvature or 0.0))


def _means(sums: npt.NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    """Mean and weight of each cell that is not empty."""
    sums = sums[sums[:, 0] > 0]
    return torch.from_numpy(sums[:, 1:3] / sums[:, :1]), torch.from_numpy(sums[:, 0].copy())


def _merged(
    tree: list[npt.NDArray[np.float64]], most: float, curvature: float
) -> npt.NDArray[np.float64]:
    """Sums of the largest cells of a quadtree that have at most so much inertia, shape (m, 4)."""
    places, found = np.zeros((2, 1), np.int64), []
    quarters = np.array([[[0, 0, 1, 1]], [[0, 1, 0, 1]]])
    for level in reversed(tree):
        filled = level[places[0], places[1], 0] > 0
        places = places[:, filled]
        cells = level[places[0], places[1]]
        mass, x, y, square = cells.T
        centre = (x**2 + y**2) / mass**2
        # Near a cell's mean the metric is Euclidean, times this.
        scale = (2 / (1 - curvature * centre)) ** 2 if curvature else 1.0
        whole = scale * (square - mass * centre) <= most
        found.append(cells[whole])
        rest, places = cells[~whole], places[:, ~whole]
        places = (2 * places[..., None] + quarters).reshape(2, -1)
    return np.concatenate([*found, rest])


@compiled()
def _sum_cells(
    points: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    low: npt.NDArray[np.float64],
    scale: float,
    side: int,
) -> npt.NDArray[np.float64]:
    """Weight, and weighted sums of points and of their squares, of each cell of a grid."""
    sums = np.zeros((side, side, 4))
    for i in range(len(points)):
        row = min(int((points[i, 0] - low[0]) * scale), side - 1)
        column = min(int((points[i, 1] - low[1]) * scale), side - 1)
        cell = sums[row, column]
        cell[0] += weights[i]
        cell[1] += weights[i] * points[i, 0]
        cell[2] += weights[i] * points[i, 1]
        cell[3] += weights[i] * (points[i, 0] ** 2 + points[i, 1] ** 2)
    return sums
