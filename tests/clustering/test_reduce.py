"""Weighted points that stand for a volume, and what clusters fitted on them are worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.clustering import reduce
from napari_hypseg.clustering.kmeans import nearest
from napari_hypseg.clustering.reduce import reduce_job
from napari_hypseg.geometry import exp0, frechet_means
from napari_hypseg.jobs import finish


def _mixture(shape, d=2, seed=0):
    """Points of the ball from three overlapping normals."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.1, 0.0, 0.1], [0.5, 0.3, 0.0], [-0.3, 0.5, -0.2]])[:, :d]
    flat = centres[rng.integers(0, 3, shape)] + 0.15 * rng.normal(size=(*shape, d))
    return exp0(torch.from_numpy(flat)).numpy().astype(np.float32)


def test_cells_count_every_voxel_and_keep_the_mean(latents_of):
    points = _mixture((33, 65, 40))
    latents = latents_of(points)
    cells, weights = finish(reduce_job(latents))
    flat = points.reshape(-1, 2).astype(np.float64)
    # The same grid, by a dictionary: as far as the first chunk reaches, or 2, 4, ... times that.
    reach = np.abs(latents.read(next(iter(latents.chunk_boxes())))).max().astype(np.float64)
    while reach < np.abs(flat).max():
        reach *= 2
    members: dict[tuple[int, int], list[int]] = {}
    for i, place in enumerate(np.minimum((flat + reach) * 1024 / (2 * reach), 1023).astype(int)):
        members.setdefault((place[1], place[0]), []).append(i)
    assert len(members) == len(cells)
    # A point on the seam of two cells may go either way: counts of all but a few cells agree.
    counts = [len(members[cell]) for cell in sorted(members)]
    assert np.mean(weights == counts) > 0.999
    assert weights.sum() == len(flat)
    np.testing.assert_array_equal(weights, weights.round())
    np.testing.assert_allclose(weights @ cells / len(flat), flat.mean(0), atol=1e-12)
    same = weights == counts
    means = np.array([flat[members[cell]].mean(0) for cell in sorted(members)])
    np.testing.assert_allclose(cells[same], means[same], atol=1e-12)


def test_the_grid_grows_with_its_points(latents_of):
    points = 0.01 * _mixture((40, 65, 70))
    points[35, 60, 65] = (0.9, -0.7)
    latents = latents_of(points)
    assert len(list(latents.chunk_boxes())) > 4
    cells, weights = finish(reduce_job(latents))
    assert weights.sum() == points[..., 0].size
    flat = points.reshape(-1, 2).astype(np.float64)
    np.testing.assert_allclose(weights @ cells, flat.sum(0), rtol=1e-9)
    far = np.argmax(cells[:, 0])
    np.testing.assert_allclose(cells[far], np.float32([0.9, -0.7]), atol=1e-12)
    assert weights[far] == 1
    # Every point is as near to a cell's mean as the last grid is fine.
    apart = np.abs(flat[:: len(flat) // 500, None] - cells).max(-1).min(1)
    assert apart.max() < 2 * 1.8 / reduce._CELLS


def test_equal_points_become_one(latents_of):
    for point in ([0.0, 0.0], [0.3, -0.2]):
        points = np.broadcast_to(np.float32(point), (3, 4, 5, 2))
        cells, weights = finish(reduce_job(latents_of(points)))
        np.testing.assert_allclose(cells, np.float32([point]), atol=1e-12)
        assert weights.tolist() == [60.0]


def test_clusters_of_the_cells_are_clusters_of_the_voxels(latents_of, monkeypatch):
    monkeypatch.setattr(reduce, "_CELLS", 700)  # fuller, as in a large volume
    points = _mixture((40, 50, 50), seed=1)
    everything = torch.from_numpy(points.reshape(-1, 2)).double()
    cells, weights = (torch.from_numpy(a) for a in finish(reduce_job(latents_of(points))))
    assert len(cells) < 0.8 * len(everything)
    start = everything[:: len(everything) // 6][:6]

    def lloyd(x, w):
        centroids = start
        for _ in range(8):
            centroids = frechet_means(x, nearest(x, centroids), 6, w, start=centroids, max_iter=5)
        return nearest(everything, centroids)

    agree = lloyd(everything, torch.ones(len(everything))) == lloyd(cells, weights)
    assert float(agree.double().mean()) > 0.999


def test_more_dimensions_are_sampled(latents_of, monkeypatch):
    points = _mixture((40, 65, 70), d=3, seed=2)
    latents = latents_of(points)
    assert len(list(latents.chunk_boxes())) > 4
    sample, weights = finish(reduce_job(latents))
    # There are fewer than a sample would hold: all are taken.
    assert weights.tolist() == [1.0] * 40 * 65 * 70
    flat = points.reshape(-1, 3).astype(np.float64)
    np.testing.assert_array_equal(np.sort(sample, axis=0), np.sort(flat, axis=0))

    monkeypatch.setattr(reduce, "_SAMPLE", 20_000)
    sample, weights = finish(reduce_job(latents, seed=1))
    assert weights.shape == (len(sample),)
    assert len(sample) == pytest.approx(20_000, rel=0.05)
    assert weights.sum() == pytest.approx(40 * 65 * 70)
    # Every chunk gives its share: all are voxels, none is drawn twice, the mean is theirs.
    assert len(np.unique(sample, axis=0)) == len(sample)
    assert len(np.unique(np.concatenate([sample, flat]), axis=0)) == len(np.unique(flat, axis=0))
    error = flat.std(0) / np.sqrt(20_000)
    assert (np.abs(sample.mean(0) - flat.mean(0)) < 4 * error).all()
    again, _ = finish(reduce_job(latents, seed=1))
    np.testing.assert_array_equal(sample, again)
    other, _ = finish(reduce_job(latents, seed=2))
    assert len(other) != len(sample) or (other != sample).any()
