"""Voxels that stay in their file until they are asked for, and the watch over that file."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .volume import ArrayLike3D, VolumeError

__all__ = ["StoredArray", "Watched"]


class StoredArray:
    """Voxels that lie in a file one after the other.

    Read with plain reads, not mapped into memory: where a file shrinks or its disk goes away, a
    map ends the whole process with a bus error, a read fails with a reason.

    Parameters
    ----------
    path : Path
        The file.
    dtype : dtype
        Type of a voxel, in the file's byte order.
    offset : int
        Bytes before the first voxel.
    stored : tuple of int
        Size along the file's axes, the last running fastest.
    order : tuple of int
        Which of the file's axes are (z, y, x).

    Raises
    ------
    VolumeError
        If the file is too short.
    """

    def __init__(
        self,
        path: Path,
        dtype: npt.DTypeLike,
        offset: int,
        stored: tuple[int, int, int],
        order: tuple[int, int, int] = (0, 1, 2),
    ) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape: tuple[int, ...] = tuple(stored[axis] for axis in order)
        self._offset, self._stored, self._order = offset, stored, order
        file = path.open("rb", buffering=0)
        weakref.finalize(self, file.close)
        self._file, self._lock = file, threading.Lock()
        size = os.fstat(file.fileno()).st_size
        wanted = offset + stored[0] * stored[1] * stored[2] * self.dtype.itemsize
        if wanted > size:
            raise VolumeError(f"is cut short: its header asks for {wanted} bytes, it has {size}")

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        """Voxels of a box."""
        spans = [slice(None)] * 3
        for axis, span in zip(self._order, key, strict=True):
            spans[axis] = span
        planes, rows, columns = (
            range(n)[span] for n, span in zip(self._stored, spans, strict=True)
        )
        found = np.empty((len(planes), len(rows), len(columns)), self.dtype)
        if found.size:
            # Whole rows from the first to the last that is wanted lie together in the file.
            first, last = min(rows), max(rows) + 1
            whole = rows.step == columns.step == 1 and len(columns) == self._stored[2]
            plane = np.empty((last - first, self._stored[2]), self.dtype)
            for place, z in enumerate(planes):
                into = found[place] if whole else plane
                self._read(z * self._stored[1] + first, into)
                if not whole:
                    found[place] = plane[:: rows.step, spans[2]]
        return found.transpose(self._order)

    def _read(self, row: int, into: npt.NDArray[Any]) -> None:
        """Fill an array with the rows from ``row`` on."""
        left = into.view(np.uint8).data.cast("B")
        with self._lock:
            self._file.seek(self._offset + row * self._stored[2] * self.dtype.itemsize)
            while len(left):
                count = self._file.readinto(left)
                if not count:
                    raise VolumeError("the file has become shorter since it was opened")
                left = left[count:]


class Watched:
    """Voxels of a lazy array, refused once the file that they come from has been changed.

    A file that another one took the place of, or that was deleted, is as good as before: the
    open file is still the old one.

    Parameters
    ----------
    data : array-like, shape (z, y, x)
        The lazy array.
    path : Path
        Its file.
    before : os.stat_result
        What the system said about the file before it was opened.
    """

    def __init__(self, data: ArrayLike3D, path: Path, before: os.stat_result) -> None:
        self._data, self._path, self._before = data, path, before
        self.shape = tuple(data.shape)
        self.dtype = data.dtype

    def __getitem__(self, key: Any) -> Any:
        """Voxels of a box, if the file is still the same after they have been read."""
        voxels = self._data[key]
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return voxels
        if now.st_ino == self._before.st_ino and (now.st_size, now.st_mtime_ns) != (
            self._before.st_size,
            self._before.st_mtime_ns,
        ):
            raise VolumeError("the file has changed since it was opened, open it again")
        return voxels
