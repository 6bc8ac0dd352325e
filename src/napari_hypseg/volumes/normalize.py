"""Intensities of a volume brought to zero mean and unit variance, robustly."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress, finish

from .gradient import find_gradient, flattened
from .padding import Faces, find_padding, solid
from .volume import Box, Triple, Volume, VolumeError, slabs

__all__ = ["Normalization", "fit_normalization", "fit_normalization_job"]

# Wide enough to keep protein and membranes, narrow enough to cut gold beads and hot pixels.
_PERCENTILES = (0.1, 99.9)
# Above this many voxels of a wide type, a sample of as many stands for all.
_SAMPLE = 1 << 24
# Voxels along each axis, at most, on which a gradient is looked for.
_LATTICE = 64
# Voxels worked on between two reports, and what the reports say.
_PIECE = 1 << 22
_STAGE = "reading the volume"


@dataclass(frozen=True, slots=True)
class Normalization:
    """Clipping to [low, high], then subtraction of the mean and division by the deviation.

    Parameters
    ----------
    low, high : float
        Range of intensities that is kept.
    mean, std : float
        Mean and standard deviation of the clipped intensities.
    padding : float, optional
        The exact value of voxels that nobody measured.
    gradient : tuple of float, optional
        Slope along (z, y, x), in intensity a voxel, of a background that is taken away before
        anything else; it is zero at the centre of the volume.
    holes : bool
        Whether some voxels are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> rule = Normalization(low=0.0, high=10.0, mean=5.0, std=2.5)
    >>> rule.apply(np.array([-3.0, 5.0, 10.0, np.nan]))
    array([-2.,  0.,  2.,  0.], dtype=float32)
    """

    low: float
    high: float
    mean: float
    std: float
    padding: float | None = None
    gradient: Triple | None = None
    holes: bool = False

    def __post_init__(self) -> None:
        values = [self.low, self.high, self.mean, self.std, self.padding or 0.0]
        values += self.gradient or ()
        if not (np.isfinite(values).all() and self.low < self.high and self.std > 0):
            raise ValueError(f"a normalization needs low < high and std > 0, not {self}")

    def apply(self, array: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Normalised intensities; what isn't finite becomes the mean, 0.

        Of an array alone, so without the padding and the gradient, which depend on the place: see
        `read`.

        Parameters
        ----------
        array : array-like of real numbers
            Intensities, of any shape.
        """
        values = np.asarray(array)
        # float32 holds bytes and 16-bit integers exactly, wider types are worked on in float64.
        wide = values.astype(np.result_type(values.dtype, np.float32))
        if values.dtype.kind == "f":
            wide[~np.isfinite(wide)] = self.mean
        np.clip(wide, self.low, self.high, out=wide)
        return np.asarray((wide - self.mean) / self.std, dtype=np.float32)

    def look(
        self, volume: Volume, box: Box | None = None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Normalised intensities of a box, and which of its voxels lie outside.

        Outside is what nobody measured: padding, and what isn't finite. It becomes the mean, 0.
        A voxel inside that has the padding's value by chance, alone among others, stays.

        Parameters
        ----------
        volume : Volume
            The whole volume that this was fitted to.
        box : tuple of slice, optional
            Part of it; all of it without.

        Returns
        -------
        values : array of float32, shape (z, y, x)
        outside : array of bool, shape (z, y, x)
        """
        pairs = zip(box or (slice(None),) * 3, volume.shape, strict=True)
        z, y, x = (slice(*span.indices(n)[:2]) for span, n in pairs)
        if self.padding is None:
            voxels = volume.read((z, y, x))
            outside = np.zeros(voxels.shape, np.bool_)
        else:
            around = [
                (max(0, s.start - 1), min(n, s.stop + 1))
                for s, n in zip((z, y, x), volume.shape, strict=True)
            ]
            wide = volume.read((slice(*around[0]), slice(*around[1]), slice(*around[2])))
            inner = tuple(
                slice(s.start - a, s.stop - a) for s, (a, _) in zip((z, y, x), around, strict=True)
            )
            voxels = wide[inner]
            beyond = [
                (a - s.start + 1, s.stop + 1 - b)
                for s, (a, b) in zip((z, y, x), around, strict=True)
            ]
            # Beyond its faces the volume goes on as padding: a frame may be one voxel wide.
            outside = solid(np.pad(wide == self.padding, beyond, constant_values=True))
        if voxels.dtype.kind == "f":
            outside |= ~np.isfinite(voxels)
        values = self.apply(flattened(voxels, (z, y, x), volume.shape, self.gradient))
        values[outside] = 0
        return values, outside

    def read(self, volume: Volume, box: Box | None = None) -> npt.NDArray[np.float32]:
        """Normalised intensities of a box; see `look`."""
        return self.look(volume, box)[0]

    def to_dict(self) -> dict[str, Any]:
        """Its numbers by name, for JSON."""
        values = asdict(self)
        return values | {"gradient": None if self.gradient is None else list(self.gradient)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Normalization:
        """The inverse of `to_dict`.

        Raises
        ------
        ValueError
            If a number is missing, or they don't make a normalization.
        """
        names = [field.name for field in fields(cls)]
        if set(values) != set(names):
            raise ValueError(f"a normalization has {', '.join(names)}, not {', '.join(values)}")
        numbers = {name: float(values[name]) for name in ("low", "high", "mean", "std")}
        padding, gradient = values["padding"], values["gradient"]
        slopes = None
        if gradient is not None:
            z, y, x = (float(slope) for slope in gradient)
            slopes = z, y, x
        value = None if padding is None else float(padding)
        return cls(**numbers, padding=value, gradient=slopes, holes=bool(values["holes"]))


def fit_normalization(volume: Volume, *, gradient: bool = True) -> Normalization:
    """Normalization of a volume from one pass over it, in bounded memory.

    The range kept is that between the 0.1th and the 99.9th percentile of the finite voxels; where
    both are equal (nearly all voxels are), that between the least and the greatest.

    Padding (see `find_padding`) is left out: it would take up most of the range that the rest
    needs. A gradient as strong as in a badly lit or badly normalised volume (see `find_gradient`)
    is taken away, which takes a second pass.

    Exact for voxels of 8 or 16 bits, and for all others up to 16.8 million voxels. Beyond, and
    where a gradient is taken away, a seeded sample of as many voxels, spread evenly over the
    slabs, stands for all: the standard error of the percentiles is then 0.0008 percentage points,
    that of the mean 0.00025 standard deviations.

    Parameters
    ----------
    volume : Volume
        Read slab by slab.
    gradient : bool
        Whether to look for a gradient.

    Raises
    ------
    VolumeError
        If the volume is constant or has no finite voxel.

    Warns
    -----
    UserWarning
        If some voxels are not finite or are padding, or a gradient is taken away.
    """
    return finish(fit_normalization_job(volume, gradient=gradient))


def fit_normalization_job(volume: Volume, *, gradient: bool = True) -> Job[Normalization]:
    """The generator twin of `fit_normalization`."""
    faces, some = Faces(volume.shape), _Lattice(volume.shape)

    def take(box: Box, voxels: npt.NDArray[Any]) -> None:
        faces.add(box, voxels)
        some.add(box, voxels)

    narrow = volume.data.dtype.kind in "biu" and volume.data.dtype.itemsize <= 2
    gather = _histogram_job if narrow else _sample_job
    values, counts, lost = yield from gather(volume, take)
    if values.size == 0:
        raise VolumeError(f"{volume.name}: has no finite voxel")
    if lost:
        warnings.warn(
            f"{volume.name}: {lost:.2%} of the voxels are not finite (NaN or infinite) and count "
            "as the mean",
            stacklevel=2,
        )
    padding = find_padding(faces, values, counts)
    if padding is not None:
        inside = values != padding
        share = 1 - counts[inside].sum() / counts.sum()
        values, counts = values[inside], counts[inside]
        warnings.warn(
            f"{volume.name}: {share:.1%} of the voxels have exactly the value {padding:g} and lie "
            "around the rest: they are taken as padding, from which nothing is learned, and get "
            "the label 0",
            stacklevel=2,
        )
    low, high = _range(volume, values, counts)
    slopes = find_gradient(*some.within(low, high, padding)) if gradient else None
    if slopes is not None:
        values, counts, _ = yield from _sample_job(volume, None, padding, slopes)
        across = sum(abs(s) * (n - 1) for s, n in zip(slopes, volume.shape, strict=True))
        low, high = _range(volume, values, counts)
    mean = yield from _mean_job(volume, values, counts, lambda v: np.clip(v, low, high))
    spread = lambda v: np.square(np.clip(v, low, high) - mean)  # noqa: E731
    std = (yield from _mean_job(volume, values, counts, spread)) ** 0.5
    if not (np.isfinite(std) and std > 0):
        raise VolumeError(f"{volume.name}: its intensities ({low:g} to {high:g}) have no spread")
    if slopes is not None:
        warnings.warn(
            f"{volume.name}: its intensities change by {across / std:.1f} standard deviations from "
            "one side to the other: this gradient is taken away",
            stacklevel=2,
        )
    return Normalization(low, high, mean, std, padding, slopes, bool(lost))


class _Lattice:
    """Voxels at even distances, as many as tell of a gradient, gathered slab by slab."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._steps = [math.ceil(n / _LATTICE) for n in shape]
        self._values: list[npt.NDArray[Any]] = []
        self._places: list[npt.NDArray[np.float64]] = []

    def add(self, box: Box, voxels: npt.NDArray[Any]) -> None:
        """Take those of a slab of whole slices."""
        first = -box[0].start % self._steps[0]
        z, y, x = (
            slice(start, None, s) for start, s in zip((first, 0, 0), self._steps, strict=True)
        )
        found = voxels[z, y, x]
        places = np.indices(found.shape, np.float64).reshape(3, -1).T * self._steps
        self._values.append(found.ravel())
        self._places.append(places + np.array([box[0].start + first, 0, 0]))

    def within(
        self, low: float, high: float, padding: float | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Their values from low to high, without padding, and their places."""
        values, places = np.concatenate(self._values), np.concatenate(self._places)
        kept = (values >= low) & (values <= high)
        if padding is not None:
            kept &= values != padding
        return values[kept].astype(np.float64), places[kept]


def _range(
    volume: Volume, values: npt.NDArray[Any], counts: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """What is kept of sorted values."""
    low, high = _percentiles(values, counts)
    if low == high:
        low, high = float(values[0]), float(values[-1])
    if low == high:
        raise VolumeError(f"{volume.name}: is constant, all its voxels are {low:g}")
    return low, high


_Take = Callable[[Box, npt.NDArray[Any]], None]
_Counted = tuple[npt.NDArray[Any], npt.NDArray[np.int64], float]


def _mean_job(
    volume: Volume,
    values: npt.NDArray[Any],
    counts: npt.NDArray[np.int64],
    of: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]],
) -> Job[float]:
    """Mean of a function of the values, some at a time."""
    total = 0.0
    for start in range(0, values.size, _PIECE):
        yield Progress(_STAGE, volume.shape[0], volume.shape[0])
        piece = of(values[start : start + _PIECE].astype(np.float64))
        total += float(piece @ counts[start : start + _PIECE])
    return total / float(counts.sum())


def _histogram_job(volume: Volume, take: _Take) -> Job[_Counted]:
    """Every value of a narrow integer volume in rising order, and how often it comes.

    Every slab is handed to ``take`` as well.
    """
    counts = np.zeros(1 << 16, np.int64)
    base = np.iinfo(np.int16).min if volume.data.dtype.kind == "i" else 0
    for box in slabs(volume.shape, _PIECE):
        yield Progress(_STAGE, box[0].start, volume.shape[0])
        voxels = volume.read(box)
        take(box, voxels)
        counts += np.bincount(voxels.ravel().astype(np.int32) - base, minlength=counts.size)
    found = np.flatnonzero(counts)
    return found + base, counts[found], 0.0


def _sample_job(
    volume: Volume,
    take: _Take | None,
    padding: float | None = None,
    slopes: Triple | None = None,
) -> Job[_Counted]:
    """Finite values in rising order: of all voxels, or of an even sample of a large volume.

    Also how often each value comes, and the share of voxels that are not finite. Those that have
    the padding's value are left out, and the gradient is.
    """
    rng = np.random.default_rng(0)
    total = math.prod(volume.shape)
    looked, parts = 0, []
    for box in slabs(volume.shape):
        yield Progress(_STAGE, box[0].start, volume.shape[0])
        voxels = volume.read(box)
        if take is not None:
            take(box, voxels)
        flat = flattened(voxels, box, volume.shape, slopes)
        voxels = flat.ravel() if padding is None else flat[voxels != padding]
        if total > _SAMPLE and voxels.size:
            voxels = voxels[rng.integers(0, voxels.size, round(_SAMPLE * voxels.size / total))]
        looked += voxels.size
        parts.append(voxels[np.isfinite(voxels)])
    yield Progress(_STAGE, volume.shape[0], volume.shape[0])
    values = np.sort(np.concatenate(parts))
    lost = 1 - values.size / max(1, looked)
    first = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]])[: values.size])
    return values[first], np.diff(first, append=values.size), lost


def _percentiles(values: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Both percentiles of sorted values with their counts, interpolated as NumPy does."""
    ends = np.cumsum(counts)
    low, high = (
        _between(values, ends, float(ends[-1] - 1) * percent / 100) for percent in _PERCENTILES
    )
    return low, high


def _between(values: npt.NDArray[Any], ends: npt.NDArray[np.int64], rank: float) -> float:
    first, second = np.searchsorted(ends, [int(rank), int(np.ceil(rank))], side="right")
    lower, upper = float(values[first]), float(values[second])
    return lower + (upper - lower) * (rank - int(rank))
