"""The noise of volumes whose noise is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_hypseg.jobs import finish
from napari_hypseg.volumes import noise
from napari_hypseg.volumes.noise import fit_noise, fit_noise_job
from napari_hypseg.volumes.normalize import Normalization
from napari_hypseg.volumes.volume import Volume

PLAIN = Normalization(low=-1e6, high=1e6, mean=0.0, std=1.0)


def _volume(array):
    return Volume(np.asarray(array, np.float32), (10.0, 10.0, 10.0))


def _noise(shape=(40, 50, 60), seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0])
def test_white_noise_on_steps_and_slopes(sigma):
    z, y, x = np.mgrid[:40, :50, :60]
    scene = 3.0 * (x > 30) + 2.0 * ((z - 20) ** 2 + (y - 25) ** 2 < 100) + 0.001 * y**2
    found = fit_noise(_volume(scene + sigma * _noise()), PLAIN)
    assert found == pytest.approx(sigma, rel=0.05)


def test_is_in_units_of_the_normalised_intensities():
    rule = Normalization(low=-1e6, high=1e6, mean=7.0, std=4.0)
    assert fit_noise(_volume(2 * _noise() + 7), rule) == pytest.approx(0.5, rel=0.02)


def test_the_middle_one_of_three_axes_counts():
    noisy = _noise()
    for axis in range(3):
        # Along one axis, neighbours are nearly the same: there are hardly any differences.
        sigma = [0.0, 0.0, 0.0]
        sigma[axis] = 2.0
        one = gaussian_filter(noisy, sigma)
        assert fit_noise(_volume(one / one.std()), PLAIN) == pytest.approx(1.0, rel=0.05)


def test_a_mask_is_no_measurement():
    array = _noise()
    array[:30] = 0
    rule = replace(PLAIN, padding=0.0)
    assert fit_noise(_volume(array), rule) == pytest.approx(1.0, rel=0.03)


def test_a_volume_of_plateaus_has_none():
    z, y, x = np.mgrid[:20, :20, :20]
    scene = (x > 8) + 2.0 * (z + y > 12)
    assert fit_noise(_volume(scene), PLAIN) == 0.0


@pytest.mark.parametrize("shape", [(1, 40, 50), (2, 2, 3000), (3, 50, 60)])
def test_thin_volumes(shape):
    assert fit_noise(_volume(_noise(shape)), PLAIN) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2), (8, 9, 10)])
def test_where_nothing_can_be_measured_there_is_none(shape):
    assert fit_noise(_volume(np.ones(shape)), PLAIN) == 0.0


def test_slabs_stand_for_a_large_volume(monkeypatch):
    monkeypatch.setattr(noise, "_PIECE", 4 * 50 * 60)
    monkeypatch.setattr(noise, "_SLABS", 3)
    reports = []
    found = finish(fit_noise_job(_volume(0.4 * _noise()), PLAIN), reports.append)
    assert found == pytest.approx(0.4, rel=0.03)
    assert {p.done for p in reports} == {0, 1, 2}
