"""Picking points and voxels, against the geometry's own distance."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_hypseg.figures import cloud as module
from napari_hypseg.figures.cloud import cloud_job
from napari_hypseg.figures.density import Density
from napari_hypseg.geometry import distance
from napari_hypseg.jobs import finish
from napari_hypseg.session.selection import Selection

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


def test_from_the_disk_to_the_voxels(latents, cloud):
    selection, seen = Selection(cloud), []
    selection.changed.connect(lambda: seen.append(selection.picked_in))
    picked = np.array([0.2, -0.1, 0.05], np.float32)[: latents.dim]
    selection.pick_point(*picked)
    assert seen == ["disk"]
    np.testing.assert_array_equal(selection.point, picked)
    nearest = distances(latents, selection.point).reshape(SHAPE)
    assert nearest[selection.voxel] == pytest.approx(nearest.min())
    assert selection.voxel == tuple(selection.voxels[0])
    np.testing.assert_array_equal(latents.read()[tuple(selection.voxels.T)], selection.points)


def test_from_a_voxel_to_the_disk(latents, cloud):
    selection, seen = Selection(cloud), []
    selection.changed.connect(lambda: seen.append(selection.picked_in))
    point = latents.read()[3, 4, 5]
    selection.pick_voxel((3, 4, 5), point)
    assert seen == ["volume"]
    assert selection.voxel == (3, 4, 5)
    np.testing.assert_array_equal(selection.point, point)
    expected = distances(latents, np.zeros(latents.dim)).reshape(SHAPE)[3, 4, 5]
    assert selection.distance == pytest.approx(expected, rel=1e-4)


def test_two_views_that_both_draw_and_pick_do_not_go_in_circles(cloud):
    """Each view draws what is picked; a click in either is one change."""
    selection = Selection(cloud)
    views = [SimpleNamespace(draws=0), SimpleNamespace(draws=0)]
    for view in views:
        selection.changed.connect(lambda view=view: setattr(view, "draws", view.draws + 1))
    selection.pick_point(*np.full(cloud.points.shape[1], 0.1))
    selection.pick_voxel((0, 0, 0), np.zeros(cloud.points.shape[1]))
    assert [view.draws for view in views] == [2, 2]


def test_other_points_forget_the_pick(cloud):
    selection = Selection(cloud)
    selection.pick_point(*np.full(cloud.points.shape[1], 0.1))
    selection.reset(None)
    assert selection.point is None
    assert np.isnan(selection.distance)
    selection.pick_point(*np.full(cloud.points.shape[1], 0.1))
    assert selection.point is None
