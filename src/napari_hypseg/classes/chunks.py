"""Chunks of the class volume: their places, and their bytes as Zarr has them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from numcodecs.zstd import Zstd

from napari_hypseg.volumes import Box

__all__ = ["Grid", "Index", "Labels", "Shape"]

Index = tuple[int, int, int]
Shape = tuple[int, int, int]
Labels = npt.NDArray[np.uint8]

_SIDE = 64
# zarr writes the same frames; the checksum finds damage.
_ZSTD = Zstd(level=1, checksum=True)


class Grid:
    """The chunks of a label volume.

    The files of the chunks are written here and not by zarr, since the log of edits holds the
    same bytes: undo copies them, and the volume can be made anew from them.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, (z, y, x).
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        z, y, x = (min(_SIDE, n) for n in shape)
        self.chunk: Shape = (z, y, x)
        z, y, x = (-(-n // c) for n, c in zip(shape, self.chunk, strict=True))
        self.counts: Shape = (z, y, x)

    def __contains__(self, index: Index) -> bool:
        return all(0 <= i < n for i, n in zip(index, self.counts, strict=True))

    def box(self, index: Index) -> Box:
        """The voxels of a chunk."""
        z, y, x = (
            slice(i * c, min((i + 1) * c, n))
            for i, c, n in zip(index, self.chunk, self.shape, strict=True)
        )
        return z, y, x

    def within(self, box: Box) -> Iterator[Index]:
        """Chunks that a box touches."""
        spans = (range(s.start // c, -(-s.stop // c)) for s, c in zip(box, self.chunk, strict=True))
        yield from itertools.product(*spans)

    def around(self, indices: Iterable[Index]) -> Box | None:
        """The box around some chunks; None if there are none."""
        boxes = [self.box(index) for index in indices]
        if not boxes:
            return None
        z, y, x = (
            slice(min(s.start for s in spans), max(s.stop for s in spans))
            for spans in zip(*boxes, strict=True)
        )
        return z, y, x

    def encode(self, voxels: Labels) -> bytes:
        """The bytes of a chunk's file; none for one without a class, which has no file."""
        if not voxels.any():
            return b""
        if voxels.shape == self.chunk:
            whole = np.ascontiguousarray(voxels)
        else:  # Chunks that reach over the end of the volume are filled up.
            whole = np.zeros(self.chunk, np.uint8)
            whole[tuple(slice(n) for n in voxels.shape)] = voxels
        return bytes(_ZSTD.encode(whole))

    def decode(self, index: Index, blob: bytes) -> Labels:
        """The voxels of a chunk from its file's bytes; ValueError where they are damaged."""
        whole = np.zeros(self.chunk, np.uint8)
        if blob:
            try:
                _ZSTD.decode(blob, whole)  # Into this room: no frame can ask for more.
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"the chunk {index} of its labels is damaged") from error
        inside = tuple(slice(s.stop - s.start) for s in self.box(index))
        return whole[inside]
