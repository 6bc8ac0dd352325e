"""Clusters of voxels by all their coordinates, against scikit-learn's and Frechet means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from napari_hypseg.clustering import reduce
from napari_hypseg.clustering.kinds import kinds_job
from napari_hypseg.clustering.ward import to_hyperboloid
from napari_hypseg.geometry import distance, exp0, frechet_means, log0
from napari_hypseg.jobs import finish

SHAPE = (9, 20, 30)
# Slabs that tile it.
BOXES = [(slice(z, z + 3), slice(0, 20), slice(0, 30)) for z in (0, 3, 6)]


def _ball(seed=0):
    """Points of the ball, shape (z, y, x, 2), and one more coordinate."""
    rng = np.random.default_rng(seed)
    points = exp0(torch.from_numpy(0.5 * rng.normal(size=(*SHAPE, 2)))).numpy()
    return points, rng.normal(size=(*SHAPE, 1))


@pytest.mark.parametrize("most", [1 << 20, 2000])
def test_clusters_as_k_means_does_and_gives_frechet_means(monkeypatch, most):
    monkeypatch.setattr(reduce, "_SAMPLE", most)
    points, beside = _ball()
    coordinates = np.concatenate([to_hyperboloid(points, 1.0), beside], -1)
    labels, regions = finish(
        kinds_job(BOXES, SHAPE, lambda box: coordinates[box], leaves=24, curved=2, seed=0)
    )
    assert labels.shape == SHAPE
    np.testing.assert_array_equal(np.bincount(labels.ravel()), regions.weights)

    vectors = 2 * log0(torch.from_numpy(points)).numpy()
    flat, of = np.concatenate([vectors, beside], -1).reshape(-1, 3), labels.ravel()
    means = np.array([flat[of == i].mean(0) for i in range(24)])
    inertia = np.square(flat - means[of]).sum()
    # One start each: local minima differ; what is fitted on a sample is a little worse.
    best = KMeans(24, n_init=1, random_state=0).fit(flat).inertia_
    assert inertia < 1.05 * best

    ball = torch.from_numpy(points).reshape(-1, 2)
    exact = frechet_means(ball, torch.from_numpy(of.astype(np.int64)), 24)
    time = np.sqrt(1 + np.square(regions.points[:, :2]).sum(1, keepdims=True))
    found = torch.from_numpy(regions.points[:, :2] / (1 + time))
    # Both means of a cluster are much nearer to each other than its points to them.
    assert float(distance(found, exact).max()) < 0.1 * np.sqrt(inertia / len(flat))
    np.testing.assert_allclose(regions.points[:, 2], means[:, 2], atol=1e-12)
    # Every two may merge, wherever they lie.
    assert len(regions.edges) == 24 * 23 / 2


def test_a_euclidean_space_has_plain_means():
    _, beside = _ball()
    labels, regions = finish(
        kinds_job(BOXES, SHAPE, lambda box: beside[box], leaves=5, curved=0, seed=0)
    )
    means = [beside[labels == i].mean() for i in range(5)]
    np.testing.assert_allclose(regions.points[:, 0], means, atol=1e-12)


def test_what_is_alike_is_one_kind(monkeypatch):
    # Three different voxels; in the sample only two of them.
    coordinates = np.zeros((*SHAPE, 2))
    coordinates[4:] = (1.0, -1.0)
    find = {"leaves": 60, "curved": 0, "seed": 0}
    labels, regions = finish(kinds_job(BOXES, SHAPE, lambda box: coordinates[box], **find))
    assert len(regions.weights) == 2
    assert len(np.unique(labels[:4])) == len(np.unique(labels[4:])) == 1
    monkeypatch.setattr(reduce, "_SAMPLE", 200)
    coordinates[0, 0, 0] = (1.0, -0.9)
    labels, regions = finish(kinds_job(BOXES, SHAPE, lambda box: coordinates[box], **find))
    assert labels[0, 0, 0] == labels[-1, 0, 0] != labels[0, 0, 1]
    assert regions.weights.sum() == labels.size
