"""Invariant information clustering of voxels, slice by slice and in 3D, after Ji et al. 2019."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from napari_hypseg.volumes import Volume
from papers.methods.base import (
    Budget,
    Features,
    Labels,
    Method,
    Predict,
    remember_last,
)
from papers.methods.networks import crops, dense, seeded

__all__ = ["METHODS", "mutual_information"]

LAYERS = (16, 32, 32)
# Classes of the auxiliary head for each class that is asked for.
OVERCLUSTERING = 4
STEPS = 1000
BATCH = 4
SIDE = 24


def mutual_information(first: Tensor, second: Tensor, reach: tuple[int, int, int]) -> Tensor:
    """Information that the class of a voxel gives about those of its neighbours, in nats.

    Parameters
    ----------
    first, second : tensor, shape (batch, k, z, y, x)
        Probabilities of the classes in an image and in its twin.
    reach : tuple of int
        Neighbours are up to this far away along (z, y, x); the mean over all displacements.

    References
    ----------
    Ji, Henriques and Vedaldi, "Invariant information clustering for unsupervised image
    classification and segmentation", ICCV 2019, equations (3) and (5).
    """
    # With empty planes between, a displacement is an offset in the flattened volumes.
    margin = [size for r in reversed(reach) for size in (r, r)]
    _, y, x = (n + 2 * r for n, r in zip(first.shape[2:], reach, strict=True))
    here, there = (pad(image, margin).transpose(0, 1).flatten(1) for image in (first, second))
    shifts = itertools.product(*[range(-r, r + 1) for r in reach])
    joint = _Joint.apply(here, there, [(a * y + b) * x + c for a, b, c in shifts])  # type: ignore[no-untyped-call]
    joint = (joint + joint.mT) / 2
    joint = (joint / joint.sum((1, 2), keepdim=True)).clamp_min(1e-12)
    rows, columns = joint.sum(2, keepdim=True), joint.sum(1, keepdim=True)
    values: Tensor = (joint * (joint.log() - rows.log() - columns.log())).sum((1, 2))
    return values.mean()


class _Joint(torch.autograd.Function):
    """Products ``sum_i a[:, i + offset] b[:, i]`` for each offset, shape (offsets, k, k).

    Rows hold zeros for as long as the largest offset at both ends. Nothing is copied, there or
    back: one displacement after the other reads, or adds to, what lies at its offset.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, offsets: Sequence[int]) -> Tensor:
        ctx.save_for_backward(a, b)
        ctx.offsets = offsets
        inside = _shifted(b, 0, offsets)
        return torch.stack([_shifted(a, offset, offsets) @ inside.T for offset in offsets])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        a, b = ctx.saved_tensors
        to_a, to_b = torch.zeros_like(a), torch.zeros_like(b)
        inside, to_inside = (_shifted(each, 0, ctx.offsets) for each in (b, to_b))
        for offset, grad in zip(ctx.offsets, grads[0], strict=True):
            _shifted(to_a, offset, ctx.offsets).addmm_(grad, inside)
            to_inside.addmm_(grad.T, _shifted(a, offset, ctx.offsets))
        return to_a, to_b, None


def _shifted(rows: Tensor, offset: int, offsets: Sequence[int]) -> Tensor:
    """Rows without their ends, from an offset on."""
    end = max(offsets)
    return rows[:, end + offset : rows.shape[1] - end + offset]


class _Network(nn.Module):
    """Convolutions without padding, and a pair of heads for each number of classes."""

    def __init__(self, ks: Sequence[int], kernel: tuple[int, int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for channels in LAYERS:
            layers += [nn.Conv3d(width, channels, kernel), nn.BatchNorm3d(channels), nn.ReLU()]
            width = channels
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(
            nn.Conv3d(width, classes, 1) for k in ks for classes in (k, OVERCLUSTERING * k)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Probabilities of each head, shape (batch, classes, z, y, x)."""
        features = self.trunk(images)
        return [head(features).softmax(1) for head in self.heads]


def _twin(images: Tensor, generator: torch.Generator) -> tuple[Tensor, list[int], bool]:
    """The images mirrored, perhaps with y and x exchanged, brighter or darker, and noisy."""
    flips = [axis for axis in (2, 3, 4) if torch.rand(1, generator=generator) < 0.5]
    exchange = bool(torch.rand(1, generator=generator) < 0.5)
    twin = images.flip(flips)
    if exchange:
        twin = twin.transpose(3, 4)
    scale = 1 + 0.4 * (torch.rand(len(twin), 1, 1, 1, 1, generator=generator) - 0.5)
    shift = 0.4 * (torch.rand(len(twin), 1, 1, 1, 1, generator=generator) - 0.5)
    noise = 0.1 * torch.randn(twin.shape, generator=generator)
    return twin * scale + shift + noise, flips, exchange


def _fit(volumes: Sequence[Volume], budget: Budget, *, flat: bool) -> Predict:
    """Train one network with heads for all k; the label is the likeliest class of its head."""
    generator = seeded(budget.seed)
    kernel = (1, 3, 3) if flat else (3, 3, 3)
    # A slice holds fewer voxels than a cube, so a batch holds more slices.
    shape, batch = ((1, 2 * SIDE, 2 * SIDE), 2 * BATCH) if flat else ((SIDE,) * 3, BATCH)
    reach = (0, 1, 1) if flat else (1, 1, 1)
    network = _Network(budget.ks, kernel)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    batches = crops(volumes, shape, batch, generator)
    for _ in range(budget.steps(STEPS)):
        images = next(batches)
        twin, flips, exchange = _twin(images, generator)
        information = torch.zeros(())
        for first, second in zip(network(images), network(twin), strict=True):
            back = (second.transpose(3, 4) if exchange else second).flip(flips)
            information = information + mutual_information(first, back, reach)
        optimiser.zero_grad()
        (-information).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    halo = len(LAYERS)
    trunk = network.trunk
    if flat:
        # The slices need no mirrored planes above and below.
        trunk = nn.Sequential(_CutDepth(halo), trunk)

    @remember_last
    def features(volume: Volume) -> Features:
        network.eval()
        return dense(trunk, volume, halo)

    def predict(volume: Volume, k: int) -> Labels:
        found = torch.from_numpy(features(volume)).movedim(-1, 0)[None]
        with torch.inference_mode():
            scores = network.heads[2 * budget.ks.index(k)](found)
        return np.asarray(scores[0].argmax(0).numpy(), np.uint8)

    return predict


class _CutDepth(nn.Module):
    """Leave out planes at both ends."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.planes = planes

    def forward(self, images: Tensor) -> Tensor:
        """Images without the planes, shape (batch, 1, z, y, x)."""
        return images[:, :, self.planes : -self.planes]


METHODS = (
    Method("iic-slices", "Ji 2019, IIC slice by slice", functools.partial(_fit, flat=True)),
    Method("iic-3d", "Ji 2019, IIC in 3D", functools.partial(_fit, flat=False)),
)
