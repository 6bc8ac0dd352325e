"""Intensities beside latent points: where they lie, what they weigh, and smoothing with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.geometry import exp0, log0
from napari_hypseg.jobs import finish
from napari_hypseg.latents import embed, find_latents, smooth
from napari_hypseg.latents.intensity import Intensity, intensity_job
from napari_hypseg.latents.smooth import smooth_job
from napari_hypseg.latents.spread import spread_job
from napari_hypseg.latents.texture import TEXTURES, texture
from napari_hypseg.latents.total_variation import denoise
from napari_hypseg.model import VAE, Model, ModelConfig
from napari_hypseg.volumes.noise import fit_noise
from napari_hypseg.volumes.normalize import fit_normalization
from napari_hypseg.volumes.volume import Volume, VolumeError

BOX = (slice(2, 14), slice(1, 18), slice(5, 22))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Model(VAE(ModelConfig()).eval(), "default", {})


def _volume(noise, shape=(16, 20, 24), seed=0):
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    scene = 2.0 * ((z - 8) ** 2 + (y - 10) ** 2 + (x - 12) ** 2 < 36)
    return Volume((scene + noise * rng.normal(size=shape)).astype(np.float32), (10.0, 10.0, 10.0))


@pytest.mark.parametrize(("box", "stride"), [(None, 1), (BOX, 1), (None, 3), (BOX, 2)])
def test_lies_where_the_points_lie(model, box, stride):
    volume = _volume(0.3)
    latents = embed(model, volume, box=box, stride=stride)
    found = finish(intensity_job(volume, latents))
    values = fit_normalization(volume).apply(volume.data)
    wanted = values[box or ...][::stride, ::stride, ::stride]
    assert wanted.shape == latents.shape
    unit = found.ratio * found.unit
    everything = tuple(slice(0, n) for n in latents.shape)
    np.testing.assert_allclose(found.read(everything), wanted * unit, rtol=1e-5, atol=1e-6)
    part = (slice(1, 3), slice(0, 5), slice(2, 6))
    np.testing.assert_allclose(found.read(part), wanted[part] * unit, rtol=1e-5, atol=1e-6)


def test_weighs_as_much_as_it_stands_above_the_noise(model):
    ratios = []
    for noise in (0.0, 0.05, 0.5, 1.0, 30.0):
        volume = _volume(noise)
        latents = embed(model, volume)
        found = finish(intensity_job(volume, latents))
        sigma = min(1.0, fit_noise(volume, fit_normalization(volume)))
        # Noise and signal share the variance of 1; at most 3 times as much as the points.
        assert found.ratio <= 3
        if found.ratio < 3:
            assert (found.ratio * sigma) ** 2 + sigma**2 == pytest.approx(1)
        vectors = log0(torch.from_numpy(latents.read())).double().view(-1, 2)
        spread = float(vectors.var(0, correction=0).mean().sqrt())
        # In a clear volume the points count for less: the unit is larger than their spread.
        assert found.unit == pytest.approx(spread * max(1, found.ratio / 1.5))
        # Texture counts where signal and noise are about as strong.
        weight = np.interp(found.ratio, [0.75, 1, 1.5, 2.25], [0, 16, 16, 0])
        assert found.texture == pytest.approx(weight)
        ratios.append(found.ratio)
    assert ratios[:2] == [3, 3]
    assert ratios == sorted(ratios, reverse=True)
    assert 0.5 < ratios[2] < 3
    assert ratios[4] < 0.2


class _Counting:
    """An array that counts the voxels read from it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.voxels = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        self.voxels += self.array[key].size
        return self.array[key]


def test_what_the_mapping_measured_is_not_measured_again(model):
    data = _Counting(_volume(0.3).data)
    volume = Volume(data, (10.0, 10.0, 10.0))
    latents = embed(model, volume, stride=3)
    data.voxels = 0
    finish(intensity_job(volume, latents))
    # Once, to see that it is the same volume.
    assert data.voxels == data.array.size


def test_refuses_another_volume(model):
    volume, other = _volume(0.3), _volume(0.3, seed=1)
    with pytest.raises(ValueError, match="is not the volume of these latent points"):
        finish(intensity_job(other, embed(model, volume)))


