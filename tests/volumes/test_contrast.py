"""What a network will see of a volume, against noise and intensities that are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hypseg.jobs import finish
from napari_hypseg.volumes import Volume, VolumeError, contrast_job
from napari_hypseg.volumes.contrast import noise_level


@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_noise_is_measured_beside_slopes_and_edges(sigma):
    z, y, x = np.mgrid[:8, :120, :130]
    smooth = 0.3 * x + 5 * (y > 60) + 3 * (x > 40) + z
    noise = np.random.default_rng(0).normal(0, sigma, smooth.shape)
    assert noise_level(smooth + noise) == pytest.approx(sigma, rel=0.02)
    assert noise_level(smooth) < 1e-6


def test_tiny_slices_have_no_noise_to_measure():
    assert noise_level(np.ones((3, 2, 9))) == 0.0


@pytest.mark.filterwarnings("ignore:.*not finite")
def test_share_of_the_noise_and_range_kept():
    rng = np.random.default_rng(1)
    signal = 3.0 * (np.indices((30, 80, 80))[2] // 20 % 2)
    voxels = (signal + rng.normal(0, 1, signal.shape)).astype(np.float32)
    voxels[15, 3, 3], voxels[15, 4, 4] = 1e6, np.nan
    found = finish(contrast_job(Volume(voxels)))
    assert found.noise == pytest.approx(1 / (1 + 1.5**2), rel=0.1)
    low, high = np.nanpercentile(voxels, (0.1, 99.9))
    assert found.normalization.low == pytest.approx(low, rel=1e-5)
    assert found.normalization.high == pytest.approx(high, rel=1e-5)
    assert found.edges[0] < low < high < found.edges[-1]
    assert found.counts.sum() == pytest.approx(16 * 80 * 80, rel=1e-3)


def test_a_constant_volume_says_so():
    with pytest.raises(VolumeError, match="is constant"):
        finish(contrast_job(Volume(np.ones((4, 5, 6)), name="flat")))
