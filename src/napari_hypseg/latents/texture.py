"""Texture: what is left of it around a voxel when smoothing has taken it away."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

__all__ = ["TEXTURES", "doubled", "texture"]

Floats = npt.NDArray[np.float32]

# From a voxel to those that its residue is compared with: along the diagonals of faces, and the
# second ones along the axes. The nearest along the axes, beside these, hardly change a tree.
_STEPS = (
    (1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1), (2, 0, 0), (0, 2, 0),
    (0, 0, 2),
)  # fmt: skip
#: Numbers that `texture` gives of a voxel.
TEXTURES = 1 + len(_STEPS)

# Standard deviation of the window, in voxels.
_WINDOW = 1.25


def texture(residue: Floats) -> Floats:
    """How strong a residue is in a Gaussian window, and how it goes on in nine directions.

    Two things of the same mean differ in it if one is rougher, or finer, or has a grain. It is
    given for every second voxel along each axis.

    Parameters
    ----------
    residue : array, shape (z, y, x), float32
        Intensities less their smoothed form.

    Returns
    -------
    array, shape (ceil(z / 2), ceil(y / 2), ceil(x / 2), 10), float32
        The root mean square; then the mean product with the next voxel along each diagonal of a
        face (z and y first) and with the second one along z, y and x, divided by the root mean
        square: all in the residue's unit.

    References
    ----------
    Laws, "Textured image segmentation", University of Southern California, 1980: texture energy,
    the local strength of what filters leave. Haralick, "Statistical and structural approaches to
    texture", Proc. IEEE 67, 1979: autocorrelation as a measure of a texture's grain.
    """
    steps = ((0, 0, 0), *_STEPS)
    means = np.stack(
        [gaussian_filter(_halved(_products(residue, s)), _WINDOW / 2) for s in steps], -1
    )
    strength = np.sqrt(means[..., :1], out=means[..., :1])
    np.divide(means[..., 1:], strength, out=means[..., 1:], where=strength > 0)
    return means


def _products(values: Floats, step: tuple[int, int, int]) -> Floats:
    """Each voxel's value times that of the voxel some steps further on.

    Where that one lies outside, the nearest product stands for it, and 0 where there is none: with
    a copy of the outermost value the volume's far faces would have a grain of their own.
    """
    ends = [(max(0, -by), max(0, by)) for by in step]
    sizes = list(zip(values.shape, ends, strict=True))
    if any(n <= before + after for n, (before, after) in sizes):
        return np.zeros_like(values)
    here = values[tuple(slice(before, n - after) for n, (before, after) in sizes)]
    there = values[tuple(slice(after, n - before) for n, (before, after) in sizes)]
    return np.pad(here * there, ends, mode="edge")


def _halved(field: Floats) -> Floats:
    """Means of two by two by two voxels; at the end of an odd axis one stands for two."""
    for axis in range(3):
        lines = np.moveaxis(field, axis, 0)
        means, second = lines[::2].copy(), lines[1::2]
        means[: len(second)] += second
        means[: len(second)] /= 2
        field = np.moveaxis(means, 0, axis)
    return field


def doubled(coarse: Floats, shape: tuple[int, int, int]) -> Floats:
    """Each voxel of a coarse field eight times; edges stay sharp, shape (z, y, x, c)."""
    for axis in range(3):
        coarse = coarse.repeat(2, axis)
    z, y, x = shape
    return coarse[:z, :y, :x]
