"""The points of a map and which are near one, against the geometry's own distance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.figures import cloud as module
from napari_hypseg.figures.cloud import cloud_job
from napari_hypseg.figures.density import Density
from napari_hypseg.geometry import distance
from napari_hypseg.jobs import finish

from .conftest import make_latents

SHAPE = (7, 9, 8)


@pytest.fixture(params=["plane disk", "ball", "flat"])
def latents(request):
    return make_latents(
        SHAPE,
        dim=3 if request.param == "ball" else 2,
        geometry="euclidean" if request.param == "flat" else "hyperbolic",
    )


@pytest.fixture
def cloud(latents):
    return finish(cloud_job(latents))


def distances(latents, point):
    points = torch.from_numpy(latents.read().reshape(-1, latents.dim)).double()
    target = torch.as_tensor(point).double().expand_as(points)
    if latents.geometry == "euclidean":
        return (points - target).norm(dim=1).numpy()
    return distance(points, target, c=latents.curvature).numpy()


def test_every_point_knows_its_voxel(latents, cloud):
    assert sorted(cloud.voxels) == list(range(np.prod(SHAPE)))
    np.testing.assert_array_equal(
        latents.read()[tuple(cloud.positions(range(len(cloud.points))).T)], cloud.points
    )


@pytest.mark.parametrize("length", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("block", [20, 200, 1 << 15])
def test_the_nearest_are_those_of_the_distance(latents, cloud, length, block, monkeypatch):
    monkeypatch.setattr(module, "_FIRST", block)
    point = np.full(latents.dim, length / np.sqrt(latents.dim))
    found = np.ravel_multi_index(cloud.positions(cloud.nearest(point, 20)).T, SHAPE)
    expected = distances(latents, point)
    np.testing.assert_allclose(expected[found], np.sort(expected)[:20], rtol=1e-4)


def test_the_first_points_may_be_far_nearer_than_the_others(monkeypatch):
    monkeypatch.setattr(module, "_FIRST", 10)
    score = np.concatenate([np.zeros(10), np.arange(1, 91)]).astype(np.float32)
    assert set(range(20)) <= set(module._candidates(score, 20).tolist())
    assert len(module._candidates(score[::-1], 20)) < 100


def test_the_density_counts_every_point_where_it_lies(cloud):
    assert cloud.density.counts.sum() == np.prod(SHAPE)
    cells = cloud.density.cells(cloud.places)
    again = np.bincount(cells, minlength=cloud.density.counts.size)
    np.testing.assert_array_equal(again, cloud.density.counts.ravel())
    side, reach = len(cloud.density.counts), cloud.density.reach
    column, row = ((cloud.places[0].astype(float) / reach + 1) / 2 * side).astype(int)
    assert abs(cells[0] % side - column) <= 1
    assert abs(cells[0] // side - row) <= 1


def test_the_density_grows_with_its_points():
    rng = np.random.default_rng(0)
    parts = [(scale * rng.normal(size=(1000, 2))).astype(np.float32) for scale in (0.01, 0.1, 1)]
    density = Density()
    for part in parts:
        density.add(part)
    every = np.concatenate(parts)
    assert density.counts.sum() == len(every)
    assert abs(every).max() <= density.reach < 2 * abs(every).max()
    expected, _, _ = np.histogram2d(
        every[:, 1], every[:, 0], len(density.counts), range=[[-density.reach, density.reach]] * 2
    )
    # Rounding puts few points on the other side of an edge between two cells.
    assert abs(density.counts - expected).sum() < 0.01 * len(every)


def test_a_sample_of_many(latents, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 100)
    cloud = finish(cloud_job(latents))
    assert 90 <= len(cloud.points) <= 100
    np.testing.assert_array_equal(
        latents.read()[tuple(cloud.positions(range(len(cloud.points))).T)], cloud.points
    )


@pytest.mark.parametrize("length", [0.0, 0.3, 0.9])
def test_within_a_radius_are_those_of_the_distance(latents, cloud, length):
    point = np.full(latents.dim, length / np.sqrt(latents.dim))
    expected = distances(latents, point)
    for radius in np.quantile(expected, [0.1, 0.5, 0.9]) + 1e-6:
        found = cloud.within(point, radius)
        assert set(cloud.voxels[found]) == set(np.flatnonzero(expected <= radius))
    farthest = cloud.farthest(point)
    assert expected[cloud.voxels[farthest]] == pytest.approx(expected.max())
    assert cloud.distance(point, farthest) == pytest.approx(expected.max())
