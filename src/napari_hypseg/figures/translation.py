"""Looking at the Poincaré disk from another of its points: the Moebius translation of a drag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Translation"]

# Centres farther out than this, in units of the disk's radius, could not be told from the rim.
_FARTHEST = 0.9999


@dataclass(frozen=True)
class Translation:
    """The isometry that brings a point of the disk to its centre; in the plane, a plain shift.

    Places are in units of the disk's radius. A translation is all of its state: however a person
    has dragged, the picture never turns, and dragging back gives the picture before.

    Parameters
    ----------
    centre : tuple of float
        The place that is seen at the centre.
    curved : bool
        Whether the places lie in the unit disk, or in a Euclidean plane.

    Examples
    --------
    >>> view = Translation((0.5, 0.0))
    >>> view.apply([[0.5, 0.0], [0.8, 0.0]]).round(6).tolist()
    [[0.0, 0.0], [0.5, 0.0]]
    """

    centre: tuple[float, float] = (0.0, 0.0)
    curved: bool = True

    def apply(self, places: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Where places are seen, ``(-centre) + place`` with the Moebius sum, shape (..., 2)."""
        return self._moved(places, -1.0)

    def undo(self, seen: npt.ArrayLike) -> npt.NDArray[np.floating]:
        """Which places are seen at some; inverse of `apply`, shape (..., 2)."""
        return self._moved(seen, 1.0)

    def dragged(self, start: npt.ArrayLike, end: npt.ArrayLike) -> Translation:
        """The translation after which what was seen at ``start`` is seen at ``end``.

        Notes
        -----
        The centre is the Moebius coaddition ``x - end`` of the grabbed place x, the one solution
        of ``centre + end = x``.

        References
        ----------
        Ungar, "Analytic hyperbolic geometry and Albert Einstein's special theory of relativity",
        2008, sections 2.3 and 3.5.
        """
        x, y = np.asarray(self.undo(start), float), np.asarray(end, float)
        if not self.curved:
            centre = x - y
        else:
            x2, y2 = x @ x, y @ y
            centre = ((1 - y2) * x - (1 - x2) * y) / (1 - x2 * y2)
            centre *= min(1.0, _FARTHEST / max(float(np.hypot(*centre)), _FARTHEST))
        return Translation((float(centre[0]), float(centre[1])), self.curved)

    def _moved(self, places: npt.ArrayLike, sign: float) -> npt.NDArray[np.floating]:
        given = np.asarray(places)
        dtype = given.dtype if given.dtype.kind == "f" else np.dtype(float)
        x, y = given[..., 0].astype(dtype), given[..., 1].astype(dtype)
        a, b = (dtype.type(sign * v) for v in self.centre)
        if not self.curved:
            return np.stack([x + a, y + b], axis=-1)
        # (z + a) / (1 + conj(a) z), in complex numbers: half the work of the sum on vectors.
        top = np.empty(x.shape, np.result_type(dtype, np.complex64))
        top.real, top.imag = x + a, y + b
        below = np.empty_like(top)
        below.real, below.imag = 1 + a * x + b * y, a * y - b * x
        top /= below
        return np.stack([top.real, top.imag], axis=-1)
