"""A linear gradient of the intensities: the background that changes across a volume."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .volume import Box, Triple

__all__ = ["find_gradient", "flattened"]

# Share of the variance that a plane explains, at least: more than all else together.
_EXPLAINED = 0.5
# Where it explains all, there is nothing else to see: a ramp is what was meant.
_ALL = 0.999
# Dark, middle and bright voxels rise alike along a gradient, and everywhere: between two layers
# across it each of these percentiles rises by this share of what the plane does, at least, ...
_PERCENTILES = (10, 50, 90)
_LAYERS = 10
_RISE = 0.25
# ... but for so many of the nine steps, where something ends. Measured: at most 2 where there is a
# gradient, in balls and cells; 4 to 8 where the intensities rise in one to three steps.
_SHORT = 2
# Fewer voxels tell nothing.
_FEWEST = 1000


def find_gradient(
    values: npt.NDArray[np.float64], places: npt.NDArray[np.float64]
) -> Triple | None:
    """Slope of a gradient along (z, y, x), in intensity a voxel; None if there is none.

    A plane is fitted by least squares. What structure there is can look like one (the edge of a
    cell explains up to 3/4 of the variance), so two things are asked for: that the plane explains
    more than all else together (8 standard deviations across a volume explain 84 %, 3.5 half); and
    that dark, middle and bright voxels all rise with it, nearly everywhere. At an edge they step.

    Parameters
    ----------
    values : array, shape (n,)
        Intensities of some voxels, spread evenly; without outliers.
    places : array, shape (n, 3)
        Their indices.
    """
    if len(values) < _FEWEST or not values.std():
        return None
    middle = places - places.mean(0)
    slopes, *_ = np.linalg.lstsq(middle, values - values.mean(), rcond=None)
    trend = middle @ slopes
    if not _EXPLAINED <= trend.var() / values.var() <= _ALL:
        return None
    layers = np.array_split(np.argsort(trend, kind="stable"), _LAYERS)
    along = np.array([trend[layer].mean() for layer in layers])
    profiles = np.array([np.percentile(values[layer], _PERCENTILES) for layer in layers])
    short = np.diff(profiles, axis=0) < _RISE * np.diff(along)[:, None]
    if short.sum(0).max() > _SHORT:
        return None
    z, y, x = slopes.tolist()
    return z, y, x


def flattened(
    voxels: npt.NDArray[Any], box: Box, shape: tuple[int, int, int], slopes: Triple | None
) -> npt.NDArray[Any]:
    """Voxels of a box without a gradient, which is zero at the centre of the volume.

    Parameters
    ----------
    voxels : array, shape (z, y, x)
        The box's, as the volume has them.
    box : tuple of slice
        Where they lie.
    shape : tuple of int
        Of the volume.
    slopes : tuple of float, optional
        As `find_gradient` gives them; without, the voxels stay as they are.
    """
    if slopes is None:
        return voxels
    for axis, (span, n, slope) in enumerate(zip(box, shape, slopes, strict=True)):
        away = slope * (np.arange(span.start, span.stop) - (n - 1) / 2)
        voxels = voxels - away.reshape([-1 if a == axis else 1 for a in range(3)])
    return voxels
