"""Latent points as tangent vectors at the centre, and how far these spread."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.geometry import exp0, log0
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents

__all__ = ["from_tangent", "spread_job", "to_tangent"]

Floats = npt.NDArray[np.float32]


def to_tangent(latents: Latents, points: Floats) -> Floats:
    """Tangent vectors at the centre of points of any shape (..., d)."""
    if latents.geometry == "euclidean":
        return points
    vectors: Floats = log0(torch.from_numpy(points), c=latents.curvature).numpy()
    return vectors


def from_tangent(latents: Latents, vectors: Floats) -> Floats:
    """Inverse of `to_tangent`."""
    if latents.geometry == "euclidean":
        return vectors
    points: Floats = exp0(torch.from_numpy(vectors), c=latents.curvature).numpy()
    return points


def spread_job(latents: Latents) -> Job[float]:
    """Standard deviation of the tangent vectors at the centre, one number for all directions.

    1 where all points are alike: they stay as they are, whatever they are divided by.
    """
    count, total, square = 0, np.zeros(latents.dim), 0.0
    boxes = list(latents.chunk_boxes())
    for done, box in enumerate(boxes):
        yield Progress("measuring the spread", done, len(boxes))
        points = latents.read_all(box)
        vectors = to_tangent(latents, points.reshape(-1, latents.dim)).astype(np.float64)
        count += len(vectors)
        total += vectors.sum(0)
        square += float(np.square(vectors).sum())
    variance = (square / count - float(np.square(total / count).sum())) / latents.dim
    return float(np.sqrt(max(variance, 0.0))) or 1.0
