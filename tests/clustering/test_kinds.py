"""Clusters of voxels by their points, against scikit-learn's and Frechet means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from napari_hypseg.clustering import kinds
from napari_hypseg.clustering.kinds import kinds_job
from napari_hypseg.geometry import distance, exp0, frechet_means, log0
from napari_hypseg.jobs import finish

SHAPE = (9, 20, 30)
# Slabs that tile it.
BOXES = [(slice(z, z + 3), slice(0, 20), slice(0, 30)) for z in (0, 3, 6)]


def _ball(c, seed=0):
    """Points of the ball, shape (z, y, x, 3)."""
    rng = np.random.default_rng(seed)
    return exp0(torch.from_numpy(0.5 * rng.normal(size=(*SHAPE, 3))), c).float().numpy()


@pytest.mark.parametrize("most", [1 << 20, 2000])
@pytest.mark.parametrize("c", [1.0, 0.5])
def test_clusters_as_k_means_does_and_gives_frechet_means(monkeypatch, most, c):
    monkeypatch.setattr(kinds, "_SAMPLE", most)
    points = _ball(c)
    labels, regions = finish(
        kinds_job(BOXES, SHAPE, lambda box: points[box], leaves=24, curvature=c, seed=0)
    )
    assert labels.shape == SHAPE
    np.testing.assert_array_equal(np.bincount(labels.ravel()), regions.weights)

    flat, of = torch.from_numpy(points).double().reshape(-1, 3), labels.ravel()
    vectors = log0(flat, c).numpy()
    means = np.array([vectors[of == i].mean(0) for i in range(24)])
    inertia = np.square(vectors - means[of]).sum()
    # One start each: local minima differ; what is fitted on a sample is a little worse.
    best = KMeans(24, n_init=1, random_state=0).fit(vectors).inertia_
    assert inertia < 1.05 * best

    exact = frechet_means(flat, torch.from_numpy(of.astype(np.int64)), 24, c=c)
    time = np.sqrt(1 + np.square(regions.points).sum(1, keepdims=True))
    found = torch.from_numpy(regions.points / (1 + time) / c**0.5)
    # Both means of a cluster are much nearer to each other than its points to them.
    assert float(distance(found, exact, c=c).max()) < 0.3 * np.sqrt(inertia / len(flat))
    # Every two may merge, wherever they lie.
    assert len(regions.edges) == 24 * 23 / 2


def test_a_euclidean_space_has_plain_means():
    points = _ball(1.0)
    labels, regions = finish(
        kinds_job(BOXES, SHAPE, lambda box: points[box], leaves=5, curvature=None, seed=0)
    )
    means = [points[labels == i].astype(float).mean(0) for i in range(5)]
    np.testing.assert_allclose(regions.points, means, atol=1e-9)
    gaps = np.square(points[..., None, :] - regions.points).sum(-1)
    # But for the last round each voxel is with the nearest mean.
    assert np.mean(gaps.argmin(-1) == labels) > 0.99


def test_what_is_alike_is_one_kind(monkeypatch):
    points = np.zeros((*SHAPE, 3), np.float32)
    points[4:] = (0.5, 0.0, -0.6)
    find = {"leaves": 60, "curvature": 1.0, "seed": 0}
    labels, regions = finish(kinds_job(BOXES, SHAPE, lambda box: points[box], **find))
    assert len(regions.weights) == 2
    assert len(np.unique(labels[:4])) == len(np.unique(labels[4:])) == 1
    # A third kind that the sample does not know.
    monkeypatch.setattr(kinds, "_SAMPLE", 200)
    points[0, 0, 0] = (0.5, 0.0, -0.5)
    labels, regions = finish(kinds_job(BOXES, SHAPE, lambda box: points[box], **find))
    assert labels[0, 0, 0] == labels[-1, 0, 0] != labels[0, 0, 1]
    assert regions.weights.sum() == labels.size


def test_many_points_are_sampled(monkeypatch):
    shape = (40, 65, 70)
    points = np.random.default_rng(2).normal(size=(*shape, 3)).astype(np.float32)
    boxes = [(slice(z, z + 8), slice(0, 65), slice(0, 70)) for z in range(0, 40, 8)]
    flat = points.reshape(-1, 3).astype(np.float64)

    def draw(seed):
        return finish(
            kinds._sample_job(boxes, len(flat), lambda box: points[box].reshape(-1, 3), seed)
        )

    # There are fewer than a sample would hold: all are taken.
    np.testing.assert_array_equal(np.sort(draw(0), axis=0), np.sort(flat, axis=0))

    monkeypatch.setattr(kinds, "_SAMPLE", 20_000)
    sample = draw(1)
    assert len(sample) == pytest.approx(20_000, rel=0.05)
    # Every box gives its share: all are voxels, none is drawn twice, the mean is theirs.
    assert len(np.unique(sample, axis=0)) == len(sample)
    assert len(np.unique(np.concatenate([sample, flat]), axis=0)) == len(np.unique(flat, axis=0))
    error = flat.std(0) / np.sqrt(20_000)
    assert (np.abs(sample.mean(0) - flat.mean(0)) < 4 * error).all()
    np.testing.assert_array_equal(sample, draw(1))
    other = draw(2)
    assert len(other) != len(sample) or (other != sample).any()
