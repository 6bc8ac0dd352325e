"""Seeded toy volumes with a truth at three levels: the papers' two kinds, made again, and two more.

The generator of the papers was never published. What is here follows the text of Hsu et al.
(ICLR 2021 submission, section 5.1 and appendix A.5); where it leaves things open, this was chosen:

1. *Background*: 0, without texture; only shapes have a colour.
2. *Sizes*: normal, the second number being the standard deviation, and cut at two of them so that
   everything always fits. The cell may reach past the volume's faces, its contents never do.
3. *Cuboids*: edges along the axes, each of the three drawn on its own and rounded to whole voxels.
   "2 N(8, 0.5)" is the full edge, about 16, the diameter of the vesicle (and not 8).
4. *How many*: one vesicle and one mitochondrion in the cell, two small spheres in the vesicle, two
   small cuboids in the mitochondrion, as section 5.1 says.
5. *Hollow*: a wall of 2 voxels has the shape's colour and texture; the lumen is plain, half-way
   between the colours of the shape and of the cell. The truth counts wall and lumen as one.
   The cell and the four small shapes are solid.
6. *Places*: uniform over all whole-voxel places where the shape lies inside its parent and, for
   vesicle and mitochondrion, a voxel from each other and from the cell's edge. Small shapes may
   touch the wall from inside or take its place, but do not overlap.
7. *Colours*: standard normal, but drawn again while closer than 0.75, three times the noise, to the
   parent's (the cell's: to the background). The text states no such rule; without one, every fifth
   cell would hardly be seen, and the papers' Dice of .95 at level 1 could not be had by anybody.
   Siblings may look alike, and a shape may have the background's colour.
8. *Textures*: a plane wave for each of the seven shapes, with its own direction, wavelength (3 to 8
   voxels) and amplitude (0.1 to 0.4), no two alike.
9. *Pink noise*: Gaussian, power falling as 1 / frequency in three dimensions, mean 0; its
   "magnitude" 0.25 is the standard deviation.
10. *Irregular*: Gaussian values at random voxels, interpolated by a Gaussian kernel of 6 voxels,
    make a smooth field of displacements (standard deviation 2.5 voxels along each axis), and the
    regular volume of the same seed is drawn through it. The text bends the three largest shapes
    only; here the small ones bend with them (less, being small), so that nothing leaves its parent.
11. *Voxel size*: 10 angstrom, by convention only; nothing here has a physical size.
12. *Split*: seeds 0 to 79 train, 80 to 99 validation, 100 to 119 test (`toy_seeds`).

Two kinds are no part of the papers. The cell is described in `toy_cell`. "texture" is the regular
layout of the same seed, solid, where all means are 0, of the background and of each shape: what
tells shapes apart is only the plane wave inside (amplitude 0.75, a wavelength and a direction for
each), and noise; whatever averages intensities finds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from napari_hypseg.samples.fields import pink_noise, smooth_field
from napari_hypseg.samples.toy_cell import draw_cell
from napari_hypseg.volumes.volume import Volume

__all__ = ["Toy", "ToyKind", "make_toy", "toy_seeds"]

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

ToyKind = Literal["regular", "irregular", "texture", "cell"]
Split = Literal["train", "validation", "test"]

SIDE = 50
VOXEL_SIZE = (10.0, 10.0, 10.0)
GAP = 1.0
WALL = 2.0
NOISE = 0.25
BEND = 2.5
CONTRAST = 3 * NOISE
# Of the texture-only volumes; its standard deviation is about twice that of the noise.
AMPLITUDE = 0.75
# Which shape each of the seven lies in; -1 is the background.
PARENTS = (-1, 0, 0, 1, 1, 2, 2)
SPLITS: dict[Split, range] = {
    "train": range(80), "validation": range(80, 100), "test": range(100, 120)
}  # fmt: skip
# Class at level 3 to class at level 2: small spheres are vesicle, small cuboids mitochondrion.
LEVEL_2 = np.array([0, 1, 2, 3, 2, 2, 3, 3], np.uint8)


@dataclass(frozen=True, eq=False)
class Toy:
    """A made volume and its truth.

    Attributes
    ----------
    volume : Volume
        The voxels, float32.
    levels : tuple of three ndarray of uint8, shape (z, y, x)
        The truth, coarse to fine. Level 1: 0 background, 1 cell. Levels 2 and 3 of "regular",
        "irregular" and "texture": 2 vesicle, 3 mitochondrion; at level 3 also 4, 5 the spheres in
        the vesicle and 6, 7 the cuboids in the mitochondrion. Of "cell", level 2: 1 cytoplasm,
        2 cell membrane, 3 vesicle, 4 mitochondrion, 5 microtubule, 6 ribosome; level 3:
        1 cytoplasm, 2 cell membrane, 3 vesicle membrane, 4 vesicle lumen, 5 mitochondrial
        membranes, 6 matrix, 7 crista, 8 microtubule wall, 9 microtubule lumen, 10 ribosome.
    """

    volume: Volume
    levels: tuple[Labels, Labels, Labels]


def toy_seeds(split: Split) -> range:
    """Seeds of the volumes to train on (80), to choose settings on (20) or to test on (20).

    Examples
    --------
    >>> [len(toy_seeds(split)) for split in ("train", "validation", "test")]
    [80, 20, 20]
    """
    return SPLITS[split]


def make_toy(kind: ToyKind, *, seed: int = 0) -> Toy:
    """Make a toy volume; the same seed makes the same one.

    Parameters
    ----------
    kind : {"regular", "irregular", "texture", "cell"}
        One of the papers' two data sets (50 x 50 x 50 voxels), the regular one told apart by
        texture alone, or a small cell as in a tomogram (64 x 160 x 160).
    seed : int
        Which one.

    Raises
    ------
    ValueError
        If there is no such kind.

    References
    ----------
    Hsu et al., "Learning Hyperbolic Representations for Unsupervised 3D Segmentation", ICLR 2021
    submission, section 5.1 and appendix A.5. What it leaves open: see the module's text.

    Examples
    --------
    >>> toy = make_toy("regular", seed=3)
    >>> toy.volume.shape, [int(level.max()) + 1 for level in toy.levels]
    ((50, 50, 50), [2, 4, 8])
    """
    if kind not in get_args(ToyKind):
        *most, last = get_args(ToyKind)
        raise ValueError(f"there is no toy volume {kind!r}, only {', '.join(most)} and {last}")
    rng = np.random.Generator(np.random.PCG64(seed))
    if kind == "cell":
        voxels, levels = draw_cell(rng)
        origin = (-320.0, 1200.0, 2500.0)
    else:
        voxels, levels = _draw_toy(
            rng, irregular=kind == "irregular", texture_only=kind == "texture"
        )
        origin = (0.0, 0.0, 0.0)
    volume = Volume(
        voxels.astype(np.float32), voxel_size=VOXEL_SIZE, origin=origin, name=f"toy-{kind}-{seed}"
    )
    return Toy(volume, levels)


@dataclass(frozen=True, eq=False)
class Shape:
    """A sphere (all edges are its diameter) or a cuboid, in voxels; not yet placed: central."""

    is_ball: bool
    edges: Array
    centre: Array = field(default_factory=lambda: np.full(3, (SIDE - 1) / 2))

    def depth(self, points: Array) -> Array:
        """How far points, shape (3, z, y, x), lie inside; negative outside."""
        offset = np.abs(points - self.centre[:, None, None, None])
        if self.is_ball:
            return np.asarray(self.edges[0] / 2 - np.linalg.norm(offset, axis=0))
        return np.asarray((self.edges[:, None, None, None] / 2 - offset).min(axis=0))


def _draw_toy(
    rng: np.random.Generator, *, irregular: bool, texture_only: bool
) -> tuple[Array, tuple[Labels, Labels, Labels]]:
    box = (SIDE,) * 3
    shapes = _layout(rng)
    colours = _colours(rng)
    wavelengths = rng.permutation(np.linspace(3, 8, len(shapes)))
    amplitudes = rng.permutation(np.linspace(0.1, 0.4, len(shapes)))
    directions = rng.standard_normal((len(shapes), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    phases = rng.random(len(shapes))
    if texture_only:
        colours[:], amplitudes[:] = 0, AMPLITUDE
    noise = NOISE * pink_noise(rng, box)
    # Bent last, so that an irregular volume is the regular one of its seed, bent.
    grid = np.indices(box).astype(np.float64)
    seen = grid
    if irregular:
        seen = grid + BEND * np.stack([smooth_field(rng, box, 6.0) for _ in range(3)])

    voxels = np.zeros(box)
    truth = np.zeros(box, np.uint8)
    for index, shape in enumerate(shapes):
        depth = shape.depth(seen)
        turns = np.tensordot(directions[index], grid, 1) / wavelengths[index] + phases[index]
        painted = colours[index] + amplitudes[index] * np.sin(2 * np.pi * turns)
        if index in (1, 2) and not texture_only:
            painted = np.where(depth < WALL, painted, (colours[index] + colours[0]) / 2)
        inside = depth >= 0
        voxels[inside] = painted[inside]
        truth[inside] = index + 1
    if texture_only:
        # A wave does not end after whole periods: only this makes all means the same.
        sizes = np.bincount(truth.ravel())
        means = np.bincount(truth.ravel(), weights=voxels.ravel()) / sizes
        voxels -= means[truth]
    voxels += noise
    return voxels, ((truth > 0).astype(np.uint8), LEVEL_2[truth], truth)


def _colours(rng: np.random.Generator) -> Array:
    """A colour for each shape that stands out from its parent's."""
    colours = rng.standard_normal(len(PARENTS))
    for index, parent in enumerate(PARENTS):
        around = 0.0 if parent < 0 else colours[parent]
        while abs(colours[index] - around) < CONTRAST:
            colours[index] = rng.standard_normal()
    return colours


