"""Passes over all voxels of a volume, compiled and shared among the processors."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from napari_hypseg.volumes.compiled import compiled

__all__ = ["inside", "relabel", "scores"]

Bytes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.int64]

# Voxels that are not worth a thread.
_FEW = 1 << 18
_THREADS = min(os.cpu_count() or 1, 8)
# Counters side by side: one that was written a moment ago can't be read at once.
_LANES = 4
# Voxels that are counted together, or skipped where nothing has an owner; looked up together.
_COUNTED, _LOOKED_UP = 2048, 2048


def relabel(values: Bytes, lookup: Bytes) -> Bytes:
    """``lookup[values]``, many times as quick as numpy.

    Parameters
    ----------
    values : array of uint8
    lookup : array of uint8, shape (256,)
    """
    out = np.empty(values.shape, np.uint8)
    _share(_look_up, (values.reshape(-1), out.reshape(-1)), (lookup,))
    return out


def inside(
    places: npt.NDArray[np.uint32], table: Bytes, low: tuple[int, int], shift: int,
    out: npt.NDArray[np.bool_],
) -> None:  # fmt: skip
    """Whether places lie in cells that are marked.

    Parameters
    ----------
    places : array of uint32
        x in the upper 16 bits, y in the lower ones.
    table : array of uint8, shape (m, m)
        1 in the cells that are marked, x along its rows; its outermost rows and columns are not.
    low : tuple of int
        x and y at which the table begins; they may be negative.
    shift : int
        A cell is ``2 ** shift`` steps wide.
    out : array of bool
        Of the shape of ``places``: all of it is written.
    """
    # Modulo 2 ** 32, as the places are subtracted from.
    first = (v % (1 << 32) for v in low)
    _share(_inside, (places.reshape(-1), out.reshape(-1).view(np.uint8)), (table, *first, shift))


def scores(
    points: npt.NDArray[np.float32], gaps: npt.NDArray[np.float32], target: npt.ArrayLike
) -> npt.NDArray[np.float32]:
    """What grows with the distance of each point to one: ``|x - p|^2`` over its gap.

    Parameters
    ----------
    points : array of float32, shape (n, d)
    gaps : array of float32, shape (n,)
    target : array, shape (d,)
    """
    out = np.empty(len(points), np.float32)
    _share(_score, (points, gaps, out), (np.asarray(target, np.float32),))
    return out


def _share(
    kernel: Callable[..., Any],
    each: tuple[npt.NDArray[Any], ...],
    whole: tuple[Any, ...] = (),
    of_part: tuple[npt.NDArray[Any], ...] = (),
) -> None:
    """Run a compiled function in threads.

    Each gets its part of the arrays of ``each``, all of ``whole``, its row of those of ``of_part``.
    """
    size = len(each[0])
    parts = _THREADS if size > _FEW else 1
    ends = np.linspace(0, size, parts + 1).astype(np.int64).tolist()

    def run(part: int) -> None:
        here = slice(ends[part], ends[part + 1])
        kernel(*(array[here] for array in each), *whole, *(array[part] for array in of_part))

    if parts == 1:
        run(0)
        return
    others = [_pool().submit(run, part) for part in range(1, parts)]
    run(0)
    for other in others:
        other.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    # Kept: to start threads takes as long as some of the passes.
    return ThreadPoolExecutor(_THREADS)


# Compiled when this module is loaded: not while a person waits for a click to do something.
_READ = types.Array(types.uint8, 1, "C", readonly=True)
_WRITE = types.Array(types.uint8, 1, "C")
_TABLE = types.Array(types.uint8, 2, "C", readonly=True)
_PLACES = types.Array(types.uint32, 1, "C", readonly=True)
_VALUES = types.Array(types.float32, 1, "C", readonly=True)
_POINTS = types.Array(types.float32, 2, "C", readonly=True)


@compiled(types.void(_READ, _WRITE, _READ))
def _look_up(values: Bytes, out: Bytes, lookup: Bytes) -> None:
    for i in range(values.size):
        out[i] = lookup[values[i]]


@compiled(types.void(_PLACES, _WRITE, _TABLE, types.uint32, types.uint32, types.uint32))
def _inside(
    places: npt.NDArray[np.uint32], out: Bytes, table: Bytes, low_x: int, low_y: int, shift: int
) -> None:
    cells, side = table.reshape(-1), np.uint32(len(table))
    last, bits = np.uint32(side - np.uint32(1)), np.uint32(shift & np.uint32(31))
    index = np.empty(_LOOKED_UP, np.uint32)
    for first in range(0, places.size, _LOOKED_UP):
        place, held = places[first : first + _LOOKED_UP], out[first : first + _LOOKED_UP]
        # Looked up afterwards: so that many indices are worked out at once, in 32 bits each.
        for i in range(place.size):
            # Below the table's beginning these wrap around, and are clipped to its empty end.
            x = np.uint32(np.uint32(np.uint32(place[i] >> np.uint32(16)) - low_x) >> bits)
            y = np.uint32(np.uint32(np.uint32(place[i] & np.uint32(0xFFFF)) - low_y) >> bits)
            index[i] = np.uint32(min(x, last) * side + min(y, last))
        for i in range(place.size):
            held[i] = cells[index[i]]


@compiled(types.void(_POINTS, _VALUES, types.float32[::1], _VALUES))
def _score(
    points: npt.NDArray[np.float32],
    gaps: npt.NDArray[np.float32],
    out: npt.NDArray[np.float32],
    target: npt.NDArray[np.float32],
) -> None:
    for i in range(len(points)):
        square = np.float32(0.0)
        for axis in range(len(target)):
            gap = points[i, axis] - target[axis]
            square += gap * gap
        out[i] = square / gaps[i]
