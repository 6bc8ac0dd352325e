"""Classes drawn on the disk, and what the latents say of each voxel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.measure import points_in_poly

from napari_hypseg.figures import (
    Glances,
    Lasso,
    Translation,
    coordinates,
    lasso_job,
)
from napari_hypseg.figures import cloud as cloud_module
from napari_hypseg.figures.cloud import cloud_job
from napari_hypseg.geometry import distance
from napari_hypseg.jobs import Progress, finish
from napari_hypseg.latents import coordinate, uncertainty

from .conftest import make_latents

SHAPE = (9, 10, 12)
OUTLINE = [(-0.1, -0.25), (0.3, -0.1), (0.05, 0.0), (0.2, 0.3), (-0.2, 0.1)]


@pytest.mark.parametrize("geometry", ["hyperbolic", "euclidean"])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.3, -0.2)])
@pytest.mark.parametrize("most", [1 << 21, 100])
def test_a_lasso_takes_the_voxels_whose_points_are_seen_inside(monkeypatch, geometry, centre, most):
    monkeypatch.setattr(cloud_module, "_MOST", most)
    latents = make_latents(SHAPE, geometry=geometry)
    cloud = finish(cloud_job(latents))
    view = Translation(centre, geometry == "hyperbolic")
    mask = finish(lasso_job(latents, cloud, Lasso(OUTLINE, view, cloud.projection)))
    seen = view.apply(latents.read().reshape(-1, 2).astype(float))
    expected = points_in_poly(seen, OUTLINE).reshape(SHAPE)
    assert mask.shape == SHAPE
    assert 20 < expected.sum() < 0.7 * expected.size
    # The polygon is drawn in cells: points on its very edge may go either way.
    assert (mask != expected).sum() <= 2


def test_a_lasso_that_reaches_out_of_the_disk_or_is_very_small():
    latents = make_latents(SHAPE)
    cloud = finish(cloud_job(latents))
    points = latents.read().reshape(-1, 2).astype(float)
    for centre in ((0.0, 0.0), (0.5, -0.4)):
        view = Translation(centre)
        # A third of all that is seen, out to beyond the rim; all of it; a speck at one point.
        for outline in (
            [(0.0, 0.0), (-3.0, 0.0), (0.0, 3.0)],
            [(-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0)],
            (view.apply(points[77]) + 1e-3 * np.array([[-1, -1], [1, -1], [0, 1]])).tolist(),
        ):
            lasso = Lasso(outline, view, cloud.projection)
            mask = finish(lasso_job(latents, cloud, lasso))
            expected = points_in_poly(view.apply(points), outline)
            assert expected.any()
            # Cells are a thousandth of the polygon wide, and of the disk at most.
            wrong = view.apply(points[mask.ravel() != expected])
            assert len(wrong) < 10
            size = min(np.ptp(np.array(outline), axis=0).max(), 2.0)
            assert all(to_edge(place, outline) < 0.005 * size for place in wrong)
    # What is known in steps only is not used where a step counts.
    assert lasso.voxels(cloud) is None


def test_lassos_one_after_the_other_have_masks_of_their_own():
    latents = make_latents(SHAPE)
    cloud = finish(cloud_job(latents))
    masks = []
    for shift in (0.0, 0.2, 0.4):
        outline = [(x + shift, y) for x, y in OUTLINE]
        lasso = Lasso(outline, Translation(), cloud.projection)
        # Made ready once or twice, or not at all.
        cloud.prepare()
        masks.append(lasso.voxels(cloud))
        np.testing.assert_array_equal(masks[-1], lasso.voxels(cloud))
        assert not np.shares_memory(masks[-1], cloud.blank())
        cloud.prepare()
    for mask, shift in zip(masks, (0.0, 0.2, 0.4), strict=True):
        expected = points_in_poly(
            latents.read().reshape(-1, 2).astype(float), [(x + shift, y) for x, y in OUTLINE]
        )
        assert expected.any()
        assert (mask.ravel() != expected).sum() < 6


def to_edge(place, outline):
    """Distance of a place to the nearest side of a polygon."""
    corners = np.array(outline)
    sides = np.roll(corners, -1, 0) - corners
    along = ((place - corners) * sides).sum(1) / (sides**2).sum(1)
    nearest = corners + along.clip(0, 1)[:, None] * sides
    return np.linalg.norm(place - nearest, axis=1).min()


def test_a_lasso_in_two_of_three_dimensions():
    latents = make_latents(SHAPE, dim=3)
    cloud = finish(cloud_job(latents))
    lasso = Lasso(OUTLINE, Translation(), coordinates(3, 2, 0, 1.0))
    mask = finish(lasso_job(latents, cloud, lasso))
    points = latents.read().reshape(-1, 3)[:, [2, 0]]
    assert (mask.ravel() != points_in_poly(points, OUTLINE)).sum() <= 2


def test_a_lasso_reports_and_can_be_stopped(monkeypatch):
    monkeypatch.setattr(cloud_module, "_MOST", 100)
    latents = make_latents(SHAPE)
    lasso = Lasso(OUTLINE, Translation(), coordinates(2, 0, 1, 1.0))
    job = lasso_job(latents, finish(cloud_job(latents)), lasso)
    assert isinstance(next(job), Progress)
    job.close()


@pytest.mark.parametrize("geometry", ["hyperbolic", "euclidean"])
def test_uncertainty_and_coordinates_as_volumes(geometry):
    latents = make_latents(SHAPE, dim=3, geometry=geometry)
    points = torch.from_numpy(latents.read().astype(float))
    volume = uncertainty(latents)
    assert volume.shape == SHAPE
    assert (volume.voxel_size, volume.origin) == (latents.voxel_size, latents.origin)
    assert volume.data.dtype == volume.read().dtype == np.float32
    expected = points.norm(dim=-1)
    if geometry == "hyperbolic":
        expected = distance(torch.zeros_like(points), points)
    # High at the centre, where the network is uncertain, and never above 1.
    np.testing.assert_allclose(volume.read(), 1 / np.cosh(expected.numpy()), rtol=1e-5)
    order = np.argsort(expected.numpy().ravel())
    assert (np.diff(volume.read().ravel()[order]) <= 1e-6).all()
    box = (slice(2, 5), slice(0, 10), slice(3, 4))
    np.testing.assert_array_equal(volume.read(box), volume.read()[box])
    for index in range(3):
        np.testing.assert_array_equal(coordinate(latents, index).read(), points[..., index])
    with pytest.raises(ValueError, match="coordinates 0 to 2, not 3"):
        coordinate(latents, 3)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_glance_shows_what_the_network_sees(lump, model, stride):
    shape = tuple(-(-n // stride) for n in lump.shape)
    size = tuple(stride * v for v in lump.voxel_size)
    latents = make_latents(shape, voxel_size=size, origin=lump.origin)
    cloud = finish(cloud_job(latents))
    glances = Glances(lump, model, latents)
    voxel = tuple(int(v) for v in cloud.positions([5])[0])
    glance = glances.at(cloud, tuple(cloud.places[5].tolist()))
    assert glance.voxel == voxel
    np.testing.assert_allclose(glance.point, latents.read()[voxel], rtol=1e-5, atol=1e-7)
    side = model.config.input_size
    assert glance.patch.shape == glance.reconstruction.shape == (side, side)
    with torch.inference_mode():
        whole = model.network.decode(torch.from_numpy(glance.point)[None])[0]
    np.testing.assert_allclose(glance.reconstruction, whole.numpy(), rtol=1e-5)
    # The middle of the patch lies at the voxel: its grey is the voxel's own, interpolated.
    from scipy.ndimage import zoom

    from napari_hypseg.volumes.normalize import fit_normalization

    halo = model.config.patch_size // 2
    with pytest.warns(UserWarning, match="not finite"):
        normalization = fit_normalization(lump)
    padded = np.pad(normalization.apply(lump.read()), halo, mode="symmetric")
    z, y, x = (stride * v for v in voxel)
    cube = padded[z : z + 2 * halo + 1, y : y + 2 * halo + 1, x : x + 2 * halo + 1]
    grown = zoom(cube.astype(float), side / len(cube), order=1, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(glance.patch, grown[side // 2], atol=1e-5)
