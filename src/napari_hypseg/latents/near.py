"""All voxels whose latent points lie near one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents

__all__ = ["near_job"]


def near_job(latents: Latents, point: npt.ArrayLike, radius: float) -> Job[npt.NDArray[np.bool_]]:
    """Voxels within a distance of a latent point, as a job.

    Parameters
    ----------
    latents : Latents
    point : array, shape (d,)
        Within the ball.
    radius : float
        Hyperbolic distance, or Euclidean in R^d.

    Returns
    -------
    array of bool, shape (z, y, x)
        On the lattice of the latents.

    Notes
    -----
    With curvature -c, d(x, p) <= r is c |x - p|^2 <= sinh(r sqrt(c) / 2)^2 (1 - c |x|^2)
    (1 - c |p|^2) (Nickel and Kiela 2017, equation 1, by cosh(2 t) = 1 + 2 sinh(t)^2): no function
    of each point.
    """
    target = np.asarray(point, np.float32)
    curvature = latents.curvature if latents.geometry == "hyperbolic" else 0.0
    reach = radius**2
    if curvature:
        gap = 1 - curvature * float(target @ target)
        reach = np.sinh(radius * np.sqrt(curvature) / 2) ** 2 * gap / curvature
    mask = np.zeros(latents.shape, np.bool_)
    boxes = list(latents.chunk_boxes())
    for done, box in enumerate(boxes):
        yield Progress("looking at the points", done, len(boxes))
        points = latents.read(box)
        apart = np.square(points - target).sum(-1)
        mask[box] = apart <= reach * (1 - curvature * np.square(points).sum(-1))
    return mask
