"""What is seen of the disk: translations and projections, against the geometry in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.figures import Translation, coordinates, principal_plane
from napari_hypseg.geometry import distance, exp0, expmap, frechet_mean, log0, mobius_add

CURVATURES = (1.0, 0.3, 2.0)


def places(n, radius=0.95, seed=0):
    rng = np.random.default_rng(seed)
    turn, length = rng.uniform(0, 2 * np.pi, n), radius * np.sqrt(rng.random(n))
    return length[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def apart(x, y, c=1.0):
    return distance(torch.as_tensor(x), torch.as_tensor(y), c).numpy()


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.4, -0.3), (-0.9, 0.3)])
def test_a_translation_is_the_moebius_sum_and_keeps_distances(centre):
    x, y = places(200), places(200, seed=1)
    view = Translation(centre)
    expected = mobius_add(-torch.tensor(centre, dtype=torch.float64), torch.from_numpy(x))
    np.testing.assert_allclose(view.apply(x), expected.numpy(), atol=1e-12)
    np.testing.assert_allclose(apart(view.apply(x), view.apply(y)), apart(x, y), rtol=1e-9)
    np.testing.assert_allclose(view.apply(centre), 0, atol=1e-15)
    np.testing.assert_allclose(view.undo(view.apply(x)), x, atol=1e-12)


def test_what_is_grabbed_follows_the_mouse():
    for start, end, before in zip(places(50), places(50, seed=1), places(50, seed=2), strict=True):
        view = Translation(tuple(before), curved=True)
        moved = view.dragged(start, end)
        assert np.hypot(*moved.centre) < 1
        if np.hypot(*moved.centre) < 0.99:
            np.testing.assert_allclose(moved.apply(view.undo(start)), end, atol=1e-9)
        # Going back gives the view before, wherever one has been in between.
        back = moved.dragged(end, start)
        np.testing.assert_allclose(back.centre, before, atol=1e-6)


def test_a_drag_in_a_plane_is_a_shift():
    view = Translation(curved=False).dragged((1.0, 2.0), (4.0, 0.0))
    np.testing.assert_allclose(view.apply([1.0, 2.0]), (4.0, 0.0))
    np.testing.assert_allclose(view.apply([0.0, 0.0]), (3.0, -2.0))
    np.testing.assert_allclose(view.undo([3.0, -2.0]), (0.0, 0.0))


def test_a_translation_keeps_float32():
    x = places(10).astype(np.float32)
    assert Translation((0.3, 0.2)).apply(x).dtype == np.float32


@pytest.mark.parametrize("c", CURVATURES)
def test_two_coordinates_are_those_in_units_of_the_radius(c):
    points = np.random.default_rng(0).normal(size=(20, 4)) * 0.1
    seen = coordinates(4, 3, 1, c).apply(points)
    np.testing.assert_allclose(seen, np.sqrt(c) * points[:, [3, 1]])
    assert coordinates(4, 3, 1, c).name == "coordinates 4 and 2 of 4"
    np.testing.assert_array_equal(coordinates(4, 3, 1, None).apply(points), points[:, [3, 1]])


def test_a_place_gives_a_point_only_in_two_dimensions():
    flat = coordinates(2, 0, 1, 4.0)
    np.testing.assert_allclose(flat.apply(flat.latent((0.3, -0.2))[None])[0], (0.3, -0.2))
    with pytest.raises(ValueError, match="3 dimensions can't be told"):
        coordinates(3, 0, 1, 1.0).latent((0.3, -0.2))


@pytest.mark.parametrize("c", CURVATURES)
def test_the_principal_plane_finds_a_plane_that_is_there(c):
    """Points of a disk through a point off the centre, turned in space, with a little noise."""
    rng = np.random.default_rng(0)
    turn = torch.linalg.qr(torch.from_numpy(rng.normal(size=(5, 5)))).Q[:, :2]
    tangent = torch.from_numpy(rng.normal(size=(3000, 2)) * (0.5, 0.2)) @ turn.T
    tangent += 1e-3 * torch.from_numpy(rng.normal(size=(3000, 5)))
    off = torch.tensor([0.2, -0.1, 0.3, 0.0, 0.1], dtype=torch.float64)
    points = mobius_add(off, exp0(tangent, c), c).numpy()
    plane = principal_plane(points, c)
    assert "hyperbolic PCA of 5 dimensions, 100 %" in plane.name
    np.testing.assert_allclose(plane.axes.T @ plane.axes, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(
        plane.mean, frechet_mean(torch.from_numpy(points), c=c).numpy(), atol=1e-8
    )
    # Distances to the mean are kept, along both axes.
    seen = plane.apply(points) / np.sqrt(c)
    to_mean = apart(points, plane.mean[None].repeat(len(points), 0), c)
    np.testing.assert_allclose(apart(seen, np.zeros_like(seen), c), to_mean, atol=5e-3)


def test_the_principal_plane_holds_the_most_variance():
    rng = np.random.default_rng(1)
    scales = np.array([0.1, 0.5, 0.05, 0.3])
    points = exp0(torch.from_numpy(rng.normal(size=(4000, 4)) * scales)).numpy()
    plane = principal_plane(points, 1.0)
    carried = log0(mobius_add(-torch.from_numpy(plane.mean), torch.from_numpy(points)))
    values, directions = np.linalg.eigh(np.cov(carried.numpy().T))
    share = 100 * values[-2:].sum() / values.sum()
    assert f"{share:.0f} % of the variance" in plane.name
    for axis, direction in zip(plane.axes.T, directions.T[::-1][:2], strict=True):
        assert abs(axis @ direction) == pytest.approx(1, abs=1e-3)
    assert (abs(plane.axes).argmax(0) == (1, 3)).all()
    assert (plane.axes[(1, 3), (0, 1)] > 0).all()


def test_the_principal_plane_goes_through_the_mean_along_geodesics():
    rng = np.random.default_rng(2)
    points = exp0(torch.from_numpy(rng.normal(size=(500, 3)) * (0.6, 0.4, 0.01))).numpy()
    plane = principal_plane(points, 1.0)
    mean = torch.from_numpy(plane.mean)
    for weights in ((0.3, 0.0), (0.0, -0.4), (0.2, 0.1)):
        tangent = torch.from_numpy(plane.axes @ np.array(weights))
        # At the mean lengths are shorter than at the centre, by the conformal factors' ratio.
        point = expmap(mean, tangent * (1 - mean @ mean)).numpy()
        np.testing.assert_allclose(
            plane.apply(point[None])[0],
            exp0(torch.tensor(weights, dtype=torch.float64)).numpy(),
            atol=1e-9,
        )


def test_without_curvature_it_is_the_usual_pca():
    from sklearn.decomposition import PCA

    points = np.random.default_rng(3).normal(size=(500, 4)) * (3.0, 1.0, 0.2, 2.0) + 5
    plane, reference = principal_plane(points, None), PCA(2).fit(points)
    expected = reference.transform(points)
    np.testing.assert_allclose(abs(plane.apply(points)), abs(expected), atol=1e-8)
    assert f"{100 * reference.explained_variance_ratio_.sum():.0f} %" in plane.name
    assert plane.name.startswith("PCA of 4")
