"""What a reader finds in a file, before `read_volume` makes a `Volume` of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .volume import ArrayLike3D, Triple, VolumeError

__all__ = ["Contents", "LazyView", "depth_axes", "in_short", "parts", "unnamed_axes", "usable_size"]

# Names in a sentence.
_MOST_SHOWN = 12

# Which axes are (z, y, x), and the place along others.
Axes = tuple[tuple[int, int, int], dict[int, int]]
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
    doubts : tuple of str
        The same, where it makes the voxel size doubtful.
    """

    data: ArrayLike3D
    voxel_size: Sizes = (None, None, None)
    origin: Triple = (0.0, 0.0, 0.0)
    start: Triple = (0.0, 0.0, 0.0)
    remarks: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class LazyView:
    """Three axes of a lazy array, in another order, at one place along each of the others.

    Zarr and HDF5 arrays can't be transposed or squeezed without reading them; this does both
    on the boxes that are read.

    Parameters
    ----------
    data : array-like
        The lazy array, of any number of axes.
    axes : tuple of int
        Which of its axes are (z, y, x).
    at : dict of int to int
        Place along others of its axes; 0 where none is given.
    """

    def __init__(
        self, data: Any, axes: tuple[int, int, int], at: Mapping[int, int] | None = None
    ) -> None:
        self._data = data
        self._axes = axes
        self._at = dict(at or {})

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
        index: list[Any] = [self._at.get(axis, 0) for axis in range(len(self._data.shape))]
        for axis, span in zip(self._axes, key, strict=True):
            index[axis] = span
        return np.asarray(self._data[tuple(index)]).transpose(np.argsort(np.argsort(self._axes)))


def depth_axes(
    names: str, shape: tuple[int, ...], depth: str = "z", chosen: str | None = None
) -> Axes:
    """Positions of (z, y, x) among named axes, and the place along all others.

    Parameters
    ----------
    names : str
        One lower-case letter per axis, such as "tczyx".
    shape : tuple of int
        Size along them.
    depth : str
        Letters that stand for z.
    chosen : str, optional
        One of the `parts`.

    Returns
    -------
    axes : tuple of int
    at : dict of int to int
        By axis, where it is not 0.

    Raises
    ------
    VolumeError
        If z, y or x is missing, another axis is longer than 1 and no part is chosen, or there is
        no such part.
    """
    found = [axis for axis, name in enumerate(names) if name in depth]
    whole = len(found) == 1 and "y" in names and "x" in names
    several = {
        axis: size
        for axis, (name, size) in enumerate(zip(names, shape, strict=True))
        if name not in f"{depth}yx" and size > 1
    }
    known = parts(names, shape, depth) if whole else []
    if several and chosen is None:
        kinds = {"c": "channels", "t": "time points", "s": "colour samples per voxel"}
        held = [
            f"{size} {kinds.get(names[axis], f'images along {names[axis].upper()}')}"
            for axis, size in several.items()
        ]
        hint = f"choose one as its dataset: {in_short(known)}"
        raise VolumeError(
            f"holds {' and '.join(held)}, a volume has one of each; "
            f"{hint if whole else 'none of them is a volume'}"
        )
    if not whole:
        raise VolumeError(
            f"is not a volume: its axes are {names.upper()} with sizes {tuple(shape)}, "
            "a volume needs Z, Y and X"
        )
    if chosen is not None and chosen not in known:
        there = f"it has {in_short(known)}" if known else "it holds one volume"
        raise VolumeError(f"has no part {chosen!r}; {there}")
    places = [int(part.split("=")[1]) for part in chosen.split()] if chosen else []
    at = dict(zip(several, places, strict=True))
    return (found[0], names.index("y"), names.index("x")), at


def parts(names: str, shape: tuple[int, ...], depth: str = "z") -> list[str]:
    """Names of the volumes that lie side by side in an array, such as "t=0 c=1"; none of one.

    The arguments are those of `depth_axes`.
    """
    several = [
        [f"{name}={index}" for index in range(size)]
        for name, size in zip(names, shape, strict=True)
        if name not in f"{depth}yx" and size > 1
    ]
    return [" ".join(part) for part in itertools.product(*several)] if several else []


def unnamed_axes(name: str, shape: tuple[int, ...]) -> dict[str, Axes]:
    """The volumes in a dataset of this shape, by what they are called.

    Of four axes longer than 1 the shortest tells volumes apart; more are too many.
    """
    axes = [axis for axis, size in enumerate(shape) if size > 1]
    for axis in reversed(range(len(shape))):
        # A volume may be one voxel deep.
        if len(axes) < 3 and axis not in axes and len(shape) >= 3:
            axes.append(axis)
    axes.sort()
    if len(axes) == 3:
        return {name: ((axes[0], axes[1], axes[2]), {})}
    if len(axes) != 4:
        return {}
    apart = min(axes, key=lambda axis: shape[axis])
    z, y, x = (axis for axis in axes if axis != apart)
    before = ":, " * apart
    return {f"{name}[{before}{i}]": ((z, y, x), {apart: i}) for i in range(shape[apart])}


def in_short(choices: Sequence[str]) -> str:
    """A list of names for a sentence, without the middle of a long one."""
    shown = list(choices) if len(choices) <= _MOST_SHOWN else [*choices[:3], "...", choices[-1]]
    return ", ".join(shown)


def usable_size(size: float | None) -> float | None:
    """A voxel size that makes sense (positive and finite), else None."""
    return float(size) if size is not None and np.isfinite(size) and size > 0 else None
