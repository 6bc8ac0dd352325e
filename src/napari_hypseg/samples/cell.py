"""A slab through a cell: what is in it, how much of each, and how large.

How many there are of each grows with the volume; what finds no room is left out. Large things are
placed first. Everything may reach out of the field of view, and is cut where the slab ends.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from napari_hypseg.samples.canvas import Canvas
from napari_hypseg.samples.molecules import (
    VOLUME,
    Beads,
    actin,
    crowd,
    microtubule,
    proteasome,
    random_turn,
    ribosome,
    tric,
)
from napari_hypseg.samples.organelles import (
    Blob,
    Sheet,
    paint_cell,
    paint_mitochondrion,
    paint_vesicle,
)
from napari_hypseg.samples.room import Balls, Room

__all__ = ["CLASSES", "paint"]

Array = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

#: Names of the classes of the finest level, in order of their numbers.
CLASSES = (
    "outside", "cytosol", "cell membrane", "vesicle membrane", "vesicle lumen",
    "mitochondrial membranes", "mitochondrial matrix", "microtubule", "actin",
    "ribosome", "26S proteasome", "TRiC",
)  # fmt: skip
(OUTSIDE, CYTOSOL, MEMBRANE, VESICLE, LUMEN, DOUBLE, MATRIX, TUBE, ACTIN, RIBOSOME, PROTEASOME,
 TRIC) = range(12)  # fmt: skip

# How many there are in 100 nm cubed of the field of view; one at least.
COMMON = {
    DOUBLE: 0.15, VESICLE: 1.0, TUBE: 0.35, ACTIN: 2.0, PROTEASOME: 1.5, RIBOSOME: 8.0, TRIC: 2.0,
}  # fmt: skip
COMPLEXES = {PROTEASOME: proteasome, RIBOSOME: ribosome, TRIC: tric}
# Part of the volume of the cytosol and of the matrix that small proteins fill.
CROWD = {CYTOSOL: 0.12, MATRIX: 0.15}
# Half of a mitochondrion's length, in angstrom: below the first there is no room for a matrix.
SHORTEST, LONGEST = 400.0, 900.0


def paint(canvas: Canvas, rng: np.random.Generator, thickness: float) -> dict[int, Places]:
    """Paint a cell.

    Parameters
    ----------
    canvas : Canvas
        An empty one.
    rng : numpy.random.Generator
        Where chance comes from.
    thickness : float
        Of the slab about the middle of the z axis, in angstrom; beyond it is nothing.

    Returns
    -------
    dict of ndarray of int, shape (n, 3)
        For each class of complexes the voxels in which their centres lie, of those inside.
    """
    extent = (np.array(canvas.truth.shape) - 1) * canvas.voxel_size
    across = float(extent[1:].min())
    sheet = _sheet(rng, extent)
    room = Room(sheet)

    def count(label: int, margin: float = 0.0) -> int:
        return max(1, round(COMMON[label] * float(np.prod(extent + 2 * margin)) / 1e9))

    paint_cell(canvas, sheet, CYTOSOL, MEMBRANE)
    long = min(0.3 * across, LONGEST)
    if long > SHORTEST:
        draw = partial(_blob, rng, extent, (0.8 * long, long), (0.65, 0.85))
        for mitochondrion in room.settle(count(DOUBLE), draw):
            paint_mitochondrion(canvas, mitochondrion, DOUBLE, MATRIX)
    wide = min(0.15 * across, 300.0)
    for vesicle in room.settle(
        count(VESICLE), partial(_blob, rng, extent, (wide / 2, wide), (0.85, 1.0))
    ):
        paint_vesicle(canvas, vesicle, VESICLE, LUMEN)
    for beads in room.settle(count(TUBE), partial(_microtubule, rng, extent)):
        canvas.add_beads(beads, TUBE)
    for beads in room.settle(count(ACTIN), partial(_actin, rng, extent)):
        canvas.add_beads(beads, ACTIN)
    centres = {}
    for label, make in COMPLEXES.items():
        beads = make()
        # Half of one at most lies beyond the field of view.
        margin = beads.radius / 2
        draw_one = partial(_pose, rng, extent, margin, Balls(*beads.balls()))
        poses = room.settle(count(label, margin), draw_one)
        for turn, centre in poses:
            canvas.add_beads(beads.placed(turn, centre), label)
        centres[label] = np.array([centre for _, centre in poses]).reshape(-1, 3)
    for label, part in CROWD.items():
        _crowd(canvas, rng, label, part)
    _cut(canvas, thickness)
    return {label: _inside(canvas, centres[label]) for label in sorted(centres)}


def _sheet(rng: np.random.Generator, extent: Array) -> Sheet:
    """A cell membrane near the face where y is 0."""
    size = min(60.0, 0.02 * extent[1])
    waves = [
        [rng.uniform(0.3, 1) * size, 2 * np.pi / rng.uniform(1500, 4000),
         2 * np.pi / rng.uniform(900, 3000), rng.uniform(0, 2 * np.pi)]
        for _ in range(3)
    ]  # fmt: skip
    return Sheet(float(rng.uniform(0.1, 0.16) * extent[1]), np.array(waves))


def _blob(
    rng: np.random.Generator, extent: Array, long: tuple[float, float], flat: tuple[float, float]
) -> tuple[Blob, Balls]:
    """An ellipsoid; ``long`` bounds its longest half axis, ``flat`` the others as parts of it."""
    axes = rng.uniform(*long) * np.array([1.0, *rng.uniform(*flat, 2)])
    blob = Blob(rng.uniform(0, extent), axes, _turn(rng), rng.uniform(0, 2 * np.pi, 3))
    return blob, Balls(*blob.balls())


def _microtubule(rng: np.random.Generator, extent: Array) -> tuple[Beads, Balls]:
    length = rng.uniform(0.5, 1.3) * float(extent[1:].max())
    return _filament(rng, extent, microtubule(length), length, stiff=50_000)


def _actin(rng: np.random.Generator, extent: Array) -> tuple[Beads, Balls]:
    length = rng.uniform(500, 2000)
    return _filament(rng, extent, actin(length), length, stiff=15_000)


def _filament(
    rng: np.random.Generator, extent: Array, straight: Beads, length: float, stiff: float
) -> tuple[Beads, Balls]:
    """A filament, bent a little; ``stiff`` is a common radius of curvature, in angstrom."""
    bow = rng.normal(0, length**2 / (8 * stiff))
    turn = _turn(rng)
    start = rng.uniform(0, extent) - turn[:, 0] * length / 2

    def bent(points: Array) -> Array:
        return np.asarray(points + np.sin(np.pi * points[:, :1] / length) * [0.0, bow, 0.0])

    radius = float((np.linalg.norm(straight.centres[:, 1:], axis=1) + straight.reaches).max())
    axis = np.arange(0, length + radius, radius)[:, None] * [1.0, 0.0, 0.0]
    beads = Beads(bent(straight.centres), straight.masses, straight.reaches)
    return beads.placed(turn, start), Balls(bent(axis), np.full(len(axis), radius)).placed(
        turn, start
    )


def _pose(
    rng: np.random.Generator, extent: Array, margin: float, balls: Balls
) -> tuple[tuple[Array, Array], Balls]:
    """How a complex is turned, and where its centre is, ``margin`` beyond the field at most."""
    turn, centre = random_turn(rng), rng.uniform(-margin, extent + margin)
    return (turn, centre), balls.placed(turn, centre)


def _turn(rng: np.random.Generator) -> Array:
    """A rotation that takes z near the slab's plane, along which cells are flat where thin."""
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.15)
    along = np.array([np.sin(tilt), np.cos(tilt) * np.sin(turn), np.cos(tilt) * np.cos(turn)])
    side = np.cross(along, rng.standard_normal(3))
    side /= np.linalg.norm(side)
    return np.column_stack([along, side, np.cross(along, side)])


