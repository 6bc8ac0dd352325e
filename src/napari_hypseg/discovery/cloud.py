"""The latent points of all voxels at hand: which voxels lie near a point, how dense they lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress

if TYPE_CHECKING:
    from napari_hypseg.latents import Latents

__all__ = ["Cloud", "cloud_job"]

# Points kept at most, all of which are compared at each pick; of more voxels a random sample.
_MOST = 1 << 21
# Cells along a side of the density.
_CELLS = 512


@dataclass(frozen=True, eq=False)
class Cloud:
    """Latent points and where they come from, in random order.

    Attributes
    ----------
    points : array of float32, shape (n, d)
        Points of all voxels, or of a seeded random sample of 2 million.
    voxels : array of int64, shape (n,)
        Flat index of each point's voxel in ``shape``.
    shape : tuple of int
        Of the voxels' lattice, (z, y, x).
    curvature : float or None
        The ball has curvature ``-curvature``; None for a Euclidean space.
    density : array of float32, shape (512, 512)
        Points in each cell of the first two latent dimensions, the second along rows; the cells
        cover ``[-reach, reach]``.
    reach : float
        Largest coordinate of a point in these dimensions.
    """

    points: npt.NDArray[np.float32]
    voxels: npt.NDArray[np.int64]
    shape: tuple[int, int, int]
    curvature: float | None
    density: npt.NDArray[np.float32]
    reach: float

    @cached_property
    def _gaps(self) -> npt.NDArray[np.float32] | None:
        """``1 - c |x|^2`` of each point; None in a Euclidean space."""
        if self.curvature is None:
            return None
        gaps = 1 - np.float32(self.curvature) * np.square(self.points).sum(1)
        floored: npt.NDArray[np.float32] = np.maximum(gaps, np.finfo(np.float32).tiny)
        return floored

    def nearest(self, point: npt.ArrayLike, count: int) -> npt.NDArray[np.int64]:
        """Indices of the points nearest to one, the nearest first.

        Parameters
        ----------
        point : array, shape (d,)
            Within the ball.
        count : int
            How many; fewer if there are fewer points.

        Notes
        -----
        cosh of the distance grows with ``|x - p|^2 / ((1 - c |x|^2) (1 - c |p|^2))``, and its
        last factor is the same for all x: this ratio is compared (Nickel and Kiela 2017,
        equation 1).
        """
        score = self._squares(np.asarray(point, np.float32))
        if self._gaps is not None:
            score /= self._gaps
        count = min(count, len(score))
        found = np.argpartition(score, count - 1)[:count]
        return found[np.argsort(score[found], kind="stable")]

    def seen_at(self, x: float, y: float) -> int:
        """Index of the point that is seen nearest to a place of a drawing of two dimensions."""
        return int(self._squares(np.array([x, y], np.float32)).argmin())

    def _squares(self, target: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Squared differences in the first dimensions, as many as the target has."""
        squares = np.zeros(len(self.points), np.float32)
        for axis, value in enumerate(target):
            squares += np.square(self.points[:, axis] - value)
        return squares

    def positions(self, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Positions (z, y, x) in the lattice of points, shape (n, 3)."""
        return np.stack(np.unravel_index(self.voxels[np.asarray(indices)], self.shape), axis=1)


def cloud_job(latents: Latents) -> Job[Cloud]:
    """Gather the latent points, as a job.

    Parameters
    ----------
    latents : Latents
        The points on their lattice.

    Examples
    --------
    >>> from napari_hypseg.jobs import finish
    >>> from napari_hypseg.latents import open_latents
    >>> where = {"voxel_size": (1, 1, 1), "origin": (0, 0, 0), "name": "a"}
    >>> space = {"geometry": "hyperbolic", "curvature": 1.0}
    >>> latents = open_latents(None, (1, 2, 3, 2), {**where, **space})
    >>> latents.array[:] = np.linspace(-0.5, 0.5, 12).reshape(1, 2, 3, 2)
    >>> cloud = finish(cloud_job(latents))
    >>> cloud.positions(cloud.nearest((0.5, 0.5), 2)).tolist()
    [[0, 1, 2], [0, 1, 1]]
    """
    rng = np.random.default_rng(0)
    total = math.prod(latents.shape)
    share = min(1.0, _MOST / total)
    flat = np.arange(total).reshape(latents.shape) if share == 1 else None
    points, voxels = [], []
    done = 0
    for box in latents.chunk_boxes():
        yield Progress("gathering points", done, total)
        part = latents.read(box).reshape(-1, latents.dim)
        kept = np.arange(len(part))
        if share < 1:
            kept = rng.permutation(len(part))[: max(1, int(share * len(part)))]
        points.append(part[kept])
        if flat is not None:
            voxels.append(flat[box].ravel())
        else:
            inside = np.unravel_index(kept, tuple(s.stop - s.start for s in box))
            place = tuple(i + s.start for i, s in zip(inside, box, strict=True))
            voxels.append(np.ravel_multi_index(place, latents.shape))
        done += len(part)
    yield Progress("gathering points", done, total)
    # Random order: the first of them are a fair sample.
    order = rng.permutation(sum(map(len, points)))
    every = np.concatenate(points)[order]
    reach = max(float(abs(every[:, :2]).max()), 1e-6)
    density, _, _ = np.histogram2d(
        every[:, 1], every[:, 0], _CELLS, range=[[-reach, reach], [-reach, reach]]
    )
    curvature = latents.curvature if latents.geometry == "hyperbolic" else None
    return Cloud(
        every, np.concatenate(voxels)[order], latents.shape, curvature,
        density.astype(np.float32), reach,
    )  # fmt: skip
