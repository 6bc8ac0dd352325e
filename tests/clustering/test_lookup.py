"""Labels that are looked up in a grid, against the nearest centroid of each point."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.clustering import hyperbolic_kmeans, lookup
from napari_hypseg.clustering.kmeans import nearest
from napari_hypseg.clustering.lookup import Lookup
from napari_hypseg.geometry import exp0


def _points(count, curvature, spread=0.6, seed=0):
    flat = torch.from_numpy(spread * np.random.default_rng(seed).normal(size=(count, 2)))
    return (exp0(flat, curvature) if curvature else flat).numpy().astype(np.float32)


@pytest.mark.parametrize("curvature", [1.0, 0.3, None])
@pytest.mark.parametrize("spread", [0.02, 0.6, 2.0])
def test_every_label_is_the_nearest_centroid(curvature, spread):
    points = _points(200_000, curvature, spread)
    sets = [hyperbolic_kmeans(points[:3000], k, curvature=curvature).centroids for k in (2, 8, 60)]
    # Some points lie outside of the grid.
    grid = Lookup(sets, 0.7 * np.abs(points).max(), len(points), curvature)
    found, counts = grid.labels(points)
    assert found.dtype == np.uint8
    for labels, centroids, counted in zip(found, sets, counts, strict=True):
        truth = nearest(
            torch.from_numpy(points), torch.from_numpy(centroids), curvature=curvature
        ).numpy()
        np.testing.assert_array_equal(labels, truth)
        np.testing.assert_array_equal(counted, np.bincount(truth, minlength=255))


def test_only_cells_at_an_edge_are_cut():
    centroids = hyperbolic_kmeans(_points(3000, 1.0), 8).centroids
    cells = Lookup([centroids], 0.9, 1 << 24, 1.0)._cells[0]
    assert cells.shape == (512, 512)
    place = (np.arange(512) + 0.5) * 1.8 * 1.001 / 512 - 0.9 * 1.001
    grid = np.stack(np.meshgrid(place, place, indexing="ij"), -1).reshape(-1, 2)
    middle = nearest(torch.from_numpy(grid), torch.from_numpy(centroids)).numpy()
    middle = middle.reshape(cells.shape)
    cut = cells == lookup._CUT
    np.testing.assert_array_equal(cells[~cut], middle[~cut])
    # Next to a cell that is cut there is one with another label, or this one is an edge's corner.
    other = np.zeros_like(cut)
    for step in ((1, 0), (0, 1), (1, 1), (1, -1)):
        differ = middle != np.roll(middle, step, (0, 1))
        other |= differ | np.roll(differ, (-step[0], -step[1]), (0, 1))
    assert (cut & ~other).sum() < 0.02 * cut.sum()
    assert 0 < cut.mean() < 0.04


def test_points_that_are_all_at_the_centre():
    centroids = np.array([[0.0, 0.0]])
    (labels,), _ = Lookup([centroids], 0.0, 10, 1.0).labels(np.zeros((10, 2), np.float32))
    assert labels.tolist() == [0] * 10
