"""Density and truth on a grid, and what paints them: beads of protein and bilayers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_hypseg.samples.molecules import VOLUME, Beads

__all__ = ["BILAYER", "LEAFLETS", "Canvas"]

Array = npt.NDArray[np.float64]
Field = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

# Of a membrane, in angstrom: between the middles of the two leaflets' head groups, and all of it.
LEAFLETS = 40.0
BILAYER = 60.0
# Head groups are as dense as protein, tails lighter than water; widths as standard deviations.
HEADS, HEADS_WIDTH = 1.1, 4.2
TAILS, TAILS_WIDTH = -0.15, 8.0
# Beads that are painted at once.
_AT_ONCE = 1024


class Canvas:
    """Density of a specimen over that of ice, protein being 1, and the class of each voxel.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    voxel_size : float
        In angstrom. The centre of voxel (0, 0, 0) is the origin.
    """

    def __init__(self, shape: tuple[int, int, int], voxel_size: float) -> None:
        self.density = np.zeros(shape, np.float32)
        self.truth = np.zeros(shape, np.uint8)
        self.voxel_size = voxel_size

    def box(self, centre: npt.ArrayLike, radius: float) -> Box | None:
        """The voxels about a ball; None where it lies outside."""
        middle = np.asarray(centre) / self.voxel_size
        low = np.floor(middle - radius / self.voxel_size).astype(int)
        high = np.ceil(middle + radius / self.voxel_size).astype(int) + 1
        z, y, x = (
            slice(max(0, int(a)), min(n, int(b)))
            for a, b, n in zip(low, high, self.truth.shape, strict=True)
        )
        return (z, y, x) if all(s.start < s.stop for s in (z, y, x)) else None

    def points(self, box: Box) -> tuple[Field, Field, Field]:
        """Where a box's voxels lie along z, y and x, in angstrom; to broadcast."""
        z, y, x = (
            np.arange(s.start, s.stop, dtype=np.float32) * np.float32(self.voxel_size) for s in box
        )
        return z[:, None, None], y[:, None], x

    def add_beads(self, beads: Beads, label: int | None = None) -> None:
        """Paint beads as Gaussians of the same mass and moment of inertia as the balls.

        A voxel shows no more than fits it: half a voxel's blur is part of the width.

        Parameters
        ----------
        label : int, optional
            What voxels within the beads' reach are; unchanged without.
        """
        size = self.voxel_size
        volumes = VOLUME * beads.masses
        widths = np.sqrt(np.cbrt(3 / (4 * np.pi) * volumes) ** 2 / 5 + (size / 2) ** 2)
        heights = volumes / (np.sqrt(2 * np.pi) * widths) ** 3
        reaches = beads.reaches if label is not None else np.zeros(len(widths))
        half = int(np.ceil(max(3 * widths.max(), reaches.max()) / size))
        density, truth = self.density.reshape(-1), self.truth.reshape(-1)
        _, height, width = self.truth.shape
        for first in range(0, len(widths), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            near = np.rint(beads.centres[part] / size).astype(np.int64)
            # (bead, axis, voxel): which voxels along each axis, and how far they are.
            index = near[:, :, None] + np.arange(-half, half + 1)
            away = index * size - beads.centres[part][:, :, None]
            inside = (index >= 0) & (index < np.array(self.truth.shape)[:, None])
            index = np.where(inside, index, 0)
            bell = np.exp(-0.5 * (away / widths[part][:, None, None]) ** 2) * inside
            bell[:, 0] *= heights[part][:, None]
            z, y, x = np.moveaxis(bell.astype(np.float32), 1, 0)
            values = z[:, :, None, None] * y[:, None, :, None] * x[:, None, None, :]
            iz, iy, ix = np.moveaxis(index, 1, 0)
            flat = (iz[:, :, None, None] * height + iy[:, None, :, None]) * width
            flat = flat + ix[:, None, None, :]
            np.add.at(density, flat.reshape(-1), values.reshape(-1))
            if label is not None:
                z, y, x = np.moveaxis(np.where(inside, away**2, np.inf), 1, 0)
                square = z[:, :, None, None] + y[:, None, :, None] + x[:, None, None, :]
                truth[flat[square <= reaches[part][:, None, None, None] ** 2]] = label

    def add_bilayer(self, box: Box, depth: Field) -> None:
        """Paint a membrane whose middle is where a distance in angstrom is 0."""
        density = self.density[box]
        for height, width, middle in ((HEADS, HEADS_WIDTH, LEAFLETS / 2), (TAILS, TAILS_WIDTH, 0)):
            blurred = np.hypot(width, self.voxel_size / 2)
            layer = np.exp(-0.5 * ((np.abs(depth) - middle) / blurred) ** 2)
            density += np.float32(height * width / blurred) * layer

    def distance(self, inside: Field) -> Field:
        """Distance, in angstrom, from where a field on a box's voxels is 0; exact near there."""
        z, y, x = np.gradient(inside, self.voxel_size)
        steepness = np.sqrt(z**2 + y**2 + x**2)
        return np.asarray(inside / np.maximum(steepness, 1e-3), np.float32)
