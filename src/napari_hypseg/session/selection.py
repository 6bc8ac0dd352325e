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

# Voxels that light up at a click: a share of all, within bounds.
_SHARE, _FEWEST, _MANY = 0.002, 200, 5000
# Voxels that are lit at most: of more within the radius a fair sample.
_MOST = 20_000


class Selection:
    """What is picked, on the disk or in the volume.

    Views call `pick_point`, `pick_voxel`, `widen` or `clear` when a person does something, and
    draw what is picked when ``changed`` says so. They never pick in answer to ``changed``: so
    nothing goes in circles.

    Attributes
    ----------
    changed : psygnal.Signal
        Emitted once for each pick or other radius, when everything below is settled.
    changed_by : {"disk", "volume", "radius"} or None
        Where the person clicked, or that the radius is another; None while nothing is picked.
    point : array, shape (d,), or None
        The picked point of the latent space.
    voxel : tuple of int or None
        The voxel (z, y, x) of the latents' lattice: the one clicked, or the nearest to the point.
    radius : float
        Distance from the point within which voxels are lit; at a click the one that takes in
        some hundreds or thousands. NaN while nothing is picked.
    farthest : float
        Distance from the point to the farthest of all.
    count : int
        Points of the cloud within the radius.
    voxels : array of int64, shape (n, 3)
        Their voxels, or those of a fair sample of 20,000 of them.
    points : array of float32, shape (n, d)
        The latent points of these voxels.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._source: Callable[[], Cloud] | None = None
        self.changed_by: Literal["disk", "volume", "radius"] | None
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
        self._take("disk", np.array(point, np.float32), None)

    def pick_voxel(self, voxel: Sequence[int], point: npt.ArrayLike) -> None:
        """Pick a voxel (z, y, x) of the lattice, and its latent point."""
        z, y, x = (int(v) for v in voxel)
        self._take("volume", np.asarray(point, np.float32), (z, y, x))

    def widen(self, radius: float) -> None:
        """Light up all voxels whose latent points lie within a distance of the picked one.

        Raises
        ------
        ValueError
            If the radius is below 0.
        """
        cloud = self._cloud
        if cloud is not None and self.point is not None:
            self._light(cloud, cloud.within(self.point, radius), radius)
            self.changed_by = "radius"
            self.changed.emit()

    def _take(
        self,
        where: Literal["disk", "volume"],
        point: npt.NDArray[np.float32],
        voxel: tuple[int, int, int] | None,
    ) -> None:
        cloud = self._cloud
        if cloud is None:
            return
        count = round(min(_MANY, max(_FEWEST, _SHARE * len(cloud.points))))
        nearest = cloud.nearest(point, count)
        self.farthest = cloud.distance(point, cloud.farthest(point))
        self._light(cloud, nearest, cloud.distance(point, int(nearest[-1])))
        z, y, x = voxel or self.voxels[0].tolist()
        self.changed_by, self.point, self.voxel = where, point, (z, y, x)
        self.changed.emit()

    def _light(self, cloud: Cloud, found: npt.NDArray[np.int64], radius: float) -> None:
        self.radius, self.count = radius, len(found)
        # In the cloud's order, which is random, the first are a fair sample.
        found = found[:_MOST]
        self.voxels, self.points = cloud.positions(found), cloud.points[found]

    def _forget(self) -> None:
        self.changed_by = self.point = self.voxel = None
        self.radius, self.farthest, self.count = math.nan, math.nan, 0
        self.voxels, self.points = np.empty((0, 3), np.int64), np.empty((0, 2), np.float32)
