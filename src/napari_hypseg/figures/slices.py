"""Slices of a volume and of its labels as pictures that know where they lie in space."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_hypseg.clustering import TreeClustering
from napari_hypseg.volumes.volume import Box, Volume, VolumeError

__all__ = ["Picture", "Plane", "planes", "png"]

# Grey values shown, in percent of the slices' voxels: all but stray dark and bright ones.
_WINDOW = (0.5, 99.5)
# A slice nearer the middle is preferred to one whose labels are this little more mixed.
_NEARLY = 0.97

# Axis that a plane is cut across, by its name.
PLANES = {"xy": 0, "xz": 1, "yz": 2}


@dataclass(frozen=True)
class Picture:
    """An image and the rectangle it fills.

    Attributes
    ----------
    url : str
        A PNG, as a data URL.
    x, y, width, height : float
        Where it lies in its plane's view, in nanometres.
    fine : bool
        Whether it has so many pixels that a screen will show it reduced.
    """

    url: str
    x: float
    y: float
    width: float
    height: float
    fine: bool


@dataclass(frozen=True)
class Plane:
    """One plane of a volume and the labels in it.

    Attributes
    ----------
    name : str
        "xy", "xz" or "yz": the axis to the right, then the axis down.
    index : int
        Slice of the volume, counted from 0 along the third axis.
    width, height : float
        Of the part that has labels, in nanometres.
    image : Picture
        The volume's intensities.
    labels : dict of int to Picture
        Labels at each granularity, in their colours.
    """

    name: str
    index: int
    width: float
    height: float
    image: Picture
    labels: dict[int, Picture]


def planes(
    volume: Volume,
    lattice: Volume,
    clustering: TreeClustering,
    colours: dict[int, npt.NDArray[np.float64]],
    *,
    chosen: int,
    side: int,
) -> list[Plane]:
    """Three planes of a volume, each where its labels are the most mixed.

    Parameters
    ----------
    volume : Volume
        Only the slices that are shown are read.
    lattice : Volume
        Where the labels lie (its voxels are not read): coarser than the volume, with a stride, or
        only a part of it.
    clustering : TreeClustering
        The labels.
    colours : dict of int to array, shape (k, 3)
        The granularities to show, and the colours of their labels.
    chosen : int
        The granularity by which the slices are chosen.
    side : int
        Most pixels along a side of a picture.

    Raises
    ------
    VolumeError
        If the labels lie outside the volume.
    """
    low, high = _common(volume, lattice)
    labels = clustering.labels(chosen)
    cuts = []
    for name, axis in PLANES.items():
        index = _most_mixed(labels, axis)
        place = lattice.origin[axis] + index * lattice.voxel_size[axis]
        there = round((place - volume.origin[axis]) / volume.voxel_size[axis])
        cuts.append((name, axis, index, min(max(there, 0), volume.shape[axis] - 1)))
    del labels

    greys, places = [], []
    for _, axis, _, there in cuts:
        spans = _covering(volume, low, high)
        cut = [slice(there, there + 1) if a == axis else span for a, span in enumerate(spans)]
        voxels = volume.read((cut[0], cut[1], cut[2])).squeeze(axis).astype(np.float32)
        greys.append(_reduced(voxels, side))
        places.append(_place(volume, spans, low, axis))
    pictures = [
        _picture(_grey(grey, _window(greys)), place)
        for grey, place in zip(greys, places, strict=True)
    ]

    whole = (slice(0, lattice.shape[0]), slice(0, lattice.shape[1]), slice(0, lattice.shape[2]))
    found = []
    for (name, axis, index, there), image in zip(cuts, pictures, strict=True):
        here = tuple(index if a == axis else slice(None) for a in range(3))
        shown = {
            k: _picture(_painted(clustering.level(k)[here], table, side),
                        _place(lattice, whole, low, axis))
            for k, table in colours.items()
        }  # fmt: skip
        height, width = ((high[a] - low[a]) / 10 for a in range(3) if a != axis)
        found.append(Plane(name, there, width, height, image, shown))
    return found


def png(image: Image.Image) -> str:
    """An image as the data URL of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _common(volume: Volume, lattice: Volume) -> tuple[list[float], list[float]]:
    """Lower and upper faces of what both volumes fill, along (z, y, x), in angstrom."""
    low, high = [], []
    for axis in range(3):
        faces = [
            (v.origin[axis] - v.voxel_size[axis] / 2,
             v.origin[axis] + (v.shape[axis] - 0.5) * v.voxel_size[axis])
            for v in (volume, lattice)
        ]  # fmt: skip
        low.append(max(first for first, _ in faces))
        high.append(min(last for _, last in faces))
        if high[-1] <= low[-1]:
            raise VolumeError(f"{volume.name}: the labels lie outside the volume")
    return low, high


