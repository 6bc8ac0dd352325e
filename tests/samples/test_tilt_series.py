"""The microscope: geometry, contrast transfer, exposure, noise, against references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import constants, ndimage, optimize

from napari_hypseg.samples.tilt_series import (
    add_noise,
    back_project,
    contrast_transfer,
    exposure,
    project,
    tilt_angles,
    transfer,
)

DEGREES = np.arange(-60, 61, 3.0)


def bead(shape, centre, sigma=1.5):
    grid = np.indices(shape).astype(float)
    square = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))
    return torch.from_numpy(np.exp(-0.5 * square / sigma**2).astype(np.float32))


def mass_centre(image):
    return np.array(ndimage.center_of_mass(np.asarray(image, float)))


def ctf_of_the_books(frequency, defocus, amplitude=0.1):
    """-sqrt(1 - A^2) sin(chi) - A cos(chi), with the wavelength from the constants of nature."""
    energy = constants.e * 3e5
    momentum = np.sqrt(
        2 * constants.m_e * energy * (1 + energy / (2 * constants.m_e * constants.c**2))
    )
    wavelength = constants.h / momentum * 1e10
    f = np.asarray(frequency, np.float64)
    chi = np.pi * wavelength * defocus * 1e4 * f**2 - np.pi / 2 * 2.7e7 * wavelength**3 * f**4
    return -np.sqrt(1 - amplitude**2) * np.sin(chi) - amplitude * np.cos(chi)


@pytest.mark.parametrize("shape", [(24, 30, 40), (25, 32, 41), (40, 20, 33)])
@pytest.mark.parametrize("part", [(0.5, 0.5, 0.5), (0.3, 0.7, 0.65), (0.62, 0.35, 0.38)])
def test_a_bead_is_seen_where_a_turned_bead_lies(shape, part):
    centre = (np.array(shape) - 1) * part
    seen = project(bead(shape, centre), DEGREES)
    middle = (np.array(shape) - 1) / 2
    for degrees, image in zip(DEGREES, seen, strict=True):
        t = np.radians(degrees)
        # About y, so that what lies above (z) comes to the right (x).
        about_y = np.array([[np.cos(t), 0, -np.sin(t)], [0, 1, 0], [np.sin(t), 0, np.cos(t)]])
        _, y, x = about_y @ (centre - middle) + middle
        np.testing.assert_allclose(mass_centre(image), (y, x), atol=0.1)


def test_projections_are_those_of_a_volume_turned_by_scipy():
    rng = np.random.default_rng(0)
    shape = (41, 24, 61)
    volume = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    # Inside a cylinder nothing is turned out of the volume.
    z, _, x = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    volume[np.hypot(z, x) > 16] = 0
    volume = ndimage.gaussian_filter(volume, 1.0)
    for degrees in (-55.0, 0.0, 20.0, 45.0):
        turned = ndimage.rotate(volume, degrees, axes=(0, 2), reshape=False, order=3).sum(axis=0)
        seen = project(torch.from_numpy(volume.astype(np.float32)), [degrees])[0].numpy()
        assert np.corrcoef(turned.ravel(), seen.ravel())[0, 1] > 0.995
        assert seen.std() == pytest.approx(turned.std(), rel=0.03)


@pytest.mark.parametrize("shape", [(24, 30, 40), (25, 32, 41), (40, 20, 33)])
@pytest.mark.parametrize("part", [(0.5, 0.5, 0.5), (0.3, 0.7, 0.65), (0.62, 0.35, 0.38)])
def test_a_bead_comes_back_where_it_was(shape, part):
    centre = (np.array(shape) - 1) * part
    volume = bead(shape, centre)
    # With room on both sides, as a specimen has that goes on.
    wide = torch.nn.functional.pad(volume, (10, 10))
    found = back_project(project(wide, DEGREES), DEGREES, (shape[0], shape[2])).numpy()
    assert found.shape == shape
    sharp = np.maximum(found - 0.5 * found.max(), 0)
    assert np.abs(mass_centre(sharp) - centre).max() < 0.25


def test_all_angles_of_a_half_circle_bring_back_the_density():
    volume = bead((32, 8, 32), (17, 3, 13), sigma=2.5)
    degrees = np.arange(-90, 90, 2.0)
    found = back_project(project(volume, degrees), degrees, (32, 32))
    # Without the ramp's zero at frequency 0 it would be the same everywhere.
    difference = (found - found.mean()) - (volume - volume.mean())
    assert float(difference.abs().max()) < 0.03


def test_angles_are_even_about_zero():
    assert len(tilt_angles(60, 3)) == 41
    assert tilt_angles(60, 3)[[0, 20, 40]].tolist() == [-60, 0, 60]
    assert np.abs(tilt_angles(50.5, 3)).max() == 48


@pytest.mark.parametrize("defocus", [1.5, 4.0, 6.0])
def test_contrast_transfer_is_that_of_the_books(defocus):
    frequency = np.linspace(0, 0.1, 2001)
    ours = contrast_transfer(torch.from_numpy(frequency), defocus).numpy()
    np.testing.assert_allclose(ours, ctf_of_the_books(frequency, defocus), atol=2e-4)


@pytest.mark.parametrize("defocus", [1.5, 4.0, 6.0])
def test_zeros_lie_where_the_equation_puts_them(defocus):
    """With s the squared frequency: pi lambda dz s - pi/2 Cs lambda^3 s^2 + asin(A) = n pi."""
    wavelength = 0.019687
    for order in (1, 2, 3, 4):
        roots = np.roots([
            -0.5 * 2.7e7 * wavelength**3, wavelength * defocus * 1e4, np.arcsin(0.1) / np.pi - order
        ])  # fmt: skip
        expected = np.sqrt(roots.real.min())

        def value(f):
            return float(contrast_transfer(torch.tensor(f, dtype=torch.float64), defocus))

        found = optimize.brentq(value, 0.97 * expected, 1.03 * expected)
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("shape", [(48, 64), (65, 40)])
def test_a_point_shows_the_transfer_of_the_whole_microscope(shape):
    """Flipped phases, a blur of 5 angstrom and the damage of Grant and Grigorieff, on both axes."""
    point = torch.zeros(2, *shape)
    point[:, 0, 0] = 1
    seen = transfer(point, 8.0, defocus=3.0, exposures=[0.0, 60.0]).numpy().astype(np.float64)
    f = np.hypot(np.fft.fftfreq(shape[0], 8.0)[:, None], np.fft.fftfreq(shape[1], 8.0))
    flipped = np.abs(ctf_of_the_books(f, 3.0)) * np.exp(-2 * np.pi**2 * 25 * f**2)
    np.testing.assert_allclose(np.fft.fft2(seen[0]).real, flipped, atol=2e-3)
    f[0, 0] = np.inf  # Frequency 0 isn't damaged.
    damaged = np.exp(-60 / (2 * (0.245 * f**-1.665 + 2.81)))
    damaged[0, 0] = 1
    np.testing.assert_allclose(np.fft.fft2(seen[1]).real, flipped * damaged, atol=2e-3)


def test_the_dose_is_spent_from_the_middle_outwards():
    angles = tilt_angles(60, 3)
    seen = exposure(angles, 82.0)
    assert seen[20] == pytest.approx(1.0)
    assert seen.max() == pytest.approx(81.0)
    assert np.diff(np.sort(seen)) == pytest.approx(2.0)
    assert (np.diff(seen[20:]) > 0).all()
    assert (np.diff(seen[:21]) < 0).all()


@pytest.mark.parametrize("snr", [0.1, 1.0, 5.0])
def test_noise_is_as_asked_and_grows_with_the_way_through_the_specimen(snr):
    rng = np.random.default_rng(3)
    angles = np.array([-60.0, 0.0, 45.0])
    clean = torch.zeros(3, 300, 300)
    noise = add_noise(clean, angles, snr, rng, signal=7.0, thickness=1500.0).numpy()
    variance = noise.var(axis=(1, 2))
    assert 7.0 / variance[1] == pytest.approx(snr, rel=0.03)
    # A path twice as long loses exp(-1500 / 3000) more of the electrons.
    assert variance[0] / variance[1] == pytest.approx(np.exp(0.5), rel=0.04)
    assert variance[2] / variance[1] == pytest.approx(np.exp(0.5 * (np.sqrt(2) - 1)), rel=0.04)
    neighbours = np.corrcoef(noise[1, :, 1:].ravel(), noise[1, :, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.02
