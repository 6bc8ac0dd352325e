"""The toy cell: a lamella through a small cell, as a cryo-electron tomogram would show it.

Protein is bright (contrast inverted). A cell with its membrane, mitochondria with two membranes and
cristae, vesicles, microtubules and ribosomes is drawn, blurred, made noisy (signal to noise 1.5 in
variance, as after denoising or averaging) and robbed of the wedge of frequencies that tilting by
+-60 degrees about the y axis does not measure. Membranes are as thick as in life at 10 angstrom a
voxel, the rest has about half of its size in life so that a handful of each fits; there is no
contrast transfer function, and the noise does not grow with thickness.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from napari_hypseg.samples.fields import frequencies, smooth_field

__all__ = ["draw_cell"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

SHAPE = (64, 160, 160)
TILT = 60.0
# Variance of what is drawn to variance of the noise, over the whole volume.
SIGNAL_TO_NOISE = 1.5
BEND = 3.0
GAP = 2.0
BILAYER = 4.0
# How far from an object its room is tracked: the largest radius and gap, and some more.
REACH = 24

# Level 3 to level 2: parts to the things they belong to.
LEVEL_2 = np.array([0, 1, 2, 3, 3, 4, 4, 4, 5, 5, 6], np.uint8)
CYTOPLASM, MEMBRANE, VESICLE, LUMEN, DOUBLE, MATRIX, CRISTA, TUBE, BORE, RIBOSOME = range(1, 11)


@dataclass(frozen=True, eq=False)
class Capsule:
    """All points within a radius of a segment: a ball, a rod with round ends, a tube."""

    start: Array
    end: Array
    radius: float

    def box(self, margin: float) -> tuple[slice, slice, slice]:
        """The part of the volume that holds it and a margin around it."""
        low = np.floor(np.minimum(self.start, self.end) - self.radius - margin).astype(int)
        high = np.ceil(np.maximum(self.start, self.end) + self.radius + margin).astype(int) + 1
        z, y, x = (
            slice(max(0, int(a)), min(n, int(b))) for a, b, n in zip(low, high, SHAPE, strict=True)
        )
        return z, y, x

    def depth(self, points: Array) -> tuple[Array, Array]:
        """How far points, shape (3, z, y, x), lie inside, and how far along the segment."""
        axis = self.end - self.start
        length = float(np.linalg.norm(axis))
        axis = axis / length if length else axis
        offset = points - self.start[:, None, None, None]
        along = np.clip(np.tensordot(axis, offset, 1), 0, length)
        beside = offset - axis[:, None, None, None] * along
        return self.radius - np.linalg.norm(beside, axis=0), along


def draw_cell(rng: np.random.Generator) -> tuple[Array, tuple[Labels, Labels, Labels]]:
    """Voxels and truth, coarse to fine, of a small cell.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where chance comes from.
    """
    grid = np.indices(SHAPE).astype(np.float64)
    # Everything is seen through one smooth field of displacements: nothing is straight or round,
    # and what is inside something stays inside.
    seen = grid + BEND * np.stack([smooth_field(rng, SHAPE, 14.0) for _ in range(3)])
    middle = np.array([32.0, 79.5, 79.5])
    radii = np.array([80.0, rng.uniform(68, 74), rng.uniform(64, 72)])

    def cell_depth(points: Array) -> Array:
        scaled = (points - middle[:, None, None, None]) / radii[:, None, None, None]
        return np.asarray((1 - np.linalg.norm(scaled, axis=0)) * radii[1:].mean())

    density = np.zeros(SHAPE)
    truth = np.zeros(SHAPE, np.uint8)
    depth = cell_depth(seen)
    inside = depth >= 0
    # Between the things that can be told apart, the cytoplasm is crowded with small proteins.
    crowd = 0.2 + 0.15 * smooth_field(rng, SHAPE, 1.2)
    density[inside] = crowd[inside]
    truth[inside] = CYTOPLASM
    density += _bilayer(depth - BILAYER / 2)
    truth[inside & (depth < BILAYER)] = MEMBRANE

    room = cell_depth(grid) - BILAYER
    for kind, capsule in _place(rng, room):
        box = capsule.box(BEND * 5)
        local, along = capsule.depth(seen[(slice(None), *box)])
        if kind == "mitochondrion":
            _mitochondrion(density[box], truth[box], local, along, crowd[box])
        elif kind == "tube":
            _tube(density[box], truth[box], local, along)
        elif kind == "vesicle":
            _vesicle(density[box], truth[box], local)
        else:
            _ribosome(density[box], truth[box], local)
    levels = ((truth > 0).astype(np.uint8), LEVEL_2[truth], truth)
    return _tomogram(rng, density), levels


def _place(rng: np.random.Generator, room: Array) -> list[tuple[str, Capsule]]:
    """Draw what the cell holds, large things first, each where there is room; ``room`` is used up.

    A thing that finds no room in 50 directions is left out.
    """
    wanted = [
        *[("mitochondrion", rng.uniform(18, 21), rng.uniform(20, 34)) for _ in range(2)],
        *[("vesicle", rng.uniform(9, 14), 0.0) for _ in range(6)],
        *[("tube", 6.0, rng.uniform(45, 80)) for _ in range(3)],
        *[("ribosome", rng.uniform(3.2, 4.0), 0.0) for _ in range(80)],
    ]
    placed = []
    for kind, radius, length in wanted:
        capsule = _find_room(rng, room, radius, length)
        if capsule is None:
            continue
        placed.append((kind, capsule))
        box = capsule.box(REACH)
        points = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"))
        room[box] = np.minimum(room[box], -capsule.depth(points.astype(np.float64))[0])
    return placed


def _find_room(
    rng: np.random.Generator, room: Array, radius: float, length: float
) -> Capsule | None:
    """A capsule, nearly in the plane of the lamella, with a gap to all else; None if none fits."""
    for _ in range(50):
        turn, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.1)
        axis = np.array([np.sin(tilt), np.cos(tilt) * np.sin(turn), np.cos(tilt) * np.cos(turn)])
        starts = rng.integers(0, SHAPE, (2000, 3))
        steps = np.linspace(0, length, int(length // 2) + 1)
        points = np.rint(starts[:, None] + steps[:, None] * axis).astype(int)
        in_volume = ((points >= 0) & (points < SHAPE)).all(axis=(1, 2))
        starts, points = starts[in_volume], points[in_volume]
        fits = (room[tuple(np.moveaxis(points, -1, 0))] >= radius + GAP).all(axis=1)
        if fits.any():
            start = starts[int(np.argmax(fits))].astype(np.float64)
            return Capsule(start, start + length * axis, radius)
    return None


def _bilayer(depth: Array) -> Array:
    """Density of a membrane's two leaflets, 2.5 voxels from peak to peak, centred on depth 0."""
    return np.asarray(1.2 * np.exp(-(((np.abs(depth) - 1.25) / 0.7) ** 2)))


