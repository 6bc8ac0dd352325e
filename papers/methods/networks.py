"""What the small convolutional networks share: patches in, dense features out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_hypseg.volumes import Volume
from papers.methods.base import Features, normalised

__all__ = ["crops", "dense", "seeded"]

# Planes that go through a network at once.
SLAB = 16


def seeded(seed: int) -> torch.Generator:
    """Seed PyTorch's weights, and give a generator for everything else that is drawn."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def crops(
    volumes: Sequence[Volume], shape: tuple[int, int, int], batch: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Endless batches of crops from random places, shape (batch, 1, z, y, x), normalised."""
    views: list[npt.NDArray[np.float32]] = []
    for volume in volumes:
        fits = tuple(min(side, n) for side, n in zip(shape, volume.shape, strict=True))
        views.append(np.lib.stride_tricks.sliding_window_view(normalised(volume), fits))
    while True:
        drawn = []
        for which in torch.randint(len(views), (batch,), generator=generator).tolist():
            sizes = views[which].shape[:3]
            place = tuple(int(torch.randint(n, (1,), generator=generator)) for n in sizes)
            drawn.append(torch.from_numpy(views[which][place].copy()))
        yield torch.stack(drawn)[:, None]


def dense(network: nn.Module, volume: Volume, halo: int) -> Features:
    """What a network without padding gives for every voxel, shape (z, y, x, channels).

    Parameters
    ----------
    halo : int
        How far the network sees from a voxel; the volume is mirrored at its border.
    """
    padded = torch.from_numpy(np.pad(normalised(volume), halo, mode="symmetric"))[None, None]
    depth = volume.shape[0]
    network.eval()
    slabs = []
    with torch.inference_mode():
        for start in range(0, depth, SLAB):
            part = padded[:, :, start : min(start + SLAB, depth) + 2 * halo]
            slabs.append(network(part)[0].movedim(0, -1).numpy())
    return np.concatenate(slabs)
