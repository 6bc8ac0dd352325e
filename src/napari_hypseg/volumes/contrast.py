"""What a network will see of a volume: the range of intensities kept, and how noisy they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress

from .gradient import flattened
from .normalize import Normalization, fit_normalization_job
from .volume import Volume

__all__ = ["Contrast", "contrast_job", "noise_level"]

# Slices that are looked at, in the middle of the volume, and bars of the histogram.
_SLICES = 16
_BARS = 100


@dataclass(frozen=True, eq=False)
class Contrast:
    """Intensities of the middle slices of a volume.

    Attributes
    ----------
    normalization : Normalization
        What is done to them before a network sees them.
    counts : array, shape (n,)
        Voxels in each bar of the histogram.
    edges : array, shape (n + 1,)
        Bounds of the bars.
    noise : float
        Share of the noise in the variance that the network sees, 0 to 1.
    """

    normalization: Normalization
    counts: npt.NDArray[np.int64]
    edges: npt.NDArray[np.float64]
    noise: float


def contrast_job(volume: Volume) -> Job[Contrast]:
    """Look at the intensities of a volume.

    Raises
    ------
    VolumeError
        If the volume is constant or can't be read.
    """
    yield Progress("looking at the intensities", 0, 0)
    fit = yield from fit_normalization_job(volume)
    depth, height, width = volume.shape
    first = max(0, (depth - _SLICES) // 2)
    middle = slice(first, min(first + _SLICES, depth)), slice(0, height), slice(0, width)
    seen, outside = fit.look(volume, middle)
    inside = flattened(volume.read(middle), middle, volume.shape, fit.gradient)[~outside]
    # A little beyond what is kept, so that the bounds can be seen; far outliers are left out.
    margin = 0.25 * (fit.high - fit.low)
    counts, edges = np.histogram(inside, _BARS, (fit.low - margin, fit.high + margin))
    noise = min(1.0, noise_level(seen) ** 2 / max(float(seen[~outside].var()), 1e-12))
    return Contrast(fit, counts.astype(np.int64), edges.astype(np.float64), noise)


def noise_level(slices: npt.NDArray[Any]) -> float:
    """Standard deviation of the white noise in slices, shape (n, y, x).

    The mean size of a Laplacian difference that plain structures do not touch (Immerkaer 1996,
    "Fast noise variance estimation", equation 3).

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 2, (1, 500, 500))
    >>> round(noise_level(noise + np.arange(500)), 1)
    2.0
    """
    if min(slices.shape[1:]) < 3:
        return 0.0
    rough = np.diff(np.diff(np.asarray(slices, np.float64), 2, axis=1), 2, axis=2)
    return float(math.sqrt(math.pi / 2) / 6 * np.abs(rough).mean())
