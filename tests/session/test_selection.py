"""What is picked, and how far around it: against the distance to every point."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_hypseg.figures.cloud import cloud_job
from napari_hypseg.geometry import distance
from napari_hypseg.jobs import finish
from napari_hypseg.latents import open_latents
from napari_hypseg.session import selection as module
from napari_hypseg.session.selection import Selection

SHAPE = (7, 9, 8)


@pytest.fixture(params=[(2, "hyperbolic"), (3, "hyperbolic"), (2, "euclidean")])
def latents(request):
    dim, geometry = request.param
    latents = open_latents(
        None,
        (*SHAPE, dim),
        {"voxel_size": (1.0,) * 3, "origin": (0.0,) * 3, "name": "lump", "geometry": geometry,
         "curvature": 1.0},
    )  # fmt: skip
    points = np.random.default_rng(2).normal(size=(*SHAPE, dim)) * 0.15
    latents.array[:] = points.astype(np.float32)
    return latents


@pytest.fixture
def selection(latents):
    cloud = finish(cloud_job(latents))
    selection = Selection()
    selection.reset(lambda: cloud)
    selection.seen = []
    selection.changed.connect(lambda: selection.seen.append(selection.changed_by))
    return selection


def distances(latents, point):
    """From a point to that of every voxel, shape (z, y, x)."""
    points = torch.from_numpy(latents.read()).double()
    target = torch.as_tensor(np.asarray(point, float)).expand_as(points)
    if latents.geometry == "euclidean":
        return (points - target).norm(dim=-1).numpy()
    return distance(points, target).numpy()


def test_from_the_disk_to_the_voxels(latents, selection):
    picked = np.array([0.2, -0.1, 0.05], np.float32)[: latents.dim]
    selection.pick_point(*picked)
    assert selection.seen == ["disk"]
    np.testing.assert_array_equal(selection.point, picked)
    apart = distances(latents, picked)
    assert apart[selection.voxel] == pytest.approx(apart.min())
    assert selection.voxel == tuple(selection.voxels[0])
    np.testing.assert_array_equal(latents.read()[tuple(selection.voxels.T)], selection.points)
    # As many as lie within the radius that it begins with.
    assert selection.count == len(selection.voxels) == (apart <= selection.radius + 1e-6).sum()
    assert selection.farthest == pytest.approx(apart.max(), rel=1e-5)


def test_from_a_voxel_to_the_disk(latents, selection):
    point = latents.read()[3, 4, 5]
    selection.pick_voxel((3, 4, 5), point)
    assert selection.seen == ["volume"]
    assert selection.voxel == (3, 4, 5)
    np.testing.assert_array_equal(selection.point, point)
    expected = distances(latents, np.zeros(latents.dim))[3, 4, 5]
    assert selection.distance == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("most", [20_000, 50])
def test_another_radius_lights_all_within_it(latents, selection, monkeypatch, most):
    monkeypatch.setattr(module, "_MOST", most)
    point = latents.read()[3, 4, 5]
    selection.pick_voxel((3, 4, 5), point)
    apart = distances(latents, point)
    for share in (0.2, 0.6):
        radius = float(np.quantile(apart, share)) + 1e-6
        selection.widen(radius)
        within = set(map(tuple, np.argwhere(apart <= radius).tolist()))
        lit = set(map(tuple, selection.voxels.tolist()))
        assert (selection.radius, selection.count) == (radius, len(within))
        assert lit <= within
        assert len(lit) == min(most, len(within))
        np.testing.assert_array_equal(latents.read()[tuple(selection.voxels.T)], selection.points)
    assert selection.seen == ["volume", "radius", "radius"]
    assert selection.voxel == (3, 4, 5)
    with pytest.raises(ValueError, match="a radius is a distance from 0 on, not -1"):
        selection.widen(-1)


def test_without_a_pick_there_is_no_radius(selection):
    selection.widen(1.0)
    assert selection.seen == []
    assert np.isnan(selection.radius)


def test_two_views_that_both_draw_and_pick_do_not_go_in_circles(latents, selection):
    """Each view draws what is picked; a click in either is one change."""
    views = [SimpleNamespace(draws=0), SimpleNamespace(draws=0)]
    for view in views:
        selection.changed.connect(lambda view=view: setattr(view, "draws", view.draws + 1))
    selection.pick_point(*np.full(latents.dim, 0.1))
    selection.pick_voxel((0, 0, 0), np.zeros(latents.dim))
    assert [view.draws for view in views] == [2, 2]


def test_other_points_forget_the_pick(latents, selection):
    selection.pick_point(*np.full(latents.dim, 0.1))
    selection.reset(None)
    assert selection.point is None
    assert np.isnan(selection.distance)
    assert selection.count == len(selection.voxels) == 0
    selection.pick_point(*np.full(latents.dim, 0.1))
    assert selection.point is None
