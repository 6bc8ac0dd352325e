"""A class of one's own: all voxels whose points lie inside a line drawn on the disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from napari_hypseg.figures.cloud import STEPS, Cloud
from napari_hypseg.figures.projection import Projection
from napari_hypseg.figures.translation import Translation
from napari_hypseg.figures.voxels import inside
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents import Latents

__all__ = ["Lasso", "lasso_job"]

# Cells along a side of the polygon's bounding box; points this near its edge may go either way.
_CELLS = 1024
# Parts of the polygon's outline: a translation bends its sides.
_PARTS = 1024


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
        mask, low, step = self._filling
        cells = (places - low.astype(places.dtype)) / places.dtype.type(step)
        # The outermost cells of the drawing are empty: what lies beyond goes there.
        index = np.clip(cells, 0, _CELLS - 1).astype(np.int32)
        held: npt.NDArray[np.bool_] = mask[index[:, 0], index[:, 1]] > 0
        return held

    def voxels(self, cloud: Cloud) -> npt.NDArray[np.bool_] | None:
        """The voxels whose points lie inside, shape (z, y, x), in less than a tenth of a second.

        None where the cloud does not know all places, or not finely enough for so small a lasso:
        then `lasso_job` looks at the points themselves.
        """
        corners = (self._corners + 1) * (STEPS / 2)
        size = float(np.ptp(corners, axis=0).max())
        if cloud.lattice is None or size < _CELLS / 4:
            return None
        # The smallest cells that reach across, of a power of two steps.
        shift = max(0, math.ceil(math.log2(size / (_CELLS - 5))))
        step = 1 << shift
        x, y = (np.floor(corners.min(0)).astype(int) - 2 * step).tolist()
        mask = self._drawn(np.array([x, y]) * (2 / STEPS) - 1, step * 2 / STEPS)
        held = cloud.blank()
        inside(cloud.lattice, mask, (x, y), shift, held)
        return held

    @cached_property
    def _corners(self) -> npt.NDArray[np.float64]:
        """Corners of the polygon on the disk as it is, whatever is seen of it, shape (n, 2)."""
        closed = np.array([*self.outline, self.outline[0]], float)
        along = np.concatenate([[0.0], np.hypot(*np.diff(closed, axis=0).T).cumsum()])
        parts = np.union1d(along, np.linspace(0, along[-1], _PARTS))
        line = np.stack([np.interp(parts, along, axis) for axis in closed.T], axis=1)
        if self.translation.curved:
            # Outside the disk it follows the rim: nothing lies there, and a translation would turn
            # it inside out.
            line /= np.maximum(1.0, np.hypot(*line.T))[:, None]
        places: npt.NDArray[np.float64] = self.translation.undo(line).astype(np.float64)
        return places

    @cached_property
    def _filling(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], float]:
        """The polygon in the smallest cells that reach across, where they begin, their size."""
        corners = self._corners
        step = max(float(np.ptp(corners, axis=0).max()), 1e-12) / (_CELLS - 4)
        low = corners.min(0) - 2 * step
        return self._drawn(low, step), low, step

    def _drawn(self, low: npt.NDArray[np.float64], step: float) -> npt.NDArray[np.uint8]:
        """The polygon in cells, x along rows: 1 inside, from a corner on, of a size."""
        image = Image.new("L", (_CELLS, _CELLS))
        # Cell centres decide.
        cells = (self._corners - low) / step - 0.5
        ImageDraw.Draw(image).polygon([(y, x) for x, y in cells.tolist()], fill=1)
        return np.asarray(image)


def lasso_job(latents: Latents, cloud: Cloud, lasso: Lasso) -> Job[npt.NDArray[np.bool_]]:
    """The voxels whose points lie inside a lasso, as a job; shape (z, y, x).

    Parameters
    ----------
    latents : Latents
        The points of all voxels.
    cloud : Cloud
        Of these latents: where it knows all places, or holds all points, nothing has to be read.
    lasso : Lasso
    """
    total = math.prod(latents.shape)
    yield Progress("lasso", 0, total)
    known = lasso.voxels(cloud)
    if known is not None:
        return known
    mask = np.zeros(latents.shape, bool)
    if len(cloud.points) == total:
        mask.ravel()[cloud.voxels] = lasso.holds(lasso.projection.apply(cloud.points))
        return mask
    done = 0
    for box in latents.chunk_boxes():
        points = latents.read(box).reshape(-1, latents.dim)
        held = lasso.holds(lasso.projection.apply(points))
        mask[box] = held.reshape(mask[box].shape)
        done += len(points)
        yield Progress("lasso", done, total)
    return mask
