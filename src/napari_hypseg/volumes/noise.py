"""How noisy a volume is, from its voxels alone."""

from __future__ import annotations

import math

import numpy as np

from napari_hypseg.jobs import Job, Progress, finish

from .normalize import Normalization
from .volume import Volume, slabs

__all__ = ["fit_noise", "fit_noise_job"]

# Voxels looked at together, and how many such slabs, spread evenly, stand for a large volume.
_PIECE = 1 << 20
_SLABS = 16
# Median of |x| for x of a standard normal distribution.
_MEDIAN = 0.6744897501960817


def fit_noise(volume: Volume, normalization: Normalization) -> float:
    """Standard deviation of a volume's noise, in units of its normalised intensities.

    Second differences along an axis, x[i-1] - 2 x[i] + x[i+1], leave out what changes slowly and
    have 6 times the variance of white noise; their median hardly feels edges. Of the three axes
    the middle one counts: in tomograms noise is correlated more along one axis than another.
    What lies outside is left out.

    Parameters
    ----------
    volume : Volume
        Read slab by slab; of a large one 16 slabs are read.
    normalization : Normalization
        Of this volume.

    Returns
    -------
    float
        At least 0; about 1 where there is nothing but noise. 0 where most neighbours are equal, or
        no axis has three voxels.

    Examples
    --------
    >>> import napari_hypseg as hs
    >>> from napari_hypseg.volumes import fit_normalization
    >>> toy = hs.make_toy("regular").volume
    >>> rule = fit_normalization(toy)
    >>> round(fit_noise(toy, rule) * rule.std, 2)  # the noise that was added has 0.25
    0.24
    """
    return finish(fit_noise_job(volume, normalization))


def fit_noise_job(volume: Volume, normalization: Normalization) -> Job[float]:
    """The generator twin of `fit_noise`."""
    boxes = list(slabs(volume.shape, _PIECE))
    chosen = boxes[:: math.ceil(len(boxes) / _SLABS)]
    medians: list[list[float]] = [[], [], []]
    for done, box in enumerate(chosen):
        values, outside = normalization.look(volume, box)
        for axis, found in enumerate(medians):
            yield Progress("measuring the noise", done, len(chosen))
            steps = np.abs(np.diff(values, 2, axis))
            steps = steps[~np.moveaxis(np.moveaxis(outside, axis, 0)[1:-1], 0, axis)]
            if steps.size:
                found.append(float(np.median(steps)))
    axes = [float(np.median(found)) / (_MEDIAN * math.sqrt(6)) for found in medians if found]
    return float(np.median(axes)) if axes else 0.0
