"""The `Selection`: one picked point of the disk and its voxels, the only link between the views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_hypseg.figures.cloud import Cloud

__all__ = ["Selection"]

# Voxels that light up: a share of all, within bounds.
_SHARE, _FEWEST, _MOST = 0.002, 200, 5000


class Selection:
    """What is picked, on the disk or in the volume.

    Views call `pick_point`, `pick_voxel` or `clear` when a person clicks, and draw what is picked
    when ``changed`` says so. They never pick in answer to ``changed``: so nothing goes in circles.

    Attributes
    ----------
    changed : psygnal.Signal
        Emitted once for each pick, when everything below is settled.
    picked_in : {"disk", "volume"} or None
        Where the person clicked; None while nothing is picked.
    point : array, shape (d,), or None
        The picked point of the latent space.
    voxel : tuple of int or None
        The voxel (z, y, x) of the latents' lattice: the one clicked, or the nearest to the point.
    voxels : array of int64, shape (n, 3)
        The voxels with the latent points nearest to the picked one, the nearest first.
    points : array of float32, shape (n, d)
        Their latent points.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._source: Callable[[], Cloud] | None = None
        self.picked_in: Literal["disk", "volume"] | None
        self.point: npt.NDArray[np.float32] | None
        self.voxel: tuple[int, int, int] | None
        self.voxels: npt.NDArray[np.int64]
        self.points: npt.NDArray[np.float32]
        self._forget()

    @property
    def distance(self) -> float:
        """From the picked point to the centre; large where the network is certain.

        Hyperbolic, or Euclidean in a Euclidean space; NaN while nothing is picked.
        """
        cloud = self._cloud
        if self.point is None or cloud is None:
            return math.nan
        # Not above: it brings PyTorch and Numba, for which an opening dock would wait.
        from napari_hypseg.latents.maps import distance_to_centre

        return float(distance_to_centre(self.point, cloud.curvature))

    @property
    def _cloud(self) -> Cloud | None:
        return None if self._source is None else self._source()

    def reset(self, source: Callable[[], Cloud] | None) -> None:
        """Take other latent points; what was picked among the old ones is forgotten.

        Parameters
        ----------
        source : callable, optional
            Gives them: nothing is gathered before something is picked.
        """
        self._source = source
        self.clear()

    def clear(self) -> None:
        """Pick nothing any more."""
        self._forget()
        self.changed.emit()

    def pick_point(self, *point: float) -> None:
        """Pick a point of the latent space by its d coordinates."""
        if self._cloud is not None:
            self._take("disk", np.array(point, np.float32), None)

    def pick_voxel(self, voxel: Sequence[int], point: npt.ArrayLike) -> None:
        """Pick a voxel (z, y, x) of the lattice, and its latent point."""
        if self._cloud is None:
            return
        z, y, x = (int(v) for v in voxel)
        self._take("volume", np.asarray(point, np.float32), (z, y, x))

    def _take(
        self,
        picked_in: Literal["disk", "volume"],
        point: npt.NDArray[np.float32],
        voxel: tuple[int, int, int] | None,
    ) -> None:
        cloud = self._cloud
        assert cloud is not None  # noqa: S101
        count = round(min(_MOST, max(_FEWEST, _SHARE * len(cloud.points))))
        nearest = cloud.nearest(point, count)
        self.voxels, self.points = cloud.positions(nearest), cloud.points[nearest]
        z, y, x = voxel or self.voxels[0].tolist()
        self.picked_in, self.point, self.voxel = picked_in, point, (z, y, x)
        self.changed.emit()

    def _forget(self) -> None:
        self.picked_in = self.point = self.voxel = None
        self.voxels, self.points = np.empty((0, 3), np.int64), np.empty((0, 2), np.float32)
