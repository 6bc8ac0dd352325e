"""Mapping by the encoder of scales: the same points in every chunk, box, stride and precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.jobs import finish
from napari_hypseg.latents import embed, embed_job
from napari_hypseg.model import GENERAL, load_model
from napari_hypseg.training.features import fit_features_job
from napari_hypseg.volumes import Volume, fit_normalization

SHAPE = (37, 70, 41)
# With bfloat16 units the features are rounded to 8 bits.
ROUGH = {"atol": 0.05, "rtol": 0.0}


@pytest.fixture(scope="module")
def volume():
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=SHAPE).astype(np.float32)
    voxels[10:25, 20:50, 10:30] += 3
    return Volume(voxels, (10.0, 8.0, 9.0), (50.0, -40.0, 30.0), "block")


@pytest.fixture(scope="module")
def model():
    return load_model(GENERAL)


@pytest.fixture(scope="module")
def latents(model, volume):
    return embed(model, volume, device="cpu")


def test_a_voxel_has_the_point_that_the_encoder_gives_its_features(model, volume, latents):
    normalization = fit_normalization(volume)
    standard = finish(fit_features_job(volume, normalization))
    box = (slice(9, 13), slice(18, 24), slice(7, 12))
    features = standard.read(volume, normalization, box, torch.device("cpu"))
    with torch.inference_mode():
        expected = model.network.encoder(features.flatten(0, 2)).mean
    found = latents.read(box).reshape(-1, latents.dim)
    np.testing.assert_allclose(found, expected.numpy(), **ROUGH)
    assert np.abs(found).mean() > 0.05


@pytest.mark.parametrize("stride", [2, 3])
def test_with_a_stride_they_are_those_of_every_so_many_voxels(model, volume, latents, stride):
    found = embed(model, volume, stride=stride, device="cpu")
    assert found.voxel_size == tuple(stride * size for size in volume.voxel_size)
    np.testing.assert_allclose(found.read(), latents.read()[::stride, ::stride, ::stride], **ROUGH)


def test_a_part_has_the_points_that_it_has_in_the_whole(model, volume, latents):
    box = (slice(3, 30), slice(15, 52), slice(5, 36))
    found = embed(model, volume, box=box, device="cpu")
    np.testing.assert_allclose(found.read(), latents.read()[box], **ROUGH)


def test_what_was_mapped_before_a_stop_is_not_mapped_again(model, volume, latents, tmp_path):
    store, chunk = tmp_path / "store.zarr", 32 * 64 * 41
    job = embed_job(model, volume, device="cpu", store=store)
    for progress in job:
        if progress.stage == "mapping voxels" and progress.done > chunk + 10:
            break
    job.close()
    again = list(embed_job(model, volume, device="cpu", store=store))
    assert [p.done for p in again if p.stage == "mapping voxels"][1] == chunk
    found = finish(embed_job(model, volume, device="cpu", store=store))
    np.testing.assert_array_equal(found.read(), latents.read())


def test_things_far_apart_in_contrast_have_points_far_apart(latents):
    points = latents.read()
    inside, outside = points[15:20, 30:40, 15:25], points[30:, 55:, 33:]
    middle = [part.reshape(-1, latents.dim).mean(0) for part in (inside, outside)]
    assert np.linalg.norm(middle[0] - middle[1]) > 0.2
