"""Where in a cell there is room: what is taken is the space beyond its membrane, and balls."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from napari_hypseg.samples.canvas import BILAYER
from napari_hypseg.samples.organelles import Sheet

__all__ = ["Balls", "Room"]

Array = npt.NDArray[np.float64]
T = TypeVar("T")

TRIES = 100
# Smallest distance between two things, in angstrom.
GAP = 10.0


class Balls(NamedTuple):
    """Balls that hold a thing: centres, shape (n, 3), and radii, in angstrom."""

    centres: Array
    radii: Array

    def placed(self, turn: Array, centre: Array) -> Balls:
        """The same, turned by a matrix, with their origin in another place."""
        return Balls(self.centres @ turn.T + centre, self.radii)


class Room:
    """The free space of a cell.

    Parameters
    ----------
    sheet : Sheet
        The cell's membrane.
    """

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet
        self._taken = Balls(np.empty((0, 3)), np.empty(0))

    def take(self, balls: Balls) -> bool:
        """Take balls if all of them are free; says whether they were."""
        centres, radii = balls
        deep = self._sheet.inside(*centres.T) - BILAYER / 2
        if (deep < radii + GAP).any():
            return False
        away = np.linalg.norm(centres[:, None] - self._taken.centres, axis=-1)
        if (away < radii[:, None] + self._taken.radii + GAP).any():
            return False
        self._taken = Balls(
            np.concatenate([self._taken.centres, centres]),
            np.concatenate([self._taken.radii, radii]),
        )
        return True

    def settle(self, count: int, draw: Callable[[], tuple[T, Balls]]) -> list[T]:
        """Up to ``count`` things, each drawn again until it finds room, a hundred times at most."""
        settled = []
        for _ in range(count):
            for _ in range(TRIES):
                thing, balls = draw()
                if self.take(balls):
                    settled.append(thing)
                    break
        return settled
