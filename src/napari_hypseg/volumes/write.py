"""Writing label and image volumes beside the volume that they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import mrc, ome_zarr, tiff
from .atomic import replacing
from .volume import ArrayLike3D, Volume, VolumeError, slabs

__all__ = ["WRITABLE_SUFFIXES", "write_image", "write_labels"]

#: Endings of the files that can be written, in lower case.
WRITABLE_SUFFIXES: tuple[str, ...] = (".mrc", *tiff.SUFFIXES, ".zarr")

# Types that each format has for labels, smallest first, with those of the image formats below.
_LABELS = {
    ".mrc": ("i1", "i2", "u2"),
    ".tif": ("u1", "u2", "u4"),
    ".zarr": ("u1", "u2", "u4", "u8"),
}
_IMAGES = {
    ".mrc": {"i1": "i1", "i2": "i2", "u2": "u2", "f2": "f2", "u1": "u2", "b1": "i1"},
    ".tif": {"b1": "u1", "f2": "f4", "i8": "f8", "u8": "f8"},
    ".zarr": {},
}


def write_labels(
    path: str | Path,
    labels: ArrayLike3D,
    like: Volume,
    *,
    classes: Sequence[Mapping[str, Any]] | None = None,
) -> None:
    """Write labels in the place of the volume that they were made from.

    The file appears whole or not at all: it is written under another name and then renamed.

    Parameters
    ----------
    path : str or Path
        ``.mrc``, ``.tif``, ``.tiff`` or ``.zarr`` (OME-Zarr 0.5, with coarser levels).
    labels : array-like of int or bool, shape (z, y, x)
        Labels from 0 on. The smallest type of the format that holds the largest is taken: for
        MRC mode 0, 1 or 6, so at most 65535.
    like : Volume
        Whose voxel size, origin and shape the labels have.
    classes : sequence of mapping, optional
        Of each label its ``label``, ``name`` and ``colour`` ("#rrggbb"), and whatever else JSON
        holds. OME-Zarr has a place for them; beside other files goes one that ends in ``.json``.

    Raises
    ------
    VolumeError
        If the labels don't fit the format or the volume, or the file can't be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from napari_hypseg.volumes.read import read_volume
    >>> from napari_hypseg.volumes.volume import Volume
    >>> like = Volume(np.zeros((2, 3, 4), np.float32), voxel_size=(10.52, 10.52, 10.52))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "classes.mrc")
    ...     write_labels(path, np.ones((2, 3, 4), int), like)
    ...     back = read_volume(path)
    >>> back.voxel_size, back.data.dtype
    ((10.52, 10.52, 10.52), dtype('int8'))
    """
    path = Path(path)
    kind = _kind(path)
    volume = _beside(path, labels, like)
    if volume.data.dtype.kind not in "biu":
        raise VolumeError(f"{path}: labels are whole numbers, these are {volume.data.dtype}")
    extremes = [(int(part.min()), int(part.max())) for part in map(volume.read, slabs(like.shape))]
    low, high = min(pair[0] for pair in extremes), max(pair[1] for pair in extremes)
    if low < 0:
        raise VolumeError(f"{path}: labels start at 0, the lowest here is {low}")
    fitting = [name for name in _LABELS[kind] if high <= np.iinfo(name).max]
    if not fitting:
        raise VolumeError(
            f"{path}: the largest label is {high}, "
            f"{kind} files hold at most {np.iinfo(_LABELS[kind][-1]).max}"
        )
    _write(path, kind, _as_type(volume, fitting[0]), labels=True, classes=classes or ())
    if classes is not None and kind != ".zarr":
        values = {
            "labels": path.name,
            "voxel_size_angstrom": like.voxel_size,
            "origin_angstrom": like.origin,
            "classes": [dict(each) for each in classes],
        }
        with replacing(path.with_suffix(".json")) as fresh:
            fresh.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", "utf-8")


def write_image(path: str | Path, image: ArrayLike3D, like: Volume) -> None:
    """Write an image in the place of the volume that it was made from.

    The file appears whole or not at all, as for `write_labels`.

    Parameters
    ----------
    path : str or Path
        ``.mrc``, ``.tif``, ``.tiff`` or ``.zarr`` (OME-Zarr 0.5, with coarser levels).
    image : array-like of real numbers, shape (z, y, x)
        The voxels. OME-Zarr keeps their type, TIFF too where OME has it (float16 becomes
        float32, 64-bit integers float64). MRC keeps int8, int16, uint16, float16 and float32,
        makes uint8 uint16, and float32 of the rest.
    like : Volume
        Whose voxel size, origin and shape the image has.

    Raises
    ------
    VolumeError
        If the image doesn't fit the volume, or the file can't be written.
    """
    path = Path(path)
    kind = _kind(path)
    volume = _beside(path, image, like)
    name = volume.data.dtype.str[1:]
    if volume.data.dtype.kind not in "biuf":
        raise VolumeError(f"{path}: voxels of type {volume.data.dtype} can't be written")
    target = _IMAGES[kind].get(name, "f4" if kind == ".mrc" else name)
    _write(path, kind, _as_type(volume, target), labels=False, classes=())


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise VolumeError(f"{path}: its ending is none of {', '.join(WRITABLE_SUFFIXES)}")
    return ".tif" if suffix == ".tiff" else suffix


def _beside(path: Path, data: ArrayLike3D, like: Volume) -> Volume:
    if tuple(data.shape) != like.shape:
        raise VolumeError(
            f"{path}: what is to be written has shape {tuple(data.shape)}, "
            f"the volume {like.name} has {like.shape}"
        )
    return replace(like, data=data)


class _Cast:
    """A lazy array with its voxels in another type."""

    def __init__(self, volume: Volume, dtype: np.dtype[Any]) -> None:
        self._volume = volume
        self.dtype = dtype
        self.shape: tuple[int, ...] = volume.shape

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        return self._volume.read(key).astype(self.dtype, copy=False)


def _as_type(volume: Volume, name: str) -> Volume:
    return replace(volume, data=_Cast(volume, np.dtype(name)))


def _write(
    path: Path, kind: str, volume: Volume, *, labels: bool, classes: Sequence[Mapping[str, Any]]
) -> None:
    if path.is_dir() and kind != ".zarr":
        raise VolumeError(f"{path}: is a folder")
    if path.is_dir() and not any((path / n).exists() for n in ("zarr.json", ".zgroup", ".zarray")):
        raise VolumeError(f"{path}: is a folder that holds something else than Zarr")
    try:
        with replacing(path) as fresh:
            if kind == ".mrc":
                mrc.write(fresh, volume)
            elif kind == ".tif":
                tiff.write(fresh, volume)
            else:
                ome_zarr.write(fresh, volume, labels=labels, classes=classes)
    except OSError as error:
        raise VolumeError(f"{path}: can't be written, {error.strerror or error}") from error
