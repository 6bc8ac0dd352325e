"""What a model says of volumes that differ from those it learned from."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

import napari_hypseg as hs
from napari_hypseg.model import load_model
from napari_hypseg.volumes import Volume, fit_normalization, read_volume
from napari_hypseg.volumes.polarity import CLEAR, polarity


def specks(sign=1, size=10.0, seed=0):
    """Bright or dark balls, few, in noise."""
    rng = np.random.default_rng(seed)
    voxels = rng.normal(size=(32, 48, 48))
    places = np.indices(voxels.shape)
    for centre in rng.uniform(4, 28, (12, 3)) * (1, 1.5, 1.5):
        voxels[((places.T - centre).T ** 2).sum(0) < 16] += 4
    return Volume((sign * voxels).astype(np.float32), (size,) * 3, name="other")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Trained at 10 angstrom on bright things, kept in a file and read again."""
    path = tmp_path_factory.mktemp("model") / "a.hypseg"
    hs.train(specks(), steps=1).save(path)
    return load_model(path)


def test_the_same_is_no_mismatch(model):
    assert model.mismatch(specks()) == ""
    assert model.mismatch(specks(seed=1, size=12.0)) == ""
    # Flat noise is neither bright nor dark.
    noise = np.random.default_rng(0).normal(size=(20, 30, 30)).astype(np.float32)
    assert model.mismatch(Volume(-noise, (9.0,) * 3)) == ""


def test_another_voxel_size(model):
    said = model.mismatch(specks(size=20.0))
    assert said.startswith("other: its voxels are 20 angstrom, the model learned from 10:")
    assert "resample the volume to 10 angstrom (by 2)" in said
    flat = replace(specks(), voxel_size=(40.0, 10.0, 10.0))
    assert "to 10 angstrom (by 4 x 1 x 1)" in model.mismatch(flat)
    assert model.mismatch(replace(specks(size=20.0), doubts=("gives none",))) == ""


def test_inverted_contrast(model):
    said = model.mismatch(specks(sign=-1))
    assert "stands out of it is dark, where the model learned bright: invert" in said
    assert "voxels" not in said


def test_several_volumes_and_old_models(model):
    both = replace(model, training={"volumes": [
        {"voxel_size": [10.0] * 3, "polarity": 0.6}, {"voxel_size": [20.0] * 3, "polarity": -0.6},
    ]})  # fmt: skip
    assert both.mismatch(specks(sign=-1, size=18.0)) == ""
    assert "to 20 angstrom" in both.mismatch(specks(size=40.0))
    for unknown in ({}, {"volumes": [{"voxel_size": "10", "polarity": None}]}):
        assert replace(model, training=unknown).mismatch(specks(sign=-1, size=40.0)) == ""


def test_mapping_says_it(model):
    with pytest.warns(UserWarning, match="resample the volume to 10 angstrom"):
        hs.embed(model, specks(size=20.0), stride=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hs.embed(model, specks(), stride=8)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("microtubule_cryoet/13pf_MT.mrc", 1),
        ("sim_cryoet/a_clear.mrc", 1),
        ("sim_cryoet/d_noisy.mrc", 1),
        ("tardis_microtubules/4_0_55_98_25.tif", -1),
        ("fly_fibsem/train-image.h5", 0),
    ],
)
def test_polarity_of_real_volumes(shared_data, name, sign):
    path = shared_data / name
    if not path.exists():
        pytest.skip(f"{path} is missing")
    volume = read_volume(path, voxel_size=10)
    found = polarity(volume, fit_normalization(volume))
    assert (found > CLEAR) - (found < -CLEAR) == sign
    inverted = Volume(-volume.read().astype(np.float32))
    assert polarity(inverted, fit_normalization(inverted)) == pytest.approx(-found, abs=1e-3)
