"""Proteins as beads: complexes, a crowd of small ones, and the lattices of filaments.

Sizes and masses are those of life, shapes only alike: no bead is an atom of a known structure. A
copy of a molecule is always the same but for how it is turned.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = [
    "VOLUME",
    "Beads",
    "actin",
    "crowd",
    "microtubule",
    "proteasome",
    "random_turn",
    "ribosome",
    "tric",
]

Array = npt.NDArray[np.float64]

# Cubic angstrom of a kilodalton of protein, at 1.37 g / cm^3.
VOLUME = 1212.0
# RNA is denser than protein: a kilodalton differs more from ice. Half of a ribosome is RNA.
RNA = 1.4
# How far a bead's outline lies beyond the ball of its mass, in angstrom.
SKIN = 4.0


@dataclass(frozen=True, eq=False)
class Beads:
    """Balls of protein.

    Attributes
    ----------
    centres : ndarray of float, shape (n, 3)
        Along (z, y, x), in angstrom.
    masses : ndarray of float, shape (n,)
        In kilodaltons; what has no mass counts as a part of the shape only, like the room inside
        a barrel.
    reaches : ndarray of float, shape (n,)
        How far the shape goes from each centre, in angstrom.
    """

    centres: Array
    masses: Array
    reaches: Array

    @property
    def radius(self) -> float:
        """Of the ball about the origin that holds all, in angstrom."""
        return float((np.linalg.norm(self.centres, axis=1) + self.reaches).max())

    def balls(self) -> tuple[Array, Array]:
        """Centres and radii of a few balls, one after the other along z, that hold all."""
        layer = np.rint(self.centres[:, 0] / 60)
        parts = [layer == number for number in np.unique(layer)]
        centres = np.array([self.centres[part].mean(axis=0) for part in parts])
        radii = [
            (np.linalg.norm(self.centres[part] - centre, axis=1) + self.reaches[part]).max()
            for part, centre in zip(parts, centres, strict=True)
        ]
        return centres, np.array(radii)

    def placed(self, turn: Array, centre: npt.ArrayLike) -> Beads:
        """The same, turned by a matrix, with its origin in another place."""
        return Beads(self.centres @ turn.T + np.asarray(centre), self.masses, self.reaches)


def random_turn(rng: np.random.Generator) -> Array:
    """A rotation, all alike likely, as a matrix of shape (3, 3)."""
    w, x, y, z = (q := rng.standard_normal(4)) / np.linalg.norm(q)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


@cache
def ribosome() -> Beads:
    """Two unequal lobes, 2.0 and 1.2 megadaltons, 25 nm long together.

    Its origin is the bead nearest to the centre of mass.
    """
    rng = np.random.default_rng(80)
    lobes = [
        _filled(rng, np.array([80.0, 110.0, 95.0]), 2000.0),
        _filled(rng, np.array([48.0, 60.0, 100.0]), 1200.0),
    ]
    centres = np.concatenate([lobes[0][0], lobes[1][0] + [120.0, 0.0, 10.0]])
    masses = np.concatenate([lobes[0][1], lobes[1][1]])
    middle = np.average(centres, axis=0, weights=masses)
    centres -= centres[np.linalg.norm(centres - middle, axis=1).argmin()]
    return _beads(centres, masses, contrast=RNA, skin=2 * SKIN)


@cache
def proteasome() -> Beads:
    """A barrel of four rings of seven along z, and a lopsided cap at either end (26S).

    The channel counts as a part of it.
    """
    barrel = np.concatenate([_ring(7, 42.0, z, z / 40) for z in (-60.0, -20.0, 20.0, 60.0)])
    rng = np.random.default_rng(26)
    lid = rng.normal([155.0, 30.0, 0.0], [22.0, 28.0, 40.0], (11, 3))
    cap = np.concatenate([_ring(6, 40.0, 105.0, 0.0), lid])
    # The second cap is the first one turned half about x.
    shell = _beads(
        np.concatenate([barrel, cap, cap * [-1.0, -1.0, 1.0]]),
        np.concatenate([np.full(28, 25.0), np.full(2 * len(cap), 45.0)]),
        skin=2 * SKIN,
    )
    return _with_core(shell, np.linspace(-100, 100, 11)[:, None] * [1.0, 0.0, 0.0], 30.0)


@cache
def tric() -> Beads:
    """A hollow ball of two rings of eight subunits, 16 nm wide; the room inside is a part of it."""
    rings = [
        (_ring(8, radius, side * z, side * 0.2), np.full(8, mass))
        for side in (-1, 1)
        for radius, z, mass in ((58.0, 22.0, 34.0), (48.0, 58.0, 26.0))
    ]
    centres = np.concatenate([places for places, _ in rings])
    shell = _beads(centres, np.concatenate([masses for _, masses in rings]), skin=2 * SKIN)
    return _with_core(shell, np.array([[-25.0, 0, 0], [0, 0, 0], [25.0, 0, 0]]), 45.0)


@cache
def crowd() -> tuple[Beads, ...]:
    """Twelve lumps of 30 to 500 kilodaltons that stand for all the other proteins of a cell."""
    rng = np.random.default_rng(12)
    lumps = []
    for mass in np.geomspace(30, 500, 12):
        count = int(np.ceil(mass / 35))
        # As loose as proteins are: a third of the ball about them is filled.
        radius = np.cbrt(3 / (4 * np.pi) * VOLUME * mass / 0.35)
        centres = rng.standard_normal((count, 3))
        centres *= (radius * np.cbrt(rng.random(count)) / np.linalg.norm(centres, axis=1))[:, None]
        lumps.append(_beads(centres - centres.mean(axis=0), np.full(count, mass / count)))
    return tuple(lumps)


def microtubule(length: float) -> Beads:
    """Thirteen protofilaments of tubulin about the z axis: 4 nm a monomer, a helix of three starts.

    The lumen counts as a part of it.

    Parameters
    ----------
    length : float
        In angstrom, from 0 upwards.
    """
    strand = np.repeat(np.arange(13), int(length // 40))
    monomer = np.tile(np.arange(int(length // 40)), 13)
    z = 40 * monomer + strand * (3 * 40 / 13)
    turn = strand * (2 * np.pi / 13)
    shell = _beads(
        np.column_stack([z, 105 * np.sin(turn), 105 * np.cos(turn)]), np.full(len(z), 50.0)
    )
    inside = np.arange(0, length, 40)[:, None] * [1.0, 0.0, 0.0]
    return _with_core(shell, inside, 110.0)


def actin(length: float) -> Beads:
    """Actin about the z axis: a subunit every 2.75 nm, turned by -166.7 degrees from the last.

    Parameters
    ----------
    length : float
        In angstrom, from 0 upwards.
    """
    subunit = np.arange(int(length // 27.5))
    turn = np.radians(-166.7) * subunit
    centres = np.column_stack([27.5 * subunit, 16 * np.sin(turn), 16 * np.cos(turn)])
    return _beads(centres, np.full(len(subunit), 42.0))


def _beads(centres: Array, masses: Array, *, contrast: float = 1.0, skin: float = SKIN) -> Beads:
    reaches = np.cbrt(3 / (4 * np.pi) * VOLUME * masses) + skin
    return Beads(centres, masses * contrast, reaches)


def _with_core(shell: Beads, centres: Array, reach: float) -> Beads:
    """A shell and the room inside it."""
    return Beads(
        np.concatenate([shell.centres, centres]),
        np.concatenate([shell.masses, np.zeros(len(centres))]),
        np.concatenate([shell.reaches, np.full(len(centres), reach)]),
    )


def _ring(count: int, radius: float, z: float, turn: float) -> Array:
    """Places on a circle about the z axis."""
    angle = 2 * np.pi * (np.arange(count) + turn) / count
    return np.column_stack([np.full(count, z), radius * np.sin(angle), radius * np.cos(angle)])


def _filled(rng: np.random.Generator, axes: Array, mass: float) -> tuple[Array, Array]:
    """Beads of uneven masses on a crystal's places, moved a little, inside an ellipsoid."""
    spacing = 28.0
    places = (np.indices((9, 9, 9)).reshape(3, -1).T - 4.0) * spacing
    places = places[np.linalg.norm(places / axes, axis=1) < 1]
    weights = rng.uniform(0.5, 1.5, len(places))
    return places + rng.normal(0, 4, places.shape), mass * weights / weights.sum()
