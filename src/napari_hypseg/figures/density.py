"""How densely points lie on the disk: a histogram that grows with what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Density"]

_CELLS = 1024
# Of an empty histogram.
_LEAST = 1e-6


@dataclass
class Density:
    """Number of points in each cell of a square around the centre.

    Attributes
    ----------
    counts : array of int64, shape (1024, 1024)
        The second coordinate along rows.
    reach : float
        Half the square's side; every point given lies inside. Once points lie farther out it
        doubles, and four cells become one: so one pass over the points is enough.
    """

    counts: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((_CELLS, _CELLS), np.int64)
    )
    reach: float = _LEAST

    def add(self, places: npt.NDArray[np.floating]) -> None:
        """Count places, shape (n, 2)."""
        if not len(places):
            return
        farthest = float(abs(places).max())
        if not self.counts.any():
            self.reach = max(farthest, _LEAST)
        while self.reach < farthest:
            half = _CELLS // 2
            inner = self.counts.reshape(half, 2, half, 2).sum((1, 3))
            self.counts = np.pad(inner, half // 2)
            self.reach *= 2
        self.counts += np.bincount(self.cells(places), minlength=_CELLS**2).reshape(_CELLS, _CELLS)

    def cells(self, places: npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
        """Index of each place's cell in the flattened ``counts``, shape (n,)."""
        step = places.dtype.type(_CELLS / (2 * self.reach))
        index = ((places + places.dtype.type(self.reach)) * step).astype(np.int32)
        np.clip(index, 0, _CELLS - 1, out=index)
        found: npt.NDArray[np.int32] = index[:, 1] * np.int32(_CELLS) + index[:, 0]
        return found
