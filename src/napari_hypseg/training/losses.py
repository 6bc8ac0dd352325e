"""The training objective: the negative ELBO of a batch and the hierarchical triplet loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from napari_hypseg.model.config import TrainingConfig
from napari_hypseg.model.vae import VAE, Posterior

__all__ = ["Losses", "objective", "triplet_loss"]


class Losses(NamedTuple):
    """Terms of the objective, each a mean over the batch (nats, but for the triplet term)."""

    total: Tensor
    reconstruction: Tensor
    kl: Tensor
    triplet: Tensor


def triplet_loss(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """Hierarchical triplet loss of distances anchor-positive and anchor-negative, shape (batch,).

    Hsu et al. 2021 (NeurIPS), equation 8: ``max(0, positive - negative + margin)``.
    """
    return (positive - negative + margin).clamp_min(0)


def objective(
    network: VAE, patches: Tensor, config: TrainingConfig, generator: torch.Generator
) -> Losses:
    """Objective of a batch of triplets: negative ELBO plus beta times the triplet loss.

    Hsu et al. 2021 (NeurIPS), equations 8-10. The likelihood is normal with unit variance in
    normalised intensity, summed over the patch; its constant is left out.

    Parameters
    ----------
    network : VAE
        The model.
    patches : tensor, shape (3 batch, 1, m, m, m) or (3 batch, WIDTH)
        All anchors, then all positives, then all negatives; NaN where a scale is left out.
    config : TrainingConfig
        Weights of the terms.
    generator : torch.Generator
        Source of the posterior samples.
    """
    posterior: Posterior = network.encoder(patches)
    grid = network.config.grid
    cubes = max(1, config.samples // grid**3)
    latents, log_ratio = network.sample(posterior, cubes * grid**3, generator)
    kl = log_ratio.mean()

    batch, d = posterior.mean.shape
    layout = latents.reshape(cubes, grid, grid, grid, batch, d).permute(0, 4, 1, 2, 3, 5)
    decoded = network.decoder(layout.reshape(cubes * batch, grid, grid, grid, d))
    # What the encoder was not shown does not count.
    seen = patches.view(batch, -1)
    error = (decoded.float().view(cubes, batch, -1) - seen).masked_fill(seen.isnan(), 0.0)
    reconstruction = 0.5 * error.square().sum(-1).mean()

    triplet = torch.zeros((), device=patches.device)
    if config.triplet_weight:
        anchor, positive, negative = posterior.mean.chunk(3)
        near, far = network.distance(anchor, positive), network.distance(anchor, negative)
        if config.squared_distance:
            near, far = near.square(), far.square()
        triplet = triplet_loss(near, far, config.margin).mean()
    total = reconstruction + config.kl_weight * kl + config.triplet_weight * triplet
    return Losses(total, reconstruction, kl, triplet)
