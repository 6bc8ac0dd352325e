"""Random fields that made volumes are made with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

__all__ = ["frequencies", "pink_noise", "smooth_field"]

Array = npt.NDArray[np.float64]
Shape = tuple[int, int, int]

POINTS_PER_KERNEL = 8


def smooth_field(rng: np.random.Generator, shape: Shape, sigma: float) -> Array:
    """Gaussian values at random voxels, interpolated by a Gaussian kernel of ``sigma`` voxels.

    The mean is 0 and the standard deviation 1.
    """
    size = int(np.prod(shape))
    points = int(np.ceil(POINTS_PER_KERNEL * size / (2 * np.sqrt(np.pi) * sigma) ** 3))
    scattered = np.zeros(size)
    np.add.at(scattered, rng.integers(0, size, points), rng.standard_normal(points))
    return _standard(ndimage.gaussian_filter(scattered.reshape(shape), sigma, mode="reflect"))


def pink_noise(rng: np.random.Generator, shape: Shape) -> Array:
    """Gaussian noise whose power falls as 1 / frequency; mean 0, standard deviation 1."""
    spectrum = fft.rfftn(rng.standard_normal(shape))
    frequency = np.sqrt(sum(axis**2 for axis in frequencies(shape)))
    frequency[0, 0, 0] = np.inf
    return _standard(fft.irfftn(spectrum / np.sqrt(frequency), s=shape))


def frequencies(shape: Shape) -> tuple[Array, Array, Array]:
    """Frequencies along z, y, x in cycles a voxel, to broadcast over what `rfftn` gives."""
    z, y, x = shape
    return (
        fft.fftfreq(z)[:, None, None],
        fft.fftfreq(y)[None, :, None],
        fft.rfftfreq(x)[None, None, :],
    )


def _standard(field: Array) -> Array:
    return np.asarray((field - field.mean()) / field.std())
