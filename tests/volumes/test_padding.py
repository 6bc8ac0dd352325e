"""Padding and gradients: found where they are, and nowhere else; volumes with known ones."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_hypseg.jobs import finish
from napari_hypseg.volumes import Volume, contrast_job, fit_normalization, read_volume

padded = pytest.mark.filterwarnings("ignore:.*taken as padding:UserWarning")
uneven = pytest.mark.filterwarnings("ignore:.*gradient is taken away:UserWarning")


def ball(shape=(24, 40, 40), seed=0):
    """A bright ellipsoid in noise."""
    z, y, x = ((np.indices(shape).T - np.array(shape) / 2) / (np.array(shape) / 3)).T
    inside = z**2 + y**2 + x**2 < 1
    return (2 * inside + np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def framed(voxels, width, value):
    out = np.full_like(voxels, value)
    inner = (slice(None), slice(width, -width), slice(width, -width))
    out[inner] = voxels[inner]
    return out, inner


KINDS = {
    "int16": lambda: ((ball() * 200 + 20000).astype(np.int16), 0),
    "uint8, the mean": lambda: ((ball() * 30 + 100).clip(1, 255).astype(np.uint8), 110),
    "uint8, brightest": lambda: ((ball() * 30 + 100).clip(1, 254).astype(np.uint8), 255),
    "float32": lambda: (ball(), 0.0),
    "float32, the mean": lambda: (ball(), ball().mean()),
}


@padded
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_of_any_width(kind, width):
    voxels, value = KINDS[kind]()
    volume, inner = framed(voxels, width, value)
    wanted, found = fit_normalization(Volume(voxels[inner])), fit_normalization(Volume(volume))
    assert found.padding == value
    # But for the voxels inside that have the value by chance.
    assert found.std == pytest.approx(wanted.std, rel=0.05)
    assert found.mean == pytest.approx(wanted.mean, abs=0.05 * wanted.std)
    seen, outside = found.look(Volume(volume))
    assert outside[0, :width].all()
    assert outside[:, :, -width:].all()
    assert outside[inner].mean() < 2e-3
    assert (seen[outside] == 0).all()


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_other_shapes_of_padding(value):
    voxels = ball((20, 60, 60))
    _, y, x = np.indices(voxels.shape) - 29.5
    shapes = {
        "a slice": np.indices(voxels.shape)[0] == 19,
        "corners": np.abs(y) + np.abs(x) > 52,
        "a round mask": y**2 + x**2 > 30**2,
        "half": x > 0,
    }
    for name, mask in shapes.items():
        volume = Volume(np.where(mask, np.float32(value), voxels))
        with pytest.warns(UserWarning, match="padding"):
            fit = fit_normalization(volume)
        assert fit.padding == value, name
        np.testing.assert_array_equal(fit.look(volume)[1], mask)


@padded
def test_boxes_agree_with_the_whole():
    voxels, _ = framed(ball(), 3, 0)
    voxels[5, 20, 20] = np.nan
    voxels[10, 20, 20:22] = 0
    volume = Volume(voxels)
    with pytest.warns(UserWarning, match="not finite"):
        fit = fit_normalization(volume)
    seen, outside = fit.look(volume)
    assert outside[5, 20, 20]
    assert not outside[10, 20, 20:22].any()
    for box in ((slice(0, 7), slice(0, 1), slice(37, 40)), (slice(5, 6),) * 3):
        part, mask = fit.look(volume, box)
        np.testing.assert_array_equal(part, seen[box])
        np.testing.assert_array_equal(mask, outside[box])


def test_ordinary_volumes_have_none():
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.normal(size=(40, 60, 60)), 3)
    smooth /= smooth.std()
    ordinary = {
        "saturated noise": rng.normal(60, 40, (30, 50, 50)).clip(0, 255),
        # What is dark or bright lies in patches, of which many touch the faces.
        "half of it dark": (60 * smooth).clip(0, 255),
        "few are bright": (255 - 60 * (smooth + 2)).clip(0, 255),
    }
    for name, voxels in ordinary.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert fit_normalization(Volume(voxels.astype(np.uint8))).padding is None, name
    # Labels and masks are drawn.
    assert fit_normalization(Volume((smooth > 2.5).astype(np.uint8))).padding is None


@padded
def test_contrast_is_that_of_the_inside():
    voxels, value = KINDS["int16"]()
    volume, _ = framed(voxels, 6, value)
    seen = finish(contrast_job(Volume(volume)))
    assert seen.counts.sum() == 16 * 28 * 28


@uneven
@pytest.mark.parametrize("slopes", [(0, 0, 8), (0, -8, 0), (4, 4, -4)])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_a_strong_gradient_is_taken_away(slopes, dtype):
    """In standard deviations across the volume, along each axis."""
    flat = ball()
    places = np.indices(flat.shape).T / (np.array(flat.shape) - 1) - 0.5
    tilted = flat + flat.std() * (places @ np.array(slopes)).T
    scale = 1000 if dtype is np.int16 else 1
    volume = Volume((tilted * scale).astype(dtype))
    fit = fit_normalization(volume)
    expected = flat.std() * np.array(slopes) / (np.array(flat.shape) - 1)
    # The ball is not quite in the middle of the noise.
    np.testing.assert_allclose(np.array(fit.gradient) / scale, expected, atol=0.01)
    wanted = fit_normalization(Volume(flat)).read(Volume(flat))
    assert np.corrcoef(fit.read(volume).ravel(), wanted.ravel())[0, 1] > 0.99
    box = (slice(3, 9), slice(0, 4), slice(11, 40))
    np.testing.assert_array_equal(fit.read(volume, box), fit.read(volume)[box])
    assert fit_normalization(volume, gradient=False).gradient is None


@uneven
@pytest.mark.parametrize("deviations", [4, 8])
def test_a_gradient_over_large_structures(deviations):
    """A cell that ends within the volume, of half its voxels."""
    flat = np.random.default_rng(0).normal(size=(20, 50, 100)).astype(np.float32)
    flat[:, :, 25:75] += 2.5
    tilted = flat + np.linspace(0, deviations * flat.std(), 100, dtype=np.float32)
    fit = fit_normalization(Volume(tilted))
    assert fit.gradient is not None
    assert np.abs(np.multiply(fit.gradient, 99)[2] / flat.std() - deviations) < 0.1


@uneven
@padded
def test_a_gradient_inside_a_frame():
    tilted = ball() + np.linspace(0, 10, 40, dtype=np.float32) + 3
    volume, _ = framed(tilted.astype(np.float32), 3, 0)
    fit = fit_normalization(Volume(volume))
    assert fit.padding == 0
    np.testing.assert_allclose(fit.gradient, (0, 0, 10 / 39), atol=0.01)
    assert fit.std == pytest.approx(fit_normalization(Volume(ball()[:, 3:-3, 3:-3])).std, rel=0.1)


def test_structure_is_no_gradient():
    noise = np.random.default_rng(0).normal(size=(40, 60, 60))
    x = np.indices(noise.shape)[2]
    steps = [4 * (x > 20) + 4 * (x > 40), 8.0 * (x > 15) + 8 * (x > 30) + 8 * (x > 45)]
    for scene in (6 * (x > 30), *steps, 9 * (x > 50), 0.02 * x):
        assert fit_normalization(Volume((scene + noise).astype(np.float32))).gradient is None
    ramp = np.arange(20 * 17 * 24, dtype=np.float32).reshape(20, 17, 24)
    assert fit_normalization(Volume(ramp)).gradient is None


@pytest.mark.parametrize(
    ("name", "padding"),
    [
        ("microtubule_cryoet/13pf_MT.mrc", None),
        ("fly_fibsem/train-image.h5", None),
        ("sim_cryoet/a_clear.mrc", None),
        ("sim_cryoet/d_noisy.mrc", None),
        ("tardis_microtubules/0_0_30_47_25.tif", 0),  # 26 slices of zeros
        ("tardis_microtubules/4_0_55_98_25.tif", None),
        ("glioma_mri/TCGA-DU-7294_fla.nii.gz", 0),
    ],
)
@padded
def test_real_volumes(shared_data, name, padding):
    path = shared_data / name
    if not path.exists():
        pytest.skip(f"{path} is missing")
    if name.endswith(".nii.gz"):
        pytest.importorskip("nibabel")
    volume = read_volume(path, voxel_size=10)
    fit = fit_normalization(volume)
    assert (fit.padding, fit.gradient) == (padding, None)
    outside = fit.look(volume)[1]
    voxels = volume.read()
    assert not outside.any() if padding is None else (voxels[outside] == 0).all()
    if padding is not None:
        # Zeros inside, if there are any, lie alone.
        assert outside.sum() / (voxels == 0).sum() > 0.999
