"""Makes the general model, from made volumes and their truth: ``python -m napari_hypseg.pretrain``.

A volume's classes are what its points should fall into, at every level of its truth; nothing that a
person has labelled is needed, neither here nor later. The classes of one volume mean nothing in
another: what is learned is to tell apart what is unlike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_hypseg.jobs import finish
from napari_hypseg.model.config import get_preset
from napari_hypseg.model.files import GENERAL, Model
from napari_hypseg.model.gyroplane import load_geoopt
from napari_hypseg.model.scale_space import SCALE_OF, SIGMAS, WIDTH
from napari_hypseg.model.vae import VAE
from napari_hypseg.samples.worlds import make_world
from napari_hypseg.training.features import fit_features_job
from napari_hypseg.volumes.normalize import fit_normalization
from napari_hypseg.volumes.volume import Volume

__all__ = ["pretrain"]

WORLDS, STEPS, SEED = 1000, 4000, 0
# Volumes in a step, and voxels of each.
_VOLUMES, _VOXELS = 8, 128
# Voxels kept of a volume; rare classes more often than their share.
_KEPT = 10_000
_LEARNING_RATE = 2e-3
# Weights of the Kullback-Leibler term and of what the truth says, and the distance in the ball over
# which two points become unlike.
_KL, _TRUTH, _UNLIKE = 0.1, 10.0, 0.5
# How often finer scales are left out of a voxel.
_LEFT_OUT = 0.15


def _learn_from(seed: int) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.uint8]]:
    """Features of some voxels of a world, and their classes at three levels."""
    torch.set_num_threads(1)
    voxels, levels = make_world(seed)
    volume = Volume(voxels, (1.0, 1.0, 1.0))
    normalization = fit_normalization(volume)
    standard = finish(fit_features_job(volume, normalization))
    whole = (slice(0, voxels.shape[0]), slice(0, voxels.shape[1]), slice(0, voxels.shape[2]))
    features = standard.read(volume, normalization, whole, torch.device("cpu")).reshape(-1, WIDTH)
    fine = levels[-1].ravel()
    share = 1 / np.sqrt(np.bincount(fine)[fine])
    chosen = np.random.default_rng(seed).choice(len(fine), _KEPT, p=share / share.sum())
    classes = [levels[0], levels[-2], levels[-1]]
    return (
        features[chosen].numpy().astype(np.float16),
        np.stack([level.ravel()[chosen] for level in classes], 1).astype(np.uint8),
    )


def unlikeness(points: Tensor, classes: Tensor, curvature: float) -> Tensor:
    """How far points of one class are from one another, beside all others.

    For each voxel minus the logarithm of the share that its class has among the others, each
    weighed by ``exp(-d / 0.5)`` at the hyperbolic distance d.

    Parameters
    ----------
    points : tensor, shape (n, m, d)
        Of m voxels of n volumes.
    classes : tensor of int, shape (n, m)

    References
    ----------
    Goldberger et al., "Neighbourhood components analysis", NIPS 2004; in the ball.
    """
    square = points.square().sum(-1)
    apart = square[:, :, None] + square[:, None] - 2 * points @ points.transpose(1, 2)
    room = 1 - curvature * square
    ratio = 2 * curvature * apart.clamp_min(0) / (room[:, :, None] * room[:, None])
    # Two points in the same place have no direction to part in.
    distance = (1 + ratio.clamp_min(1e-6)).acosh() / curvature**0.5
    same = torch.eye(points.shape[1], dtype=torch.bool, device=points.device)
    near = (-distance / _UNLIKE).masked_fill(same, -torch.inf)
    alike = (classes[:, :, None] == classes[:, None]) & ~same
    known = alike.any(-1)
    friends = near.masked_fill(~alike, -1e9).logsumexp(-1)
    mean: Tensor = (near.logsumexp(-1) - friends)[known].mean()
    return mean


def pretrain(features: Tensor, classes: Tensor, *, steps: int = STEPS, seed: int = SEED) -> VAE:
    """Train the network of the preset ``default``.

    Parameters
    ----------
    features : tensor of float16, shape (volumes, voxels, WIDTH)
    classes : tensor of uint8, shape (volumes, voxels, levels)
    steps, seed : int

    Returns
    -------
    VAE
    """
    geoopt = load_geoopt()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = VAE(get_preset("default").model)
    curvature = network.config.curvature
    optimiser = geoopt.optim.RiemannianAdam(network.parameters(), lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, steps)
    scales = torch.tensor(SCALE_OF)
    for step in range(steps):
        shape = (_VOLUMES, _VOXELS)
        volume = torch.randint(len(features), (_VOLUMES, 1), generator=generator)
        voxel = torch.randint(features.shape[1], shape, generator=generator)
        finest = torch.randint(1, len(SIGMAS) - 1, shape, generator=generator)
        finest[torch.rand(shape, generator=generator) >= _LEFT_OUT] = -1
        seen = features[volume, voxel].float()
        seen = seen.masked_fill(scales < finest[..., None], torch.nan).flatten(0, 1)
        posterior = network.encoder(seen)
        latents, log_ratio = network.sample(posterior, 1, generator)
        made = network.decoder(latents[0][:, None, None, None])
        error = (made - seen).masked_fill(seen.isnan(), 0.0).square().sum(-1).mean() / 2
        points = posterior.mean.unflatten(0, shape)
        truth = torch.stack(
            [unlikeness(points, level, curvature) for level in classes[volume, voxel].unbind(-1)]
        ).sum()
        loss = error + _KL * log_ratio.mean() + _TRUTH * truth
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        if step % 500 == 0 or step == steps - 1:
            print(f"step {step}: features {error:.2f}, truth {truth:.3f}", flush=True)
    return network.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the worlds, train, and write the model file."""
    parser = argparse.ArgumentParser(prog="python -m napari_hypseg.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=GENERAL, help="the model file")
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    seeds = range(asked.seed * WORLDS, asked.seed * WORLDS + asked.worlds)
    with ProcessPoolExecutor() as pool:
        worlds = list(pool.map(_learn_from, seeds, chunksize=4))
    print(f"{len(worlds)} worlds after {time.monotonic() - began:.0f} s", flush=True)
    features, classes = (torch.from_numpy(np.stack(parts)) for parts in zip(*worlds, strict=True))
    network = pretrain(features, classes, steps=asked.steps, seed=asked.seed)
    # How it is trained further, if it is.
    settings = get_preset("default").training.to_dict()
    summary = {
        "settings": settings, "worlds": asked.worlds, "steps": asked.steps, "seed": asked.seed,
    }  # fmt: skip
    Model(network, "default", summary).save(asked.out)


if __name__ == "__main__":
    main()
