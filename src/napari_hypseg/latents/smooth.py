"""Edge-preserving smoothing of latent points, in the tangent space at the centre."""

from __future__ import annotations

import itertools
import os

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.geometry import exp0, log0
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents, open_latents
from napari_hypseg.latents.total_variation import denoise

__all__ = ["smooth_job"]

Floats = npt.NDArray[np.float32]

_ROUNDS = 60
# A volume beyond 2^24 voxels is smoothed in tiles of this side, with a halo beyond which the
# solution hardly feels anything; the kernel needs 32 d bytes a voxel of a tile.
_MOST_VOXELS = 1 << 24
_SIDE = 192
_HALO = 16


def smooth_job(
    latents: Latents, weight: float, *, store: str | os.PathLike[str] | None = None
) -> Job[Latents]:
    """Latent points denoised by total variation, with the edges between structures kept.

    The points' tangent vectors at the centre (their logarithms) are divided by their standard
    deviation, so that a weight means the same for every model, denoised, and mapped back.

    Parameters
    ----------
    latents : Latents
        What to smooth.
    weight : float
        Strength, above 0. At 1 the voxels of a structure agree and its edges stay.
    store : path, optional
        Folder of the Zarr store to write to; in memory without it. Tiles that it has already
        are not computed again.

    Returns
    -------
    Latents
    """
    if not weight > 0:
        raise ValueError(f"the smoothing weight must be positive, not {weight}")
    attributes = {**latents.array.attrs.asdict(), "smoothing": weight}
    attributes.pop("hypseg_latents", None)
    out = open_latents(store, (*latents.shape, latents.dim), attributes)
    spread = _spread(latents)
    boxes = _tiles(latents.shape)
    for index, box in enumerate(boxes):
        if out.has(box):
            continue
        wide = tuple(
            slice(max(0, s.start - _HALO), min(n, s.stop + _HALO))
            for s, n in zip(box, latents.shape, strict=True)
        )
        inner = tuple(
            slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True)
        )
        field = _tangent(latents, latents.read(wide)) / np.float32(spread)
        rounds = denoise(field, weight, _ROUNDS)
        for step in itertools.count():
            yield Progress("smoothing", index * _ROUNDS + step, len(boxes) * _ROUNDS)
            try:
                next(rounds)
            except StopIteration as end:
                out.array[box] = _points(latents, end.value[inner] * np.float32(spread))
                break
    yield Progress("smoothing", len(boxes) * _ROUNDS, len(boxes) * _ROUNDS)
    return out


def _tangent(latents: Latents, points: Floats) -> Floats:
    """Tangent vectors at the centre of points of any shape (..., d)."""
    if latents.geometry == "euclidean":
        return points
    vectors: Floats = log0(torch.from_numpy(points), c=latents.curvature).numpy()
    return vectors


def _points(latents: Latents, vectors: Floats) -> Floats:
    """Inverse of `_tangent`."""
    if latents.geometry == "euclidean":
        return vectors
    points: Floats = exp0(torch.from_numpy(vectors), c=latents.curvature).numpy()
    return points


def _spread(latents: Latents) -> float:
    """Standard deviation of the tangent vectors, a number for all directions together."""
    count, total, square = 0, np.zeros(latents.dim), 0.0
    for box in latents.chunk_boxes():
        vectors = _tangent(latents, latents.read(box)).reshape(-1, latents.dim).astype(np.float64)
        count += len(vectors)
        total += vectors.sum(0)
        square += float(np.square(vectors).sum())
    variance = (square / count - float(np.square(total / count).sum())) / latents.dim
    # Points that are all alike stay as they are, whatever they are divided by.
    return float(np.sqrt(max(variance, 0.0))) or 1.0


def _tiles(shape: tuple[int, int, int]) -> list[tuple[slice, slice, slice]]:
    """The whole shape, or boxes of whole chunks that cover it."""
    if np.prod(shape) <= _MOST_VOXELS:
        z, y, x = shape
        return [(slice(0, z), slice(0, y), slice(0, x))]
    starts = (range(0, n, _SIDE) for n in shape)
    return [
        (
            slice(z, min(z + _SIDE, shape[0])),
            slice(y, min(y + _SIDE, shape[1])),
            slice(x, min(x + _SIDE, shape[2])),
        )
        for z, y, x in itertools.product(*starts)
    ]