def _crowd(canvas: Canvas, rng: np.random.Generator, label: int, part: float) -> None:
    """Fill a part of a class's volume with small proteins that touch neither each other nor more.

    A protein stays where its middle and the six points a radius away are of the class.
    """
    lumps = crowd()
    size = canvas.voxel_size
    space = np.flatnonzero(canvas.truth == label)
    mean = VOLUME * float(np.mean([beads.masses.sum() for beads in lumps]))
    count = int(part * space.size * size**3 / mean)
    if not count:
        return
    radii = np.array([beads.radius for beads in lumps])
    kinds = rng.integers(0, len(lumps), 3 * count)
    voxels = np.column_stack(np.unravel_index(rng.choice(space, 3 * count), canvas.truth.shape))
    centres = (voxels + rng.uniform(-0.5, 0.5, voxels.shape)) * size
    ends = centres[:, None] + radii[kinds][:, None, None] * np.concatenate([np.eye(3), -np.eye(3)])
    ends = np.rint(ends / size).astype(int).clip(0, np.array(canvas.truth.shape) - 1)
    fits = (canvas.truth[tuple(np.moveaxis(ends, -1, 0))] == label).all(axis=1)
    kept, wide = np.empty((count, 3)), np.empty(count)
    placed: list[Beads] = []
    for centre, kind in zip(centres[fits], kinds[fits], strict=True):
        found = len(placed)
        if found == count:
            break
        away = ((kept[:found] - centre) ** 2).sum(axis=1)
        if (away > (wide[:found] + radii[kind]) ** 2).all():
            kept[found], wide[found] = centre, radii[kind]
            placed.append(lumps[kind].placed(random_turn(rng), centre))
    if placed:
        canvas.add_beads(
            Beads(
                np.concatenate([beads.centres for beads in placed]),
                np.concatenate([beads.masses for beads in placed]),
                np.concatenate([beads.reaches for beads in placed]),
            )
        )


def _cut(canvas: Canvas, thickness: float) -> None:
    """Leave nothing beyond the faces of the slab."""
    z = (np.arange(canvas.truth.shape[0]) - (canvas.truth.shape[0] - 1) / 2) * canvas.voxel_size
    beyond = np.abs(z) > thickness / 2
    canvas.density[beyond] = 0
    canvas.truth[beyond] = OUTSIDE


def _inside(canvas: Canvas, centres: Array) -> Places:
    """The voxels of centres that lie in the field of view and in the slab."""
    voxels = np.rint(centres / canvas.voxel_size).astype(np.int64)
    voxels = voxels[((voxels >= 0) & (voxels < canvas.truth.shape)).all(axis=1)]
    return np.asarray(voxels[canvas.truth[tuple(voxels.T)] != OUTSIDE])
