"""The branches of the tree that are drawn on the disk."""

from __future__ import annotations

import geoopt
import numpy as np
import pytest
import torch

from napari_hypseg.figures.disk import branches

from .conftest import random_tree


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("curvature", [0.5, 1.0, 2.0, None])
def test_branches_are_the_ways_from_wholes_to_parts(dim, curvature):
    tree = random_tree(12, 5, dim)
    wholes = [22, 13, 17]
    ways = branches(tree, wholes, curvature)
    assert ways.shape == (6, 17, dim)
    t = torch.linspace(0, 1, 17, dtype=torch.float64)[:, None]
    ends = [(whole, part) for whole in wholes for part in tree.merges[whole - 12].tolist()]
    for way, (whole, part) in zip(ways, ends, strict=True):
        x, y = (torch.from_numpy(tree.centroids[node]) for node in (whole, part))
        expected = (
            x + t * (y - x)
            if curvature is None
            else geoopt.PoincareBall(c=curvature).geodesic(t, x, y)
        )
        np.testing.assert_allclose(way, expected, atol=1e-8)