def _layout(rng: np.random.Generator) -> list[Shape]:
    """Cell, vesicle, mitochondrion, two small spheres, two small cuboids."""

    def size(mean: float, deviation: float) -> float:
        while True:
            drawn = rng.normal(mean, deviation)
            if abs(drawn - mean) <= 2 * deviation:
                return drawn

    def ball(mean: float, deviation: float) -> Shape:
        return Shape(True, np.full(3, 2 * size(mean, deviation)))

    def cuboid(mean: float, deviation: float) -> Shape:
        return Shape(False, np.array([np.rint(2 * size(mean, deviation)) for _ in range(3)]))

    cell = ball(25, 1)
    mitochondrion, vesicle = _place(rng, cuboid(8, 0.5), ball(8, 0.5), cell, GAP)
    spheres = _place(rng, ball(2, 0.2), ball(2, 0.2), vesicle, 0.0)
    cuboids = _place(rng, cuboid(3, 0.15), cuboid(3, 0.15), mitochondrion, 0.0)
    return [cell, vesicle, mitochondrion, *spheres, *cuboids]


def _place(
    rng: np.random.Generator, first: Shape, second: Shape, parent: Shape, gap: float
) -> tuple[Shape, Shape]:
    """Put two shapes inside a parent and apart from each other.

    Every place of the first is tried, in random order, until one leaves room for the second. With
    sizes cut at two standard deviations such a place exists, so the search has an end: for the
    largest contents of the smallest parent, push the two to opposite sides along one axis.
    """
    places = _places(second, parent, gap)
    for centre in rng.permutation(_places(first, parent, gap), axis=1).T:
        placed = replace(first, centre=centre)
        free = places[:, _distance(placed, second, places) >= gap]
        if free.size:
            return placed, replace(second, centre=rng.choice(free, axis=1))
    raise AssertionError("sizes cut at two standard deviations always fit")


