"""All voxels whose latent points lie near one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents

__all__ = ["near_job", "reach"]

_LARGEST = float(np.finfo(np.float32).max)


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

    Raises
    ------
    ValueError
        If the radius is below 0.
    """
    curvature = latents.curvature if latents.geometry == "hyperbolic" else None
    target, most = np.asarray(point, np.float32), reach(point, radius, curvature)
    mask = np.zeros(latents.shape, np.bool_)
    boxes = list(latents.chunk_boxes())
    for done, box in enumerate(boxes):
        yield Progress("looking at the points", done, len(boxes))
        points = latents.read(box)
        gaps = 1 - (curvature or 0.0) * np.square(points).sum(-1)
        mask[box] = np.square(points - target).sum(-1) <= most * gaps
    return mask


def reach(point: npt.ArrayLike, radius: float, curvature: float | None) -> float:
    """What ``|x - p|^2 / (1 - c |x|^2)`` is of points x at a distance from p.

    It grows with the distance: so that of two points, or of a point and a radius, no distance has
    to be computed to compare them.

    Parameters
    ----------
    point : array, shape (d,)
        Within the ball.
    radius : float
    curvature : float or None
        The ball has curvature ``-curvature``; None for a Euclidean space.

    Raises
    ------
    ValueError
        If the radius is below 0.

    Notes
    -----
    In a ball it is ``sinh(r sqrt(c) / 2)^2 (1 - c |p|^2) / c`` (Nickel and Kiela 2017, equation 1,
    by ``cosh(2 t) = 1 + 2 sinh(t)^2``).
    """
    if not radius >= 0:
        raise ValueError(f"a radius is a distance from 0 on, not {radius}")
    if curvature is None:
        most = radius**2
    else:
        target = np.asarray(point, np.float64)
        with np.errstate(over="ignore"):
            grown = float(np.sinh(radius * math.sqrt(curvature) / 2) ** 2)
        most = grown * (1 - curvature * float(target @ target)) / curvature
    # It is compared in float32, like the points.
    return min(most, _LARGEST)
