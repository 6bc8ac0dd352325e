"""Scale-space features of a volume's voxels: read, standardised, and drawn at random."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.model.scale_space import HALO, SCALE_OF, SIGMAS, WIDTH, scale_space
from napari_hypseg.volumes.normalize import Normalization
from napari_hypseg.volumes.volume import Box, Volume

__all__ = ["FeaturePool", "Standard", "fit_features_job", "pool_features_job", "read_padded"]

# Features are computed in boxes of so many voxels, and their mean and spread are those of at most
# so many boxes.
_BOX = (32, 64, 64)
_MOST_BOXES = 12
# Standard deviations from the mean at which a feature is cut off.
_CLIP = 8.0
# Voxels kept of each box to learn from.
_KEPT = 1 << 14


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each feature over a volume, shape (WIDTH,)."""

    mean: Tensor
    spread: Tensor

    def read(
        self, volume: Volume, normalization: Normalization, box: Box, device: torch.device
    ) -> Tensor:
        """Standardised features of a box's voxels, shape (z, y, x, WIDTH)."""
        features = _features(volume, normalization, box, device)
        features -= self.mean.to(device)
        features /= self.spread.to(device)
        return features.clamp_(-_CLIP, _CLIP)


def fit_features_job(volume: Volume, normalization: Normalization) -> Job[Standard]:
    """Mean and spread of the features of a volume: of boxes spread over it, the same each time."""
    count, total, square = 0, np.zeros(WIDTH), np.zeros(WIDTH)
    boxes = _some_boxes(volume.shape)
    for done, box in enumerate(boxes):
        yield Progress("measuring the scales", done, len(boxes))
        inside = ~normalization.look(volume, box)[1]
        features = _features(volume, normalization, box, torch.device("cpu")).numpy()[inside]
        count += len(features)
        total += features.sum(0, dtype=np.float64)
        square += np.square(features, dtype=np.float64).sum(0)
    mean = total / max(count, 1)
    variance = np.maximum(square / max(count, 1) - mean**2, 0)
    spread = np.where(variance > 1e-12, np.sqrt(variance), 1.0)
    return Standard(torch.from_numpy(mean).float(), torch.from_numpy(spread).float())


def _some_boxes(shape: tuple[int, int, int]) -> list[Box]:
    """Boxes that tile a volume or, of a large one, some of them, always the same ones."""
    starts = (range(0, n, side) for n, side in zip(shape, _BOX, strict=True))
    boxes: list[Box] = [
        (
            slice(z, min(z + _BOX[0], shape[0])),
            slice(y, min(y + _BOX[1], shape[1])),
            slice(x, min(x + _BOX[2], shape[2])),
        )
        for z, y, x in itertools.product(*starts)
    ]
    if len(boxes) <= _MOST_BOXES:
        return boxes
    chosen = np.random.default_rng(0).permutation(len(boxes))[:_MOST_BOXES]
    return [boxes[index] for index in sorted(chosen)]


def _features(
    volume: Volume, normalization: Normalization, box: Box, device: torch.device
) -> Tensor:
    """Features of a box's voxels, shape (z, y, x, WIDTH); mirrored beyond the volume's border."""
    first = [s.start - s.start % 2 for s in box]
    last = [s.stop - s.stop % 2 + 1 for s in box]
    tile = torch.from_numpy(read_padded(volume, normalization, first, last, HALO)).to(device)
    z, y, x = (HALO + s.start % 2 for s in box)
    shape = (box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start)
    return scale_space(tile, (z, y, x), shape)


class FeaturePool:
    """Features of some voxels, to learn from.

    Parameters
    ----------
    features : array of float32, shape (n, WIDTH)
        Standardised.
    device : torch.device
        Where to keep them.
    """

    def __init__(self, features: npt.NDArray[np.float32], device: torch.device) -> None:
        self.features = torch.from_numpy(features).to(device)

    def batch(self, count: int, _side: int, generator: torch.Generator) -> Tensor:
        """Features of triplets: anchors, then positives, then negatives; (3 count, WIDTH).

        An anchor is the place of its positive with the finer scales left out, so many of them at
        random; the negative is another place.
        """
        device = self.features.device
        places = torch.randint(len(self.features), (2, count), generator=generator, device=device)
        positive, negative = self.features[places[0]], self.features[places[1]]
        # The two coarsest always stay.
        finest = torch.randint(1, len(SIGMAS) - 1, (count, 1), generator=generator, device=device)
        scales = torch.tensor(SCALE_OF, device=device)
        anchor = positive.masked_fill(scales < finest, math.nan)
        return torch.cat([anchor, positive, negative])


def pool_features_job(
    volumes: list[tuple[Volume, Normalization]], device: torch.device, seed: int
) -> Job[FeaturePool]:
    """Voxels of volumes at random, with their features."""
    kept = []
    for volume, normalization in volumes:
        standard = yield from fit_features_job(volume, normalization)
        boxes = _some_boxes(volume.shape)
        rng = np.random.default_rng(seed)
        for done, box in enumerate(boxes):
            yield Progress("looking at the scales", done, len(boxes))
            inside = ~normalization.look(volume, box)[1].ravel()
            places = rng.permutation(np.flatnonzero(inside))[:_KEPT]
            found = standard.read(volume, normalization, box, torch.device("cpu"))
            kept.append(found.reshape(-1, WIDTH).numpy()[places])
    return FeaturePool(np.concatenate(kept), device)


def read_padded(
    volume: Volume, normalization: Normalization, first: list[int], last: list[int], halo: int
) -> npt.NDArray[np.float32]:
    """Normalised voxels from ``first - halo`` to ``last + halo``, mirrored beyond the border."""
    spans, missing = [], []
    for low, high, size in zip(first, last, volume.shape, strict=True):
        start, stop = max(0, low - halo), min(size, high + halo + 1)
        spans.append(slice(start, stop))
        missing.append((start - (low - halo), (high + halo + 1) - stop))
    z, y, x = spans
    return np.pad(normalization.read(volume, (z, y, x)), missing, mode="symmetric")
