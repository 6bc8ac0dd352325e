"""Total-variation denoising of a vector field on a grid: the numerical kernel."""

from __future__ import annotations

import math
from collections.abc import Generator

import numba
import numpy as np
import numpy.typing as npt
from numba import prange

from napari_hypseg.training.devices import match_numba_threads
from napari_hypseg.volumes.compiled import compiled

__all__ = ["denoise"]

Floats = npt.NDArray[np.float32]

# Voxels of a slab, which one thread works on between two yields: a hundredth of a second.
_SLAB = 1 << 20


def denoise(field: Floats, weight: float, rounds: int) -> Generator[float, None, Floats]:
    """Minimise ``|u - field|^2 / 2 + weight TV(u)``; yields the fraction done, returns u.

    Fast gradient projection on the dual problem. TV is isotropic, with forward differences, and
    couples the channels: an edge in one is an edge in all.

    Parameters
    ----------
    field : array, shape (z, y, x, d), float32
        The field. Least memory is taken where x is the last axis in memory, and d the one before.
    weight : float
        Strength, above 0, in units of the field.
    rounds : int
        How many.

    Notes
    -----
    Rudin, Osher and Fatemi 1992, solved after Beck and Teboulle 2009, *Fast gradient-based
    algorithms for constrained total variation image denoising and deblurring*, by our own loops:
    `skimage.restoration.denoise_tv_chambolle` treats each channel by itself, converges more
    slowly and makes a dozen passes over memory a round.

    A round is bound by memory, so it is one sweep: u is computed one plane ahead of the step that
    needs it, and never kept. Threads sweep through slabs; the first plane of u of every slab is
    computed before, while the dual variable there is as the round found it.
    """
    match_numba_threads()
    # Long inner loops along x, one a channel, are what compilers turn into vector instructions.
    rows = np.ascontiguousarray(np.moveaxis(field, 3, 2))
    nz, ny, d, nx = rows.shape
    # The dual variable, one vector an axis, and what it was a round before.
    dual = np.zeros((nz, ny, 3, d, nx), np.float32)
    before = np.zeros_like(dual)
    workers = numba.get_num_threads()
    deep = min(max(1, _SLAB // (ny * nx)), -(-nz // workers))
    first = np.empty((-(-nz // deep), ny, d, nx), np.float32)
    planes = np.empty((workers, 2, ny, d, nx), np.float32)
    squares = np.empty((workers, nx), np.float32)
    # The squared norm of the difference operator in three dimensions is at most 12.
    strength, step = np.float32(weight), np.float32(1 / (12 * weight))
    momentum, share = 1.0, np.float32(0)
    for done in range(rounds):
        yield done / rounds
        _first_planes(rows, dual, before, strength, share, first, deep)
        for slab in range(0, len(first), workers):
            yield (done + slab / len(first)) / rounds
            _sweep(
                rows, dual, before, strength, step, share, first, planes, squares, deep, slab
            )  # fmt: skip
        dual, before = before, dual
        following = (1 + math.sqrt(1 + 4 * momentum * momentum)) / 2
        share, momentum = np.float32((momentum - 1) / following), following
    yield 1.0
    del before, first, planes
    smooth = np.empty_like(rows)
    _first_planes(rows, dual, dual, strength, np.float32(0), smooth, 1)
    return np.moveaxis(smooth, 2, 3)


@compiled()
def _primal(
    field: Floats,
    dual: Floats,
    before: Floats,
    weight: np.float32,
    share: np.float32,
    z: int,
    y: int,
    out: Floats,
) -> None:
    """``u = field + weight div(p)`` for a row along x, p being ``dual`` extrapolated."""
    d, nx = field.shape[2:]
    # Loops over few arrays each: for many, compilers give up proving that they don't overlap.
    for c in range(d):
        for x in range(nx):
            p, q, r = dual[z, y, 0, c, x], dual[z, y, 1, c, x], dual[z, y, 2, c, x]
            p += share * (p - before[z, y, 0, c, x])
            q += share * (q - before[z, y, 1, c, x])
            r += share * (r - before[z, y, 2, c, x])
            out[y, c, x] = p + q + r
        if z > 0:
            for x in range(nx):
                p = dual[z - 1, y, 0, c, x]
                out[y, c, x] -= p + share * (p - before[z - 1, y, 0, c, x])
        if y > 0:
            for x in range(nx):
                p = dual[z, y - 1, 1, c, x]
                out[y, c, x] -= p + share * (p - before[z, y - 1, 1, c, x])
        out[y, c, 0] = field[z, y, c, 0] + weight * out[y, c, 0]
        for x in range(1, nx):
            p = dual[z, y, 2, c, x - 1]
            p += share * (p - before[z, y, 2, c, x - 1])
            out[y, c, x] = field[z, y, c, x] + weight * (out[y, c, x] - p)


@compiled(error_model="numpy")
def _dual(
    here: Floats,
    above: Floats,
    dual: Floats,
    before: Floats,
    step: np.float32,
    share: np.float32,
    z: int,
    y: int,
    square: Floats,
) -> None:
    """A gradient step from p and the projection to unit length, for a row; into ``before``.

    ``here`` and ``above`` are the planes z and z + 1 of u.
    """
    nz, ny, _, d, nx = dual.shape
    for c in range(d):
        if z + 1 < nz:
            for x in range(nx):
                p = dual[z, y, 0, c, x]
                p += share * (p - before[z, y, 0, c, x])
                before[z, y, 0, c, x] = p + step * (above[y, c, x] - here[y, c, x])
        if y + 1 < ny:
            for x in range(nx):
                p = dual[z, y, 1, c, x]
                p += share * (p - before[z, y, 1, c, x])
                before[z, y, 1, c, x] = p + step * (here[y + 1, c, x] - here[y, c, x])
        for x in range(nx - 1):
            p = dual[z, y, 2, c, x]
            p += share * (p - before[z, y, 2, c, x])
            before[z, y, 2, c, x] = p + step * (here[y, c, x + 1] - here[y, c, x])
    for x in range(nx):
        square[x] = 0
    for c in range(d):
        for axis in range(3):
            for x in range(nx):
                square[x] += before[z, y, axis, c, x] * before[z, y, axis, c, x]
    for x in range(nx):
        square[x] = np.float32(1) / np.sqrt(max(square[x], np.float32(1)))
    for axis in range(3):
        for c in range(d):
            for x in range(nx):
                before[z, y, axis, c, x] *= square[x]


@compiled(parallel=True)
def _first_planes(
    field: Floats,
    dual: Floats,
    before: Floats,
    weight: np.float32,
    share: np.float32,
    out: Floats,
    deep: int,
) -> None:
    """Every ``deep``-th plane of u."""
    for slab in prange(len(out)):
        for y in range(field.shape[1]):
            _primal(field, dual, before, weight, share, slab * deep, y, out[slab])


@compiled(parallel=True)
def _sweep(
    field: Floats,
    dual: Floats,
    before: Floats,
    weight: np.float32,
    step: np.float32,
    share: np.float32,
    first: Floats,
    planes: Floats,
    squares: Floats,
    deep: int,
    start: int,
) -> None:
    """A round of the slabs from ``start`` on, one a thread."""
    nz, ny = field.shape[:2]
    for slab in prange(start, min(start + len(planes), len(first))):
        here = first[slab]
        end = min((slab + 1) * deep, nz)
        for z in range(slab * deep, end):
            above = here
            if z + 1 < end:
                above = planes[slab - start, z % 2]
                for y in range(ny):
                    _primal(field, dual, before, weight, share, z + 1, y, above)
            elif end < nz:
                above = first[slab + 1]
            for y in range(ny):
                _dual(here, above, dual, before, step, share, z, y, squares[slab - start])
            here = above
