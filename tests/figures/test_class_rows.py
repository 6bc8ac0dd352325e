"""The figures of the classes, against counting voxels and the textbook's distance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.figures import class_table

from .conftest import tree_clustering


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_voxels_are_those_of_the_labels(clustering, k):
    rows = class_table(clustering, k, (10.0, 8.0, 9.0))
    counts = np.bincount(clustering.labels(k).ravel(), minlength=k + 1)[1:]
    assert [row.label for row in rows] == list(range(1, k + 1))
    assert [row.voxels for row in rows] == counts.tolist()
    assert [row.fraction for row in rows] == pytest.approx((counts / counts.sum()).tolist())
    # 10 x 8 x 9 cubic angstrom are 0.72 cubic nanometres.
    assert [row.volume_nm3 for row in rows] == pytest.approx((0.72 * counts).tolist())


@pytest.mark.parametrize("curvature", [1.0, 0.5, None])
def test_distance_is_the_textbooks(clustering, curvature):
    for row in class_table(clustering, 4, (1.0, 1.0, 1.0), curvature=curvature):
        norm = math.hypot(*row.centroid)
        if curvature is not None:
            root = math.sqrt(curvature)
            norm = math.acosh(1 + 2 * curvature * norm**2 / (1 - curvature * norm**2)) / root
        assert row.distance == pytest.approx(norm, rel=1e-9)


def test_a_tree_is_not_looked_up_for_every_voxel():
    clustering = tree_clustering("kinds", (6, 7, 8))
    without = TreeClustering("kinds", np.zeros((0, 0, 0), np.uint8), clustering.tree)
    assert class_table(without, 7, (1.0, 1.0, 1.0)) == class_table(clustering, 7, (1.0, 1.0, 1.0))


def test_split_from_is_the_label_before():
    clustering = tree_clustering("things", (9, 9, 9))
    rows = class_table(clustering, 12, (1.0, 1.0, 1.0))
    assert rows[0].split_from is None
    for row in rows[1:]:
        before = clustering.labels(row.label - 1)[clustering.labels(row.label) == row.label]
        assert np.unique(before).tolist() == [row.split_from]


def test_one_leaf_makes_one_class():
    tree = MergeTree(np.zeros((0, 2), np.int64), np.zeros(0), np.array([8]), np.zeros((1, 2)))
    (row,) = class_table(TreeClustering("kinds", np.zeros((2, 2, 2), np.uint8), tree), 1, (1, 1, 1))
    assert (row.voxels, row.fraction, row.distance) == (8, 1.0, 0.0)


@pytest.mark.parametrize("k", [0, 31])
def test_no_such_number_of_classes(clustering, k):
    with pytest.raises(ValueError, match=f"clusters, not {k}$"):
        class_table(clustering, k, (1.0, 1.0, 1.0))
