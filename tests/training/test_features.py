"""Features of a volume: standardised, the same in every box, and drawn for training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.jobs import finish
from napari_hypseg.model.scale_space import HALO, SCALE_OF, WIDTH, scale_space
from napari_hypseg.training.features import FeaturePool, fit_features_job, pool_features_job
from napari_hypseg.volumes import Volume, fit_normalization

SHAPE = (21, 70, 35)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def volume():
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    voxels[:, 30:] += 2
    return Volume(voxels, (10.0, 10.0, 10.0))


@pytest.fixture(scope="module")
def fitted(volume):
    normalization = fit_normalization(volume)
    return normalization, finish(fit_features_job(volume, normalization))


def whole(shape):
    return tuple(slice(0, n) for n in shape)


def test_features_of_a_volume_are_those_of_its_mirrored_voxels(volume, fitted):
    normalization, standard = fitted
    found = standard.read(volume, normalization, whole(SHAPE), CPU)
    voxels = normalization.apply(volume.read())
    tile = np.pad(voxels, [(HALO, HALO + n % 2) for n in SHAPE], mode="symmetric")
    raw = scale_space(torch.from_numpy(tile), (HALO,) * 3, SHAPE)
    mean, spread = raw.mean((0, 1, 2)), raw.std((0, 1, 2))
    torch.testing.assert_close(found, ((raw - mean) / spread).clamp(-8, 8), rtol=1e-3, atol=1e-3)


def test_a_voxel_has_the_same_features_in_every_box(volume, fitted):
    normalization, standard = fitted
    found = standard.read(volume, normalization, whole(SHAPE), CPU)
    box = (slice(3, 8), slice(0, 33), slice(17, 18))
    torch.testing.assert_close(standard.read(volume, normalization, box, CPU), found[box])


def test_padding_is_not_counted():
    voxels = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32) + 5
    voxels[:10] = 0
    volume = Volume(voxels, (10.0,) * 3)
    with pytest.warns(UserWarning, match="taken as padding"):
        normalization = fit_normalization(volume)
    assert normalization.look(volume, whole(voxels.shape))[1][:10].all()
    standard = finish(fit_features_job(volume, normalization))
    inside = standard.read(volume, normalization, (slice(10, 40), *whole((40, 40))), CPU)
    torch.testing.assert_close(inside.mean((0, 1, 2)), torch.zeros(WIDTH), atol=0.05, rtol=0)
    pool = finish(pool_features_job([(volume, normalization)], CPU, seed=0))
    assert len(pool.features) <= 30 * 40 * 40


def test_an_anchor_is_its_positive_without_the_finer_scales():
    features = np.random.default_rng(0).normal(size=(500, WIDTH)).astype(np.float32)
    pool = FeaturePool(features, CPU)
    batch = pool.batch(200, 0, torch.Generator().manual_seed(0))
    anchor, positive, negative = batch.chunk(3)
    hidden = anchor.isnan()
    assert torch.equal(anchor[~hidden], positive[~hidden])
    assert not positive.isnan().any()
    assert not negative.isnan().any()
    scales = torch.tensor(SCALE_OF)
    for row in hidden:
        # All features of some finest scales, and none of the others.
        assert row[0]
        assert set(scales[row].tolist()).isdisjoint(scales[~row].tolist())
        assert scales[row].max() < scales[~row].min()
    assert {int(scales[row].max()) for row in hidden} == {0, 1, 2}


def test_the_same_seed_draws_the_same(volume, fitted):
    pools = [finish(pool_features_job([(volume, fitted[0])], CPU, seed=s)) for s in (0, 0, 1)]
    assert torch.equal(pools[0].features, pools[1].features)
    assert not torch.equal(pools[0].features, pools[2].features)
