"""Membranes and what they bound: the cell, vesicles, mitochondria with cristae.

Each has a field that is positive inside and, near its surface, about the distance to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.samples.canvas import BILAYER, Canvas

__all__ = ["Blob", "Sheet", "paint_cell", "paint_mitochondrion", "paint_vesicle"]

Array = npt.NDArray[np.float64]

# Of mitochondria, in angstrom: from the middle of the outer to that of the inner membrane, and
# from crista to crista; of a crista between the middles of its two membranes.
BETWEEN = 110.0
CRISTAE, CRISTA = 290.0, 120.0


@dataclass(frozen=True, eq=False)
class Sheet:
    """The cell membrane: waves on a plane across y; the cell lies where y is larger.

    Attributes
    ----------
    level : float
        Mean y in angstrom.
    waves : ndarray of float, shape (n, 4)
        Of each wave the height in angstrom, 2 pi / wavelength along z and x, and the phase.
    """

    level: float
    waves: Array

    def inside(self, z: Any, y: Any, x: Any) -> Any:
        """Distance inwards at points, in angstrom."""
        height, slope_z, slope_x = self.level, 0.0, 0.0
        for size, along_z, along_x, phase in self.waves:
            angle = along_z * z + along_x * x + phase
            height = height + size * np.sin(angle)
            slope_z = slope_z + size * along_z * np.cos(angle)
            slope_x = slope_x + size * along_x * np.cos(angle)
        return (y - height) / np.sqrt(1 + slope_z**2 + slope_x**2)


@dataclass(frozen=True, eq=False)
class Blob:
    """A bent ellipsoid.

    Attributes
    ----------
    centre : ndarray of float, shape (3,)
        Along (z, y, x), in angstrom.
    axes : ndarray of float, shape (3,)
        Half of its length along each of its own axes, the longest first.
    turn : ndarray of float, shape (3, 3)
        From its own axes to (z, y, x).
    phases : ndarray of float, shape (3,)
        Of the waves that bend it.
    """

    centre: Array
    axes: Array
    turn: Array
    phases: Array

    @property
    def bend(self) -> float:
        """How far its surface is moved at most along each axis, in angstrom."""
        return 0.08 * float(self.axes.min())

    def own(self, z: Any, y: Any, x: Any) -> list[Any]:
        """Points along its own axes, bent."""
        away = [p - c for p, c in zip((z, y, x), self.centre.tolist(), strict=True)]
        a, b, c = (
            sum(w * p for w, p in zip(row, away, strict=True)) for row in self.turn.T.tolist()
        )
        wave = np.pi / float(self.axes.mean())
        return [
            p + self.bend * np.sin(wave * q + phase)
            for p, q, phase in zip((a, b, c), (b, c, a), self.phases.tolist(), strict=True)
        ]

    def inside(self, z: Any, y: Any, x: Any) -> Any:
        """Distance inwards at points, in angstrom; good near the surface."""
        place = self.own(z, y, x)
        scaled = np.sqrt(sum((p / r) ** 2 for p, r in zip(place, self.axes.tolist(), strict=True)))
        slope = np.sqrt(
            sum((p / r**2) ** 2 for p, r in zip(place, self.axes.tolist(), strict=True))
        )
        return (1 - scaled) * scaled / np.maximum(slope, 1e-6)

    def balls(self) -> tuple[Array, Array]:
        """Balls along its longest axis that hold all of it, membrane and all: centres and radii."""
        long, wide = self.axes[0], self.axes[1:].max()
        along = np.linspace(-1, 1, 2 * int(np.ceil(long / 60)) + 1)
        radii = wide * np.sqrt(1 - along**2) + self.bend + BILAYER / 2
        return self.centre + long * along[:, None] * self.turn[:, 0], radii


def paint_cell(canvas: Canvas, sheet: Sheet, cytosol: int, membrane: int) -> None:
    """Paint the cell membrane; what lies beyond it is cytosol."""
    box = (slice(0, canvas.truth.shape[0]), slice(0, canvas.truth.shape[1]),
           slice(0, canvas.truth.shape[2]))  # fmt: skip
    depth = np.asarray(sheet.inside(*canvas.points(box)), np.float32)
    canvas.add_bilayer(box, depth)
    canvas.truth[depth > 0] = cytosol
    canvas.truth[np.abs(depth) <= BILAYER / 2] = membrane


def paint_vesicle(canvas: Canvas, blob: Blob, membrane: int, lumen: int) -> None:
    """Paint a membrane and, inside it, nothing."""
    box = canvas.box(blob.centre, blob.axes.max() + blob.bend + BILAYER)
    if box is None:
        return
    depth = canvas.distance(np.asarray(blob.inside(*canvas.points(box)), np.float32))
    canvas.add_bilayer(box, depth)
    canvas.truth[box][depth > -BILAYER / 2] = membrane
    canvas.truth[box][depth > BILAYER / 2] = lumen


def paint_mitochondrion(canvas: Canvas, blob: Blob, membranes: int, matrix: int) -> None:
    """Paint an outer membrane and an inner one, whose folds (cristae) reach in from both sides."""
    box = canvas.box(blob.centre, blob.axes.max() + blob.bend + BILAYER)
    if box is None:
        return
    points = canvas.points(box)
    outer = canvas.distance(np.asarray(blob.inside(*points), np.float32))
    long, across, _ = blob.own(*points)
    # Cristae stand across the longest axis, by turns on one side and on the other.
    number = np.rint(long / CRISTAE)
    side = np.where(number % 2 == 0, 1.0, -1.0)
    thick = CRISTA / 2 - np.abs(long - number * CRISTAE)
    reach = side * across + 0.35 * blob.axes[1]
    inner = np.minimum(outer - BETWEEN, -np.minimum(thick, reach))
    inner = canvas.distance(inner.astype(np.float32))
    canvas.add_bilayer(box, outer)
    canvas.add_bilayer(box, np.where(outer > BILAYER / 2, inner, np.float32(1e4)))
    canvas.truth[box][outer > -BILAYER / 2] = membranes
    canvas.truth[box][(inner > BILAYER / 2) & (outer > BETWEEN)] = matrix
