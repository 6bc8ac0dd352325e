"""Edge-preserving smoothing of latent points, in the tangent space at the centre."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.geometry import exp0, log0
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents, open_latents
from napari_hypseg.latents.total_variation import denoise
from napari_hypseg.volumes.volume import Box

__all__ = ["smooth_job"]

Floats = npt.NDArray[np.float32]

_ROUNDS = 60
# Units of progress a tile.
_UNITS = 1000
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
    boxes = _tiles(latents.shape)
    spread = yield from _spread_job(latents)
    for index, box in enumerate(boxes):
        start = Progress("smoothing", index * _UNITS, len(boxes) * _UNITS)
        for piece in _pieces(out, box):
            yield start
            if not out.has(piece):
                break
        else:
            continue
        z, y, x = (
            slice(max(0, s.start - _HALO), min(n, s.stop + _HALO))
            for s, n in zip(box, latents.shape, strict=True)
        )
        field = np.empty(
            (z.stop - z.start, y.stop - y.start, x.stop - x.start, latents.dim), np.float32
        )
        for piece in _pieces(latents, (z, y, x)):
            yield start
            field[_inside(piece, (z, y, x))] = _tangent(latents, latents.read(piece)) / spread
        rounds = denoise(field, weight, _ROUNDS)
        while True:
            try:
                done = int((index + next(rounds)) * _UNITS)
            except StopIteration as end:
                field = end.value
                break
            yield Progress("smoothing", done, len(boxes) * _UNITS)
        for piece in _pieces(out, box):
            yield Progress("smoothing", (index + 1) * _UNITS, len(boxes) * _UNITS)
            out.array[piece] = _points(latents, field[_inside(piece, (z, y, x))] * spread)
    yield Progress("smoothing", len(boxes) * _UNITS, len(boxes) * _UNITS)
    return out


def _pieces(latents: Latents, box: Box) -> Iterator[Box]:
    """A box, cut where the chunks of the store end."""
    for chunk in latents.chunk_boxes():
        z, y, x = (
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(chunk, box, strict=True)
        )
        if z.start < z.stop and y.start < y.stop and x.start < x.stop:
            yield z, y, x


def _inside(piece: Box, box: Box) -> Box:
    """A piece of a box, counted from the box's corner."""
    z, y, x = (slice(p.start - b.start, p.stop - b.start) for p, b in zip(piece, box, strict=True))
    return z, y, x


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


def _spread_job(latents: Latents) -> Job[np.float32]:
    """Standard deviation of the tangent vectors, a number for all directions together."""
    count, total, square = 0, np.zeros(latents.dim), 0.0
    for box in latents.chunk_boxes():
        yield Progress("smoothing", 0, _UNITS)
        vectors = (
            _tangent(latents, latents.read_all(box)).reshape(-1, latents.dim).astype(np.float64)
        )
        count += len(vectors)
        total += vectors.sum(0)
        square += float(np.square(vectors).sum())
    variance = (square / count - float(np.square(total / count).sum())) / latents.dim
    # Points that are all alike stay as they are, whatever they are divided by.
    return np.float32(np.sqrt(max(variance, 0.0)) or 1.0)


def _tiles(shape: tuple[int, int, int]) -> list[Box]:
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