def _places(shape: Shape, parent: Shape, gap: float) -> Array:
    """Centres, shape (3, n), where the shape keeps a gap to its parent's edge and stays inside.

    The centre of a cuboid with an even edge lies between two voxels.
    """
    half = shape.edges[:, None] / 2
    shift = 0.0 if shape.is_ball else (shape.edges[:, None] - 1) % 2 / 2
    centres = np.indices((SIDE,) * 3).reshape(3, -1) + shift
    offset = np.abs(centres - parent.centre[:, None])
    if not parent.is_ball:
        room = (parent.edges[:, None] / 2 - offset - half).min(axis=0)
    elif shape.is_ball:
        room = parent.edges[0] / 2 - np.linalg.norm(offset, axis=0) - half[0]
    else:
        room = parent.edges[0] / 2 - np.linalg.norm(offset + half, axis=0)
    in_volume = (np.minimum(centres, SIDE - 1 - centres) + 0.5 >= half).all(axis=0)
    return np.asarray(centres[:, (room >= gap) & in_volume])


def _distance(placed: Shape, other: Shape, centres: Array) -> Array:
    """Distance from a placed shape to another on each of the centres; negative where they overlap.

    Only spheres are ever placed beside a sphere.
    """
    offset = np.abs(centres - placed.centre[:, None])
    if placed.is_ball:
        return np.asarray(np.linalg.norm(offset, axis=0) - (placed.edges[0] + other.edges[0]) / 2)
    outside = offset - placed.edges[:, None] / 2
    if other.is_ball:
        return np.asarray(np.linalg.norm(np.maximum(outside, 0), axis=0) - other.edges[0] / 2)
    return np.asarray((outside - other.edges[:, None] / 2).max(axis=0))
