"""Opening a volume from any file that the package knows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

from . import hdf5, mrc, nifti, ome_zarr, tiff
from .contents import Contents
from .stored import Watched
from .volume import Source, Triple, Volume, VolumeError

__all__ = ["READABLE_SUFFIXES", "choices", "read_volume"]

# A voxel so many times as long one way as another is rather a header that is wrong.
_ANISOTROPIC = 5

#: Endings of the files that `read_volume` opens, in lower case.
READABLE_SUFFIXES: tuple[str, ...] = (
    *mrc.SUFFIXES,
    *tiff.SUFFIXES,
    *ome_zarr.SUFFIXES,
    *nifti.SUFFIXES,
    *hdf5.SUFFIXES,
)


def read_volume(
    path: str | Path,
    *,
    dataset: str | None = None,
    level: int = 0,
    voxel_size: float | Triple | None = None,
) -> Volume:
    """Open a volume: MRC, TIFF, OME-Zarr, NIfTI or HDF5, by the ending of its name or its header.

    Voxels are read when they are asked for, where the format allows it (all but packed files).

    Parameters
    ----------
    path : str or Path
        The file, the folder of an OME-Zarr image or of TIFF slices; for OME-Zarr also a URL
        (``https://``, ``s3://``, anything that fsspec knows). `READABLE_SUFFIXES` lists the
        endings; a file with another one is opened by what it begins with.
    dataset : str, optional
        One of the `choices`, where a file holds several volumes: a dataset of an HDF5 file, a
        channel or time point.
    level : int
        Resolution level of an OME-Zarr image, 0 being the finest.
    voxel_size : float or tuple of float, optional
        Size of a voxel in angstrom, along (z, y, x) or for all three; replaces the file's.

    Returns
    -------
    Volume
        With voxel size and origin in angstrom.

    Raises
    ------
    VolumeError
        If the file can't be read as a volume; one sentence that names the file and the reason.

    Warns
    -----
    UserWarning
        One sentence, if the file has no sensible voxel size (that of the other axes is then taken,
        or 1 angstrom; `Volume.doubts` says why) or its header is wrong in a way that can be lived
        with.

    Examples
    --------
    >>> from napari_hypseg.volumes.read import read_volume
    >>> volume = read_volume("tomogram.mrc", voxel_size=10.52)  # doctest: +SKIP
    >>> volume.read((slice(0, 1), slice(0, 64), slice(0, 64))).mean()  # doctest: +SKIP
    """
    where = str(path).rstrip("/") or "/"
    given = None if voxel_size is None else _given_size(voxel_size)
    file, before = Path(where), None
    with _told(where):
        if "://" not in where and file.is_file():
            before = file.stat()
        contents = _contents(where, dataset, level)
        dtype = np.dtype(contents.data.dtype)
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise VolumeError(f"has voxels of type {dtype}, which can't be segmented")
        if min(contents.data.shape) < 1:
            raise VolumeError(f"has no voxels: its shape is {tuple(contents.data.shape)}")

    doubts: tuple[str, ...] = ()
    if given is None:
        size, doubts = _sensible(contents)
    else:
        size = given
    if contents.remarks or doubts:
        said = "; it ".join((*contents.remarks, *doubts))
        ask = ": give the right voxel size" if doubts else ""
        warnings.warn(f"{_printable(where)}: {said}{ask}", UserWarning, stacklevel=2)
    z, y, x = (
        position + start * step
        for position, start, step in zip(contents.origin, contents.start, size, strict=True)
    )
    data = contents.data
    if before is not None and not isinstance(data, np.ndarray):
        data = Watched(data, file, before)
    place = where if "://" in where else os.path.abspath(where)
    source = Source(place, dataset, level)
    return Volume(data, size, (z, y, x), _name(where), source, doubts)


def choices(path: str | Path) -> list[str]:
    """Names of the volumes that a file holds, where it holds several; none of a single volume.

    Parameters
    ----------
    path : str or Path
        As for `read_volume`, whose ``dataset`` is one of these: of an HDF5 file "raw", or "raw[1]"
        where a dataset has four axes; of a multi-channel or time-series TIFF file or OME-Zarr image
        "t=0 c=1", and "image=2 c=1" where a TIFF file has several; of a folder of OME-Zarr images
        their names.

    Raises
    ------
    VolumeError
        If the file can't be read.
    """
    where = str(path).rstrip("/") or "/"
    with _told(where):
        reader = _reader(where)
        if reader is ome_zarr:
            return ome_zarr.choices(where)
        if reader is tiff and not Path(where).is_dir():
            return tiff.choices(Path(where))
        if reader is hdf5:
            found = hdf5.choices(Path(where))
            return found if len(found) > 1 else []
        return []


def _sensible(contents: Contents) -> tuple[Triple, tuple[str, ...]]:
    """The voxel size of a file, or what is taken for it, and what is doubtful about it."""
    doubts, found = list(contents.doubts), contents.voxel_size
    known = [size for size in found if size is not None]
    if len(known) < 3:
        unknown = ", ".join(axis for axis, size in zip("zyx", found, strict=True) if size is None)
        taken = f"{known[-1]:g} angstrom as along the others" if known else "1 angstrom"
        doubts.append(f"gives no valid voxel size along {unknown}, {taken} is taken")
    z, y, x = (size or (known[-1] if known else 1.0) for size in found)
    if max(z, y, x) > _ANISOTROPIC * min(z, y, x):
        doubts.append(
            f"has a doubtful voxel size of {z:g} x {y:g} x {x:g} angstrom (z, y, x), more than "
            f"{_ANISOTROPIC} times as long one way as another"
        )
    return (z, y, x), tuple(doubts)


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Whatever goes wrong with a file, in one sentence that names it."""
    try:
        yield
    except VolumeError as error:
        # What a file says of itself may be of any length, on any number of lines.
        said = " ".join(str(error).split())[:500]
        raise VolumeError(f"{_printable(where)}: {said}") from error
    except MemoryError as error:
        raise VolumeError(f"{_printable(where)}: doesn't fit in memory") from error
    except FileNotFoundError as error:
        raise VolumeError(f"{_printable(where)}: no such file or folder") from error
    # The libraries meet damaged files with errors of every type, some of their own.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        said = _printable(reason[:500])
        raise VolumeError(f"{_printable(where)}: can't be read, {said}") from error


def _contents(where: str, dataset: str | None, level: int) -> Contents:
    reader, path = _reader(where), Path(where)
    if level and reader is not ome_zarr:
        raise VolumeError(f"has no resolution levels, so no level {level}")
    if reader is ome_zarr:
        return ome_zarr.read(where, level, dataset)
    if reader is hdf5:
        return hdf5.read(path, dataset)
    if reader is tiff and not path.is_dir():
        return tiff.read(path, dataset)
    if dataset is not None:
        raise VolumeError(f"holds one volume, so there is none to choose called {dataset!r}")
    if reader is tiff:
        return tiff.read_folder(path)
    return mrc.read(path) if reader is mrc else nifti.read(path)


def _reader(where: str) -> ModuleType:
    """The module that reads a file."""
    suffix, path = _suffix(where), Path(where)
    if "://" in where:
        return ome_zarr
    if not path.exists():
        raise VolumeError("no such file or folder")
    if path.is_dir():
        is_zarr = any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))
        return tiff if not is_zarr and tiff.slices_in(path) else ome_zarr
    if suffix in ome_zarr.SUFFIXES:
        return ome_zarr
    if path.stat().st_size == 0:
        raise VolumeError("is empty")
    for reader in (mrc, tiff, nifti, hdf5):
        if suffix in reader.SUFFIXES:
            return reader
    return _by_content(path)


