"""A model and a volume that the tests of this room share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_hypseg.model import VAE, Model, ModelConfig
from napari_hypseg.volumes.volume import Volume


@pytest.fixture(scope="session")
def small_volume() -> Volume:
    """Noise on a slope."""
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=(13, 11, 17)) + np.linspace(-1, 1, 17)
    return Volume(
        voxels.astype(np.float32), voxel_size=(10.0, 8.0, 9.0), origin=(5.0, -7.0, 0.5), name="lump"
    )


@pytest.fixture(scope="session")
def model() -> Model:
    """Random weights that spread the points over the disk."""
    torch.manual_seed(0)
    network = VAE(
        ModelConfig(
            latent_dim=2,
            encoder="stacked",
            grid=2,
            hidden=0,
            channels=(4, 8, 8, 16),
            planes=4,
            patch_size=5,
        )
    ).eval()
    with torch.no_grad():
        for name, weight in network.encoder.named_parameters():
            if name.endswith("weight"):
                weight *= 4.0
    return Model(network, "custom")
