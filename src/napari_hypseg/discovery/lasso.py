"""A class of one's own: all voxels whose points lie inside a line drawn on the disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from skimage.draw import polygon

from napari_hypseg.discovery.cloud import Cloud
from napari_hypseg.discovery.projection import Projection
from napari_hypseg.discovery.translation import Translation
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents import Latents

__all__ = ["Lasso", "lasso_job"]

# Cells along a side of the polygon's bounding box; points this near its edge may go either way.
_CELLS = 2048


@dataclass(frozen=True)
class Lasso:
    """A polygon on what is seen of the disk.

    Parameters
    ----------
    outline : sequence of (float, float)
        Its corners where they are seen, in units of the disk's radius; it closes by itself.
    translation : Translation
        From where one looks.
    projection : Projection
        How latent points come to lie on the disk.
    """

    outline: Sequence[tuple[float, float]]
    translation: Translation
    projection: Projection

    def holds(self, places: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Whether places on the disk, shape (n, 2), lie inside."""
        mask, low, step = self._raster
        seen = self.translation.apply(places)
        cells = (seen - low.astype(seen.dtype)) / step.astype(seen.dtype)
        # The outermost cells of the mask are empty: what lies beyond goes there.
        index = np.clip(cells, 0, _CELLS - 1).astype(np.int32)
        inside: npt.NDArray[np.bool_] = mask[index[:, 1], index[:, 0]]
        return inside

    @cached_property
    def _raster(
        self,
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The polygon's cells, the lower corner of the first, and the size of each."""
        corners = np.array(self.outline, float)
        low, high = corners.min(0), corners.max(0)
        step = np.maximum(high - low, 1e-12) / (_CELLS - 4)
        low = low - 2 * step
        # Cell centres decide.
        column, row = ((corners - low) / step - 0.5).T
        mask = np.zeros((_CELLS, _CELLS), bool)
        mask[polygon(row, column, mask.shape)] = True  # type: ignore[no-untyped-call]
        return mask, low, step


def lasso_job(latents: Latents, cloud: Cloud, lasso: Lasso) -> Job[npt.NDArray[np.bool_]]:
    """The voxels whose points lie inside a lasso, as a job; shape (z, y, x).

    Parameters
    ----------
    latents : Latents
        The points of all voxels.
    cloud : Cloud
        Of these latents: where it holds all points, nothing has to be read.
    lasso : Lasso
    """
    total = math.prod(latents.shape)
    inside = np.zeros(latents.shape, bool)
    yield Progress("lasso", 0, total)
    if len(cloud.points) == total:
        inside.ravel()[cloud.voxels] = lasso.holds(lasso.projection.apply(cloud.points))
        return inside
    done = 0
    for box in latents.chunk_boxes():
        points = latents.read(box).reshape(-1, latents.dim)
        held = lasso.holds(lasso.projection.apply(points))
        inside[box] = held.reshape(inside[box].shape)
        done += len(points)
        yield Progress("lasso", done, total)
    return inside
