"""A 3D convolutional autoencoder whose code is clustered, after Nalepa et al. 2020."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import mse_loss

from napari_hypseg.volumes import Volume
from papers.methods.base import Budget, Method, Predict, cluster_features
from papers.methods.networks import crops, dense, seeded

__all__ = ["METHODS"]

PATCH = 5
CODE = 25
STEPS = 1500
BATCH = 128


def _fit(volumes: Sequence[Volume], budget: Budget) -> Predict:
    """Train on patches of 5 voxels, mean squared error, and cluster the codes by k-means.

    References
    ----------
    Nalepa et al., "Unsupervised segmentation of hyperspectral images using 3D convolutional
    autoencoders", IEEE Geoscience and Remote Sensing Letters (2020). Their bands become the third
    axis here; two layers of kernels of 3 and a code of 25 numbers.
    """
    generator = seeded(budget.seed)
    encoder = nn.Sequential(
        nn.Conv3d(1, 16, 3), nn.ReLU(), nn.Conv3d(16, 32, 3), nn.ReLU(), nn.Conv3d(32, CODE, 1)
    )
    decoder = nn.Sequential(
        nn.Conv3d(CODE, 32, 1), nn.ReLU(), nn.ConvTranspose3d(32, 16, 3), nn.ReLU(),
        nn.ConvTranspose3d(16, 1, 3),
    )  # fmt: skip
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    batches = crops(volumes, (PATCH,) * 3, BATCH, generator)
    for _ in range(budget.steps(STEPS)):
        patches = next(batches)
        loss = mse_loss(decoder(encoder(patches)), patches)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return cluster_features(lambda volume: dense(encoder, volume, PATCH // 2), budget.seed)


METHODS = (Method("nalepa", "Nalepa 2020, 3D autoencoder and k-means", _fit),)