def _covering(volume: Volume, low: Sequence[float], high: Sequence[float]) -> Box:
    """Voxels that reach into a region."""
    spans = []
    for axis, count in enumerate(volume.shape):
        origin, size = volume.origin[axis], volume.voxel_size[axis]
        # A millionth of a voxel, so that rounding doesn't add voxels that only touch.
        first = int(np.floor((low[axis] - origin) / size + 0.5 + 1e-6))
        last = int(np.ceil((high[axis] - origin) / size + 0.5 - 1e-6))
        spans.append(slice(max(first, 0), min(last, count)))
    return spans[0], spans[1], spans[2]


def _place(volume: Volume, spans: Box, low: Sequence[float], axis: int) -> tuple[float, ...]:
    """Where a slice of some voxels lies in a view that begins at ``low``: x, y, width, height."""
    starts, sizes = [], []
    for a, span in enumerate(spans):
        if a != axis:
            size = volume.voxel_size[a]
            starts.append((volume.origin[a] + (span.start - 0.5) * size - low[a]) / 10)
            sizes.append((span.stop - span.start) * size / 10)
    return starts[1], starts[0], sizes[1], sizes[0]


def _most_mixed(labels: npt.NDArray[np.uint8], axis: int) -> int:
    """Slice with the greatest entropy of labels; of nearly equal ones the most central."""
    entropies = []
    for index in range(labels.shape[axis]):
        counts = np.bincount(labels.take(index, axis).ravel())
        shares = counts[counts > 0] / counts.sum()
        entropies.append(float(-(shares * np.log(shares)).sum()))
    good = np.flatnonzero(np.array(entropies) >= _NEARLY * max(entropies))
    return int(good[np.argmin(abs(good - (labels.shape[axis] - 1) / 2))])


def _size(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Width and height of a picture of a slice, with at most ``side`` pixels along each."""
    height, width = (min(n, side) for n in shape)
    return width, height


def _reduced(voxels: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    finite = np.isfinite(voxels)
    if not finite.all():
        voxels = np.where(finite, voxels, voxels[finite].mean() if finite.any() else 0)
    image = Image.fromarray(voxels).resize(_size(voxels.shape, side), Image.Resampling.BOX)
    return np.asarray(image)


def _window(greys: list[npt.NDArray[np.float32]]) -> tuple[float, float]:
    low, high = np.percentile(np.concatenate([grey.ravel() for grey in greys]), _WINDOW)
    return float(low), float(high)


def _grey(values: npt.NDArray[np.float32], window: tuple[float, float]) -> Image.Image:
    low, high = window
    # 64 greys: enough on top of noise, and a quarter smaller.
    scaled = (values - low) / max(high - low, 1e-30)
    return Image.fromarray((scaled.clip(0, 1) * 63).round().astype(np.uint8) * 4)


def _painted(
    labels: npt.NDArray[np.uint8], colours: npt.NDArray[np.float64], side: int
) -> Image.Image:
    image = Image.fromarray(labels).resize(_size(labels.shape, side), Image.Resampling.NEAREST)
    palette = np.concatenate([np.zeros((1, 3)), colours])
    image.putpalette((palette * 255).round().astype(np.uint8).tobytes())
    return image


def _picture(image: Image.Image, place: tuple[float, ...]) -> Picture:
    x, y, width, height = place
    return Picture(png(image), x, y, width, height, max(image.size) > 400)
