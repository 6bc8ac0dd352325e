"""Features of the scale space, against scipy and numpy, and what they promise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_hypseg.model.scale_space import HALO, SCALE_OF, SIGMAS, WIDTH, scale_space

SHAPE = (9, 12, 11)


def made(seed=0, smooth=0.6):
    noise = np.random.default_rng(seed).normal(size=tuple(n + 2 * HALO + n % 2 for n in SHAPE))
    voxels = gaussian_filter(noise, smooth)
    return (voxels / voxels.std()).astype(np.float32)


def features(voxels, first=(HALO,) * 3, shape=SHAPE):
    return scale_space(torch.from_numpy(np.ascontiguousarray(voxels)), first, shape).numpy()


def expected(voxels, sigma):
    """The nine measures of a scale by scipy and numpy, in float64."""
    v, along = voxels.astype(np.float64), np.eye(3, dtype=int)
    inner = tuple(slice(HALO, HALO + n) for n in SHAPE)

    def smoothed(values, order=(0, 0, 0)):
        return gaussian_filter(values, sigma, order=order, truncate=3.0)

    gradient = [smoothed(v, axis.tolist()) for axis in along]
    hessian, tensor = np.empty((*v.shape, 3, 3)), np.empty((*v.shape, 3, 3))
    for i, j in itertools.product(range(3), repeat=2):
        hessian[..., i, j] = smoothed(v, (along[i] + along[j]).tolist())
        tensor[..., i, j] = smoothed(gradient[i] * gradient[j])
    measures = [
        smoothed(v),
        np.sqrt(sum(g**2 for g in gradient)),
        np.trace(hessian, axis1=3, axis2=4),
    ]
    measures += list(np.moveaxis(np.linalg.eigvalsh(hessian), -1, 0))
    measures += list(np.sqrt(np.moveaxis(np.linalg.eigvalsh(tensor), -1, 0).clip(0)))
    return np.stack([m[inner] for m in measures], -1)


@pytest.mark.parametrize("scale", [s for s, sigma in enumerate(SIGMAS) if sigma < 3])
def test_fine_scales_are_those_of_scipy_and_numpy(scale):
    voxels = made()
    found = features(voxels)[..., [i for i, s in enumerate(SCALE_OF) if s == scale][:9]]
    wanted = expected(voxels, SIGMAS[scale])
    # The second derivatives' kernels have no sum here, a little of one there.
    assert np.abs(found - wanted).max() < 0.03 * wanted.std(axis=(0, 1, 2)).max()


@pytest.mark.parametrize("scale", [s for s, sigma in enumerate(SIGMAS) if sigma > 3])
def test_coarse_scales_are_nearly_so_up_to_a_factor(scale):
    voxels = made(smooth=2.0)
    found = features(voxels)[..., [i for i, s in enumerate(SCALE_OF) if s == scale]]
    wanted = expected(voxels, SIGMAS[scale])
    for index in range(9):
        assert np.corrcoef(found[..., index].ravel(), wanted[..., index].ravel())[0, 1] > 0.95


def test_a_feature_is_the_voxel_itself():
    voxels = made()
    inner = tuple(slice(HALO, HALO + n) for n in SHAPE)
    np.testing.assert_array_equal(features(voxels)[..., 0], voxels[inner])


def test_contrast_scales_every_feature_and_a_constant_only_the_smoothed_ones():
    voxels = made()
    once, twice, lifted = (features(v) for v in (voxels, 2 * voxels, voxels + 3))
    np.testing.assert_allclose(twice, 2 * once, rtol=2e-3, atol=2e-4)
    change = np.abs(lifted - once).max(axis=(0, 1, 2))
    assert np.flatnonzero(change > 0.01).tolist() == [0, 1, 10, 19, 28, 37]
    np.testing.assert_allclose(change[[0, 1, 10, 19, 28, 37]], 3, rtol=1e-3)


@pytest.mark.parametrize(
    "turn", [lambda v: v[::-1], lambda v: v.transpose(0, 2, 1), lambda v: np.rot90(v, axes=(0, 1))]
)
def test_turned_and_mirrored_volumes_have_the_same_features(turn):
    cube = np.random.default_rng(1).normal(size=(2 * HALO + 10,) * 3).astype(np.float32)
    shape = (10,) * 3
    turned = features(turn(cube), shape=shape)
    straight = features(cube, shape=shape)
    again = np.stack([turn(straight[..., i]) for i in range(WIDTH)], -1)
    np.testing.assert_allclose(turned, again, rtol=2e-3, atol=2e-3)


def test_a_voxel_has_the_same_features_in_every_tile():
    voxels = made()
    whole = features(voxels)
    part = features(voxels, (HALO + 3, HALO + 2, HALO + 5), (4, 5, 6))
    np.testing.assert_array_equal(part, whole[3:7, 2:7, 5:11])
    moved = features(voxels[2:, 4:], (HALO, HALO, HALO + 5), (4, 5, 6))
    np.testing.assert_array_equal(moved, whole[2:6, 4:9, 5:11])
