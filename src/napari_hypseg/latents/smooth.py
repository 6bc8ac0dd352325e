"""Edge-preserving smoothing of latent points and intensities, in the tangent space."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import numpy as np

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.intensity import Intensity
from napari_hypseg.latents.spread import from_tangent, spread_job, to_tangent
from napari_hypseg.latents.store import Latents, open_latents
from napari_hypseg.latents.total_variation import denoise
from napari_hypseg.volumes.volume import Box

__all__ = ["smooth_job"]

_ROUNDS = 60
# Units of progress a tile.
_UNITS = 1000
# A volume beyond 2^24 voxels is smoothed in tiles of this side, with a halo beyond which the
# solution hardly feels anything; the kernel needs 32 bytes a voxel of a tile and channel.
_MOST_VOXELS = 1 << 24
_SIDE = 192
_HALO = 16


def smooth_job(
    latents: Latents,
    weight: float,
    *,
    intensity: Intensity | None = None,
    store: str | os.PathLike[str] | None = None,
) -> Job[Latents]:
    """Latent points denoised by total variation, with the edges between structures kept.

    The points' tangent vectors at the centre (their logarithms) are divided by their standard
    deviation, so that a weight means the same for every model, denoised, and mapped back. The
    intensities beside them are denoised with them: an edge of one is an edge of both.

    Parameters
    ----------
    latents : Latents
        What to smooth.
    weight : float
        Strength, above 0. At 1 the voxels of a structure agree and its edges stay.
    intensity : Intensity, optional
        The intensities of the same voxels; kept in the store as one more channel.
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
    attributes["intensity"] = intensity is not None
    d = latents.dim
    channels = d + (intensity is not None)
    out = open_latents(store, (*latents.shape, channels), attributes)
    boxes = _tiles(latents.shape)
    spread = intensity.spread if intensity else (yield from spread_job(latents))
    scale = np.float32(spread)
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
            (z.stop - z.start, y.stop - y.start, x.stop - x.start, channels), np.float32
        )
        for piece in _pieces(latents, (z, y, x)):
            yield start
            here = field[_inside(piece, (z, y, x))]
            here[..., :d] = to_tangent(latents, latents.read_all(piece))
            if intensity:
                here[..., d] = intensity.read(piece)
            here /= scale
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
            vectors = field[_inside(piece, (z, y, x))] * scale
            points = from_tangent(latents, np.ascontiguousarray(vectors[..., :d]))
            out.array[piece] = np.concatenate([points, vectors[..., d:]], -1)
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
