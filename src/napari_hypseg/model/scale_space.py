"""What surrounds a voxel, from fine to coarse: derivatives of Gaussians at five scales."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

__all__ = ["HALO", "SCALE_OF", "SIGMAS", "WIDTH", "scale_space"]

#: Standard deviations of the Gaussians, in voxels.
SIGMAS = (0.7, 1.0, 1.6, 3.5, 5.0)
# From this one on the volume is looked at in blocks of 2 x 2 x 2 voxels, an eighth of the work:
# what is finer a Gaussian this wide takes away in any case.
_COARSE = 3.5
# Kernels reach so many standard deviations to each side.
_REACH = 3.0
_MEASURES = 9

#: Scale of each feature, an index into `SIGMAS`; -1 for the voxel itself.
SCALE_OF = (
    -1,
    *(scale for scale in range(len(SIGMAS)) for _ in range(_MEASURES)),
    *(scale for scale, sigma in enumerate(SIGMAS) if sigma < _COARSE),
)
#: Features of a voxel.
WIDTH = len(SCALE_OF)
#: Voxels that a tile has beyond those asked for: two of the widest kernels, one after the other,
#: and a block to interpolate.
HALO = 36

Shape = tuple[int, int, int]


class _Window(NamedTuple):
    """Some voxels of a tile, or some blocks: where they begin, and how many along each axis."""

    first: Shape
    shape: Shape

    def wider(self, by: int) -> _Window:
        z, y, x = (start - by for start in self.first)
        d, h, w = (size + 2 * by for size in self.shape)
        return _Window((z, y, x), (d, h, w))

    def of(self, tile: Tensor) -> Tensor:
        for axis, (start, size) in enumerate(zip(*self, strict=True)):
            tile = tile.narrow(axis, start, size)
        return tile

    def blocks(self) -> _Window:
        """Blocks that hold the voxels, and one more on each side."""
        z, y, x = (start // 2 - 1 for start in self.first)
        d, h, w = (
            (start + size - 1) // 2 - start // 2 + 3 for start, size in zip(*self, strict=True)
        )
        return _Window((z, y, x), (d, h, w))

    def voxels(self) -> _Window:
        """Voxels of the blocks."""
        z, y, x = (2 * start for start in self.first)
        d, h, w = (2 * size for size in self.shape)
        return _Window((z, y, x), (d, h, w))


def scale_space(tile: Tensor, first: Shape, shape: Shape) -> Tensor:
    """Features of the voxels in the middle of a tile.

    The voxel itself; at each scale the smoothed voxel, the magnitude of the gradient, the
    Laplacian, the eigenvalues of the Hessian and the square roots of those of the structure tensor,
    averaged at the same scale, both in order of size; and, for the fine scales, texture: the root
    mean square of the gradient over a neighbourhood as wide as a coarse scale. Each grows in
    proportion to the contrast, and none changes when the volume is turned or mirrored.

    Parameters
    ----------
    tile : tensor of float32, shape (z, y, x)
        Normalised intensities. Its corner lies at even coordinates of the volume and its sides are
        even, so that blocks are the same in every tile.
    first, shape : tuple of int
        Where in the tile the voxels asked for begin, and how many there are along each axis; the
        tile reaches at least `HALO` voxels beyond them.

    Returns
    -------
    tensor, shape (*shape, WIDTH)

    References
    ----------
    Koenderink and van Doorn, "Representation of local geometry in the visual system", Biol. Cybern.
    55, 1987. Jacobsen et al., "Structured receptive fields in CNNs", CVPR 2016.
    """
    asked = _Window(first, shape)
    blocks, across = avg_pool3d(tile[None, None], 2)[0, 0], asked.blocks()
    features = [asked.of(tile)]
    textures = []
    for sigma in SIGMAS:
        if sigma < _COARSE:
            radius, wide = _radius(sigma), _radius(_COARSE / 2)
            # Texture needs the gradient in whole blocks, and as far as it is smoothed there.
            around = across.wider(wide).voxels()
            gradient = _gradient(around.wider(radius).of(tile), sigma)
            start = [a - b - radius for a, b in zip(first, around.first, strict=True)]
            inside = _Window((start[0], start[1], start[2]), asked.wider(radius).shape)
            features += _measures(
                asked.wider(radius).of(tile), [inside.of(part) for part in gradient], sigma
            )
            square = avg_pool3d(sum(part.square() for part in gradient)[None, None], 2)[0, 0]  # type: ignore[index]
            textures.append(_voxels(_smooth(square, _COARSE / 2), asked).sqrt())
        else:
            radius = _radius(sigma / 2)
            gradient = _gradient(across.wider(2 * radius).of(blocks), sigma / 2)
            found = _measures(across.wider(radius).of(blocks), gradient, sigma / 2)
            features += [_voxels(values, asked) for values in found]
    return torch.stack(features + textures, -1)


def _voxels(values: Tensor, asked: _Window) -> Tensor:
    """Values of voxels, from those of the blocks that hold them and one more on each side."""
    upper = interpolate(values[None, None], scale_factor=2, mode="trilinear")[0, 0]
    start = [a - 2 * b for a, b in zip(asked.first, asked.blocks().first, strict=True)]
    return _Window((start[0], start[1], start[2]), asked.shape).of(upper)


def _radius(sigma: float) -> int:
    return int(_REACH * sigma + 0.5)


def _kernels(sigma: float) -> list[list[float]]:
    """A Gaussian and its first two derivatives, as weights to each side of a voxel."""
    radius = _radius(sigma)
    places = range(-radius, radius + 1)
    bell = [math.exp(-0.5 * (x / sigma) ** 2) for x in places]
    total = sum(bell)
    bell = [value / total for value in bell]
    slope = [x / sigma**2 * value for x, value in zip(places, bell, strict=True)]
    bend = [(x * x / sigma**4 - 1 / sigma**2) * b for x, b in zip(places, bell, strict=True)]
    # Of a constant there is no second derivative, wherever the kernel is cut off.
    mean = sum(bend) / len(bend)
    return [bell, slope, [value - mean for value in bend]]


def _along(values: Tensor, kernel: list[float], axis: int) -> Tensor:
    """Correlation along an axis, where the whole kernel fits."""
    size = values.shape[axis] - len(kernel) + 1
    out = values.narrow(axis, 0, size) * kernel[0]
    for index, weight in enumerate(kernel[1:], 1):
        if weight:
            out.add_(values.narrow(axis, index, size), alpha=weight)
    return out


def _smooth(values: Tensor, sigma: float) -> Tensor:
    for axis in range(3):
        values = _along(values, _kernels(sigma)[0], axis)
    return values


def _gradient(tile: Tensor, sigma: float) -> list[Tensor]:
    """Derivatives along z, y and x; each side of the tile is a radius longer than they are."""
    bell, slope, _ = _kernels(sigma)
    level, steep = _along(tile, bell, 0), _along(tile, slope, 0)
    flat = _along(level, bell, 1)
    return [
        _along(_along(steep, bell, 1), bell, 2),
        _along(_along(level, slope, 1), bell, 2),
        _along(flat, slope, 2),
    ]


def _measures(tile: Tensor, gradient: list[Tensor], sigma: float) -> list[Tensor]:
    """The nine features of a scale; tile and gradient are a radius larger on each side."""
    bell, slope, bend = _kernels(sigma)
    level, steep, bent = (_along(tile, kernel, 0) for kernel in (bell, slope, bend))
    flat, tilted = _along(level, bell, 1), _along(level, slope, 1)
    zz = _along(_along(bent, bell, 1), bell, 2)
    yy = _along(_along(level, bend, 1), bell, 2)
    xx = _along(flat, bend, 2)
    zy = _along(_along(steep, slope, 1), bell, 2)
    zx = _along(_along(steep, bell, 1), slope, 2)
    yx = _along(tilted, slope, 2)
    radius = _radius(sigma)
    inner = _Window((radius,) * 3, tuple(xx.shape))  # type: ignore[arg-type]
    steepness = sum(inner.of(part).square() for part in gradient)
    z, y, x = gradient
    tensor = [_smooth(a * b, sigma) for a, b in ((z, z), (y, y), (x, x), (z, y), (z, x), (y, x))]
    return [
        _along(flat, bell, 2),
        steepness.sqrt(),  # type: ignore[union-attr]
        zz + yy + xx,
        *_eigenvalues(zz, yy, xx, zy, zx, yx),
        *(value.clamp_min(0).sqrt() for value in _eigenvalues(*tensor)),
    ]


def _eigenvalues(
    zz: Tensor, yy: Tensor, xx: Tensor, zy: Tensor, zx: Tensor, yx: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues of symmetric 3 x 3 matrices in order of size, by the roots of their cubic.

    Smith, "Eigenvalues of a symmetric 3 x 3 matrix", Commun. ACM 4, 1961.
    """
    mean = (zz + yy + xx) / 3
    z, y, x = zz - mean, yy - mean, xx - mean
    apart = zy.square() + zx.square() + yx.square()
    spread = ((z * z + y * y + x * x + 2 * apart) / 6).sqrt().clamp_min(1e-12)
    determinant = z * (y * x - yx * yx) - zy * (zy * x - yx * zx) + zx * (zy * yx - y * zx)
    angle = (determinant / (2 * spread**3)).clamp(-1, 1).arccos() / 3
    largest = mean + 2 * spread * angle.cos()
    smallest = mean + 2 * spread * (angle + 2 * math.pi / 3).cos()
    return smallest, 3 * mean - largest - smallest, largest