def _vesicle(density: Array, truth: Labels, depth: Array) -> None:
    inside = depth >= 0
    density[inside] = 0
    density += _bilayer(depth - BILAYER / 2)
    truth[inside] = np.where(depth < BILAYER, VESICLE, LUMEN)[inside]


def _mitochondrion(density: Array, truth: Labels, depth: Array, along: Array, crowd: Array) -> None:
    inside, matrix = depth >= 0, depth >= 2 * BILAYER
    density[inside] = 0
    density[matrix] = 0.25 + crowd[matrix]
    # Sheets of folded inner membrane across the long axis, open in its middle.
    sheet = np.abs((along / 8 + 0.5) % 1 - 0.5) * 8
    crista = (sheet < 1.5) & matrix & (depth < 14) & (along > 0)
    density[crista] = 1.2
    density += _bilayer(depth - BILAYER / 2) + _bilayer(depth - 3 * BILAYER / 2)
    truth[inside] = DOUBLE
    truth[matrix] = MATRIX
    truth[crista] = CRISTA


def _tube(density: Array, truth: Labels, depth: Array, along: Array) -> None:
    # Both ends are open: the caps of the capsule stay cytoplasm.
    inside = (depth >= 0) & (along > 0) & (along < along.max())
    wall = inside & (depth < 2.5)
    density[inside] = 0
    density[wall] = 1.2
    truth[inside] = BORE
    truth[wall] = TUBE


def _ribosome(density: Array, truth: Labels, depth: Array) -> None:
    density[depth >= 0] = 1.5
    truth[depth >= 0] = RIBOSOME


def _tomogram(rng: np.random.Generator, density: Array) -> Array:
    """What the microscope makes of it: blurred, noisy, and blind to a wedge of directions."""
    blurred = ndimage.gaussian_filter(density, 0.7)
    noise = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 0.6)
    noise *= blurred.std() / noise.std() / np.sqrt(SIGNAL_TO_NOISE)
    kz, _, kx = frequencies(SHAPE)
    # Tilted about y by up to +-60 degrees, the central slices measure |kz| <= |kx| tan 60.
    measured = np.abs(kz) <= np.abs(kx) * np.tan(np.radians(TILT))
    return np.asarray(fft.irfftn(fft.rfftn(blurred + noise) * measured, s=SHAPE))
