"""Cells of a quadtree, and what they keep of the points that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.clustering.quadtree import quadtree_cells
from napari_hypseg.geometry import distance


@pytest.mark.parametrize("curvature", [1.0, None])
def test_cells_hold_all_points_and_little_inertia_each(curvature):
    rng = np.random.default_rng(5)
    x = torch.from_numpy(np.tanh(rng.normal(size=(30_000, 2)) * [[0.3, 0.05]]) * 0.7)
    w = torch.from_numpy(rng.uniform(0.5, 2, 30_000))

    def apart(y, z):
        return distance(y, z).square() if curvature else (y - z).square().sum(-1)

    middle = (w @ x / w.sum())[None]
    inertia = float(w @ apart(x, middle))
    counts, sizes = (1e3, 1e5, 1e7), []
    for count, (cells, mass) in zip(counts, quadtree_cells(x, w, counts, curvature), strict=True):
        sizes.append(len(cells))
        assert float(mass.sum()) == pytest.approx(float(w.sum()))
        np.testing.assert_allclose(mass @ cells, w @ x, atol=1e-9)
        # Around any point the inertia falls short by what the cells hold within them.
        missing = 1 - float(mass @ apart(cells, middle)) / inertia
        assert 0 < missing < 1.2 * len(cells) / count
    assert sizes == sorted(sizes)
    assert sizes[0] > 10
    assert sizes[-1] < len(x)


def test_cells_are_smaller_where_points_are_dense_and_near_the_rim():
    rng = np.random.default_rng(6)
    dense, sparse = rng.normal(size=(40_000, 2)) * 0.05, rng.normal(size=(4_000, 2)) * 0.05
    x = torch.from_numpy(np.concatenate([dense - 0.5, sparse + 0.5]))
    ((cells, _),) = quadtree_cells(x, torch.ones(len(x)).double(), [1e5], None)
    assert (cells[:, 0] < 0).sum() > 2 * (cells[:, 0] > 0).sum()
    x = torch.from_numpy(np.concatenate([sparse, sparse + np.array([0.75, 0.0])]))
    ((cells, _),) = quadtree_cells(x, torch.ones(len(x)).double(), [1e5], 1.0)
    assert (cells[:, 0] > 0.375).sum() > 1.5 * (cells[:, 0] < 0.375).sum()
