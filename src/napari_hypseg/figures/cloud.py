"""The latent points of all voxels at hand: where they lie on the disk, which lie near a point."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.figures.density import Density
from napari_hypseg.figures.projection import Projection, coordinates, principal_plane
from napari_hypseg.figures.voxels import scores
from napari_hypseg.geometry import distance
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.near import reach

if TYPE_CHECKING:
    from napari_hypseg.latents import Latents

__all__ = ["STEPS", "Cloud", "cloud_job"]

#: Steps across the disk in which `Cloud.lattice` tells places.
STEPS = 1 << 16

# Points kept at most, all of which are compared at each pick; of more voxels a random sample.
_MOST = 1 << 21
# Points that tell how low the lowest scores of all are.
_FIRST = 1 << 15


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
    projection : Projection
        How the points are seen on the disk.
    density : Density
        How densely they lie there: the points of all voxels with two latent dimensions, those of
        the sample with more.
    lattice : array of uint32, or None
        Place of every voxel on the disk, shape ``shape``: x in the upper 16 bits, y in the lower
        ones, in `STEPS` steps from -1 to 1. Only where the latent space is the disk itself.
    """

    points: npt.NDArray[np.float32]
    voxels: npt.NDArray[np.int64]
    shape: tuple[int, int, int]
    curvature: float | None
    projection: Projection
    density: Density
    lattice: npt.NDArray[np.uint32] | None = None
    _blanks: list[npt.NDArray[np.bool_]] = field(default_factory=list, init=False, repr=False)

    @cached_property
    def places(self) -> npt.NDArray[np.float32]:
        """Places of the points on the disk, in units of its radius, shape (n, 2)."""
        return np.ascontiguousarray(self.projection.apply(self.points), np.float32)

    @cached_property
    def _gaps(self) -> npt.NDArray[np.float32]:
        return _gaps(self.points, self.curvature or 0.0)

    @cached_property
    def _gaps_seen(self) -> npt.NDArray[np.float32]:
        return _gaps(self.places, 0.0 if self.curvature is None else 1.0)

    def seen_in(self, projection: Projection) -> Cloud:
        """The same points on another disk."""
        density = Density()
        other = replace(self, projection=projection, density=density, lattice=None)
        density.add(other.places)
        return other

    def blank(self) -> npt.NDArray[np.bool_]:
        """An array for a mask of all voxels, whatever is in it; at once after `prepare`."""
        return self._blanks.pop() if self._blanks else np.empty(self.shape, np.bool_)

    def prepare(self) -> None:
        """Have the next `blank` at hand: a person would wait up to a tenth of a second for it."""
        if self.lattice is not None and not self._blanks:
            blank = np.empty(self.shape, np.bool_)
            # Only what is written to is given memory.
            blank.fill(False)
            self._blanks.append(blank)

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
        score = scores(self.points, self._gaps, point)
        count = min(count, len(score))
        found = _candidates(score, count)
        found = found[np.argpartition(score[found], count - 1)[:count]]
        ordered: npt.NDArray[np.int64] = found[np.argsort(score[found], kind="stable")]
        return ordered

    def within(self, point: npt.ArrayLike, radius: float) -> npt.NDArray[np.int64]:
        """Indices of the points within a distance of one, in the cloud's random order."""
        score = scores(self.points, self._gaps, point)
        return np.flatnonzero(score <= reach(point, radius, self.curvature))

    def farthest(self, point: npt.ArrayLike) -> int:
        """Index of the point farthest from one."""
        return int(scores(self.points, self._gaps, point).argmax())

    def distance(self, point: npt.ArrayLike, index: int) -> float:
        """Distance, hyperbolic or Euclidean, from a point to one of the cloud."""
        one, other = (
            torch.from_numpy(np.asarray(p, np.float64)) for p in (point, self.points[index])
        )
        if self.curvature is None:
            return float((one - other).norm())
        return float(distance(one, other, self.curvature))

    def seen_at(self, place: npt.ArrayLike) -> int:
        """Index of the point that is seen nearest to a place on the disk."""
        return int(scores(self.places, self._gaps_seen, place).argmin())

    def point_at(self, place: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The latent point at a place on the disk; with more dimensions, the nearest one seen."""
        if self.projection.is_exact:
            return self.projection.latent(place)
        seen: npt.NDArray[np.float32] = self.points[self.seen_at(place)]
        return seen

    def positions(self, indices: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Positions (z, y, x) in the lattice of points, shape (n, 3)."""
        return np.stack(np.unravel_index(self.voxels[np.asarray(indices)], self.shape), axis=1)


def _gaps(points: npt.NDArray[np.float32], curvature: float) -> npt.NDArray[np.float32]:
    """``1 - c |x|^2`` of each point."""
    gaps = 1 - np.float32(curvature) * np.square(points).sum(1)
    floored: npt.NDArray[np.float32] = np.maximum(gaps, np.finfo(np.float32).tiny)
    return floored


def _candidates(score: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Indices among which are those of so many lowest scores; few others, if their order is random.

    The first scores tell how low twice as many are, so that most need not be sorted.
    """
    first = score[:_FIRST]
    rank = 2 * count * len(first) // len(score)
    if rank < len(first):
        found = np.flatnonzero(score <= np.partition(first, rank)[rank])
        if len(found) >= count:
            return found
    return np.arange(len(score))


def _packed(places: npt.NDArray[np.floating]) -> npt.NDArray[np.uint32]:
    """Places as `Cloud.lattice` has them, shape (n, 2) to (n,)."""
    steps = ((places + 1) * (STEPS / 2)).clip(0, STEPS - 1).astype(np.uint32)
    packed: npt.NDArray[np.uint32] = (steps[:, 0] << np.uint32(16)) | steps[:, 1]
    return packed


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
    curvature = latents.curvature if latents.geometry == "hyperbolic" else None
    first_two = coordinates(latents.dim, 0, 1, curvature)
    density = Density()
    lattice = None
    if latents.dim == 2 and curvature is not None:
        lattice = np.empty(latents.shape, np.uint32)
    done = 0
    for box in latents.chunk_boxes():
        yield Progress("gathering points", done, total)
        part = latents.read(box).reshape(-1, latents.dim)
        if latents.dim == 2:
            places = first_two.apply(part)
            density.add(places)
            if lattice is not None:
                lattice[box] = _packed(places).reshape(lattice[box].shape)
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
    cloud = Cloud(
        np.concatenate(points)[order], np.concatenate(voxels)[order], latents.shape, curvature,
        first_two, density, lattice,
    )  # fmt: skip
    return cloud if latents.dim == 2 else cloud.seen_in(principal_plane(cloud.points, curvature))
