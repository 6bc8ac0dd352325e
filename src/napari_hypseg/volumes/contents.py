"""What a reader finds in a file, before `read_volume` makes a `Volume` of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .volume import ArrayLike3D, Triple, VolumeError

__all__ = ["Contents", "LazyView", "depth_axes", "usable_size"]

Sizes = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Contents:
    """Voxels of a file and what it says about their place.

    Parameters
    ----------
    data : array-like, shape (z, y, x)
        The voxels.
    voxel_size : tuple of float or None
        Size along (z, y, x) in angstrom; None where the file gives none that makes sense.
    origin : tuple of float
        Centre of voxel (0, 0, 0) along (z, y, x), in angstrom.
    start : tuple of float
        The same place where the file counts it in voxels; added to ``origin``.
    remarks : tuple of str
        What a person should know about the file; each completes the sentence "FILE: ...".
    """

    data: ArrayLike3D
    voxel_size: Sizes = (None, None, None)
    origin: Triple = (0.0, 0.0, 0.0)
    start: Triple = (0.0, 0.0, 0.0)
    remarks: tuple[str, ...] = ()


class LazyView:
    """Three axes of a lazy array, in another order and without its axes of length 1.

    Zarr and HDF5 arrays can't be transposed or squeezed without reading them; this does both
    on the boxes that are read.

    Parameters
    ----------
    data : array-like
        The lazy array, of any number of axes.
    axes : tuple of int
        Which of its axes are (z, y, x); all others have length 1.
    """

    def __init__(self, data: Any, axes: tuple[int, int, int]) -> None:
        self._data = data
        self._axes = axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along (z, y, x)."""
        return tuple(int(self._data.shape[axis]) for axis in self._axes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        dtype: np.dtype[Any] = self._data.dtype
        return dtype

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        """Voxels of a box."""
        index: list[Any] = [0] * len(self._data.shape)
        for axis, span in zip(self._axes, key, strict=True):
            index[axis] = span
        return np.asarray(self._data[tuple(index)]).transpose(np.argsort(np.argsort(self._axes)))


def depth_axes(names: str, shape: tuple[int, ...], depth: str = "z") -> tuple[int, int, int]:
    """Positions of (z, y, x) among named axes, all others being of length 1.

    Parameters
    ----------
    names : str
        One lower-case letter per axis, such as "tczyx".
    shape : tuple of int
        Size along them.
    depth : str
        Letters that stand for z.

    Raises
    ------
    VolumeError
        If z, y or x is missing, or another axis is longer than 1.
    """
    kinds = {"c": "channels", "t": "time points", "s": "colour samples per voxel"}
    several = [
        f"{size} {kinds.get(name, f'images along {name.upper()}')}"
        for name, size in zip(names, shape, strict=True)
        if name not in f"{depth}yx" and size > 1
    ]
    if several:
        raise VolumeError(
            f"holds {' and '.join(several)}, a volume has one of each; "
            "save the part that you want on its own"
        )
    found = [axis for axis, name in enumerate(names) if name in depth]
    if len(found) != 1 or "y" not in names or "x" not in names:
        raise VolumeError(
            f"is not a volume: its axes are {names.upper()} with sizes {tuple(shape)}, "
            "a volume needs Z, Y and X"
        )
    return found[0], names.index("y"), names.index("x")


def usable_size(size: float | None) -> float | None:
    """A voxel size that makes sense (positive and finite), else None."""
    return float(size) if size is not None and np.isfinite(size) and size > 0 else None