def _channels(volume, latents, beside):
    """Tangent vectors and intensities in their unit."""
    vectors = log0(torch.from_numpy(latents.read())).numpy() / beside.unit
    values = fit_normalization(volume).apply(volume.data) * beside.ratio
    return np.concatenate([vectors, values[..., None]], -1)


def _denoised(field, weight=0.5):
    job = denoise(np.ascontiguousarray(field, np.float32), weight, smooth._ROUNDS)
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def test_points_and_intensities_are_smoothed_together(model, tmp_path):
    volume = _volume(0.05)
    latents = embed(model, volume)
    beside = finish(intensity_job(volume, latents))
    found = finish(smooth_job(latents, 0.5, intensity=beside, store=tmp_path / "s.zarr"))
    # In a clear volume nothing else stands beside them.
    assert found.beside == 1
    assert found.dim == 2
    assert found.array.shape == (*latents.shape, 3)

    wanted = _denoised(_channels(volume, latents, beside)) * beside.unit
    points = exp0(torch.from_numpy(np.ascontiguousarray(wanted[..., :2]))).numpy()
    np.testing.assert_allclose(found.read(), points, atol=1e-5)
    np.testing.assert_allclose(found.read_channels()[..., 2], wanted[..., 2], atol=1e-5)
    np.testing.assert_array_equal(found.read_all(), found.read_channels()[..., :2])
    # An edge of one is an edge of both: the points are others than without the intensities.
    alone = finish(smooth_job(latents, 0.5))
    assert not alone.beside
    assert np.abs(alone.read() - found.read()).max() > 0.01 * beside.unit

    again = find_latents(tmp_path / "s.zarr")
    assert again.beside == 1
    np.testing.assert_array_equal(again.read_channels(), found.read_channels())


def test_the_texture_of_what_was_taken_away_stands_beside(model):
    volume = _volume(0.5, (15, 20, 23))
    latents = embed(model, volume)
    beside = finish(intensity_job(volume, latents))
    assert beside.texture == 16
    found = finish(smooth_job(latents, 0.5, intensity=beside))
    assert (found.beside, found.dim) == (1 + TEXTURES, 2)
    channels = _channels(volume, latents, beside)
    smooth_ = _denoised(channels)
    residue = texture((channels - smooth_)[..., 2])
    wanted = np.kron(_denoised(residue, 0.15), np.ones((2, 2, 2, 1)))[:15, :, :23]
    wanted = np.concatenate([smooth_[..., 2:], beside.texture * wanted], -1) * beside.unit
    np.testing.assert_allclose(found.read_channels()[..., 2:], wanted, rtol=1e-4, atol=1e-4)


def test_tiles_do_not_show_in_texture(model, monkeypatch):
    volume = _volume(0.3, (16, 20, 128))
    latents = embed(model, volume)
    beside = finish(intensity_job(volume, latents))
    whole = finish(smooth_job(latents, 1.0, intensity=beside)).read_channels() / beside.unit
    monkeypatch.setattr(smooth, "_MOST_VOXELS", 1000)
    assert len(smooth._tiles(latents.shape)) == 2
    tiled = finish(smooth_job(latents, 1.0, intensity=beside)).read_channels() / beside.unit
    assert whole.shape[3] == 2 + 1 + TEXTURES
    apart = np.abs(tiled - whole)[..., 3:]
    assert apart.max() > 0  # there are tiles
    # In units of the noise, which is smoothed with a weight of 1.
    assert apart.max() < 0.2
    assert apart.mean() < 0.02


def test_missing_points_are_not_smoothed(model):
    latents = embed(model, _volume(0.4))
    latents.array[3, 4, 5] = np.nan
    whole = (slice(0, 16), slice(0, 20), slice(0, 24))
    with pytest.raises(VolumeError, match="some latent points are missing"):
        finish(spread_job(latents))
    beside = Intensity(_volume(0.4), fit_normalization(_volume(0.4)), (0, 0, 0), 1, 1.0, 1.0, 16.0)
    assert np.isfinite(beside.read(whole)).all()
    with pytest.raises(VolumeError, match="some latent points are missing"):
        finish(smooth_job(latents, 0.5, intensity=beside))
