"""Edge-preserving smoothing of latent points, in the tangent space at the centre."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.spread import from_tangent, spread_job, to_tangent
from napari_hypseg.latents.store import Latents, open_latents
from napari_hypseg.latents.total_variation import denoise
from napari_hypseg.volumes.volume import Box

__all__ = ["smooth_job"]

Floats = npt.NDArray[np.float32]

_ROUNDS = 30
# Units of progress a tile.
_UNITS = 1000
# Larger volumes are smoothed in tiles, whose sides are multiples of this one, with a halo beyond
# which the solution hardly feels anything; the kernel needs 28 bytes a voxel of a tile and
# dimension.
_MOST_FLOATS = 1 << 26
_SIDE = 64
_HALO = 16


def smooth_job(
    latents: Latents,
    weight: float,
    *,
    store: str | os.PathLike[str] | None = None,
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
    d = latents.dim
    out = open_latents(store, (*latents.shape, d), attributes)
    boxes = _tiles(latents.shape, d)
    total = len(boxes) * _UNITS
    scale = np.float32((yield from spread_job(latents)))
    for index, box in enumerate(boxes):
        start = Progress("smoothing", index * _UNITS, total)
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
        # In the order that the kernel wants: x last in memory.
        field = np.moveaxis(
            np.empty((z.stop - z.start, y.stop - y.start, d, x.stop - x.start), np.float32), 2, 3
        )
        for piece in _pieces(latents, (z, y, x)):
            yield start
            here = field[_inside(piece, (z, y, x))]
            here[...] = to_tangent(latents, latents.read_all(piece))
            here /= scale
        smooth = yield from _denoise_job(field, weight, index, total)
        del field
        for piece in _pieces(out, box):
            yield Progress("smoothing", (index + 1) * _UNITS, total)
            inside = _inside(piece, (z, y, x))
            vectors = np.ascontiguousarray(smooth[inside] * scale)
            out.array[piece] = from_tangent(latents, vectors)
    yield Progress("smoothing", total, total)
    return out


def _denoise_job(field: Floats, weight: float, index: int, total: int) -> Job[Floats]:
    """`denoise` of a tile."""
    rounds = denoise(field, weight, _ROUNDS)
    while True:
        try:
            done = index + next(rounds)
        except StopIteration as end:
            smooth: Floats = end.value
            return smooth
        yield Progress("smoothing", int(done * _UNITS), total)


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


def _tiles(shape: tuple[int, int, int], dim: int) -> list[Box]:
    """Boxes of whole chunks that cover a shape: of those that fit the memory, the least work."""

    def voxels(sides: tuple[int, ...]) -> int:
        """Of a tile with its halo."""
        return math.prod(min(n, side + 2 * _HALO) for n, side in zip(shape, sides, strict=True))

    def work(sides: tuple[int, ...]) -> int:
        """Voxels of all tiles with their halos."""
        return math.prod(
            n + 2 * _HALO * ((n - 1) // side) for n, side in zip(shape, sides, strict=True)
        )

    choices = list(itertools.product(*(range(_SIDE, n + _SIDE, _SIDE) for n in shape)))
    fitting = [sides for sides in choices if voxels(sides) * dim <= _MOST_FLOATS]
    best = min(fitting or choices[:1], key=work)
    starts = (range(0, n, side) for n, side in zip(shape, best, strict=True))
    return [
        (
            slice(z, min(z + best[0], shape[0])),
            slice(y, min(y + best[1], shape[1])),
            slice(x, min(x + best[2], shape[2])),
        )
        for z, y, x in itertools.product(*starts)
    ]