def _by_content(path: Path) -> ModuleType:
    """The module that reads a file whose name does not tell."""
    with path.open("rb") as file:
        head = file.read(1024)
    for reader, place, signs in (
        (tiff, 0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        (hdf5, 0, (b"\x89HDF\r\n\x1a\n",)),
        (nifti, 344, (b"n+1\0",)),
        (mrc, 208, (b"MAP",)),
    ):
        if any(head[place:].startswith(sign) for sign in signs):
            return reader
    raise VolumeError(
        f"its ending is none of {', '.join(READABLE_SUFFIXES)}, and it does not begin as one of "
        "these does"
    )


def _suffix(where: str) -> str:
    """The longest known ending of a name, in lower case; empty if there is none."""
    name = where.lower()
    return max((end for end in READABLE_SUFFIXES if name.endswith(end)), key=len, default="")


def _printable(text: str) -> str:
    """A path for a person: bytes that are no text show as question marks."""
    return os.fsencode(text).decode("utf-8", "replace")


def _name(where: str) -> str:
    name = _printable(where).replace("\\", "/").rsplit("/", 1)[-1]
    name = name[: len(name) - len(_suffix(name))]
    return name[:-4] if name.lower().endswith(".ome") else name


def _given_size(voxel_size: float | Triple) -> Triple:
    sizes = np.broadcast_to(np.asarray(voxel_size, dtype=float), (3,)).tolist()
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        raise VolumeError(f"a voxel size must be positive, {voxel_size} is not")
    return sizes[0], sizes[1], sizes[2]
