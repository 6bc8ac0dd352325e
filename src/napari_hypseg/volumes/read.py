"""Opening a volume from any file that the package knows."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import cast

import numpy as np

from . import hdf5, mrc, nifti, ome_zarr, tiff
from .contents import Contents
from .stored import Watched
from .volume import Source, Triple, Volume, VolumeError

__all__ = ["READABLE_SUFFIXES", "read_volume"]

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
    """Open a volume: MRC, TIFF, OME-Zarr, NIfTI or HDF5, by the ending of its name.

    Voxels are read when they are asked for, where the format allows it (all but packed files).

    Parameters
    ----------
    path : str or Path
        The file, or the folder of an OME-Zarr image; for OME-Zarr also a URL (``https://``,
        ``s3://``, anything that fsspec knows). `READABLE_SUFFIXES` lists the endings.
    dataset : str, optional
        Name of the dataset in an HDF5 file.
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
        One sentence, if the file has no sensible voxel size (1 angstrom is then taken) or its
        header is wrong in a way that can be lived with.

    Examples
    --------
    >>> from napari_hypseg.volumes.read import read_volume
    >>> volume = read_volume("tomogram.mrc", voxel_size=10.52)  # doctest: +SKIP
    >>> volume.read((slice(0, 1), slice(0, 64), slice(0, 64))).mean()  # doctest: +SKIP
    """
    where = str(path).rstrip("/") or "/"
    given = None if voxel_size is None else _given_size(voxel_size)
    try:
        file, before = Path(where), None
        if "://" not in where and file.is_file():
            before = file.stat()
        contents = _contents(where, dataset, level)
        dtype = np.dtype(contents.data.dtype)
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            raise VolumeError(f"has voxels of type {dtype}, which can't be segmented")
        if min(contents.data.shape) < 1:
            raise VolumeError(f"has no voxels: its shape is {tuple(contents.data.shape)}")
    except VolumeError as error:
        # What a file says of itself may be of any length, on any number of lines.
        raise VolumeError(f"{where}: {' '.join(str(error).split())[:500]}") from error
    except MemoryError as error:
        raise VolumeError(f"{where}: doesn't fit in memory") from error
    except FileNotFoundError as error:
        raise VolumeError(f"{where}: no such file or folder") from error
    # The libraries meet damaged files with errors of every type, some of their own.
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise VolumeError(f"{where}: can't be read, {reason[:500]}") from error

    remarks = list(contents.remarks)
    size = given or cast(Triple, tuple(found or 1.0 for found in contents.voxel_size))
    if given is None and None in contents.voxel_size:
        unknown = ", ".join(
            axis for axis, found in zip("zyx", contents.voxel_size, strict=True) if found is None
        )
        remarks.append(
            f"gives no valid voxel size along {unknown}, 1 angstrom is taken "
            "(give it with voxel_size= or --voxel-size)"
        )
    if remarks:
        warnings.warn(f"{where}: {'; it '.join(remarks)}", UserWarning, stacklevel=2)
    z, y, x = (
        position + start * step
        for position, start, step in zip(contents.origin, contents.start, size, strict=True)
    )
    data = contents.data
    if before is not None and not isinstance(data, np.ndarray):
        data = Watched(data, file, before)
    place = where if "://" in where else os.path.abspath(where)
    source = Source(place, dataset, level)
    return Volume(data, size, (z, y, x), _name(where), source)


def _contents(where: str, dataset: str | None, level: int) -> Contents:
    suffix = _suffix(where)
    path = Path(where)
    remote = "://" in where
    zarr = remote or path.is_dir() or suffix in ome_zarr.SUFFIXES
    if not remote and not path.exists():
        raise VolumeError("no such file or folder")
    if level and not zarr:
        raise VolumeError(f"has no resolution levels, so no level {level}")
    if dataset is not None and (zarr or suffix not in hdf5.SUFFIXES):
        raise VolumeError(f"is no HDF5 file, so it has no dataset {dataset!r}")
    if zarr:
        return ome_zarr.read(where, level)
    if not suffix:
        raise VolumeError(f"its ending is none of {', '.join(READABLE_SUFFIXES)}")
    if path.stat().st_size == 0:
        raise VolumeError("is empty")
    if suffix in mrc.SUFFIXES:
        return mrc.read(path)
    if suffix in tiff.SUFFIXES:
        return tiff.read(path)
    if suffix in nifti.SUFFIXES:
        return nifti.read(path)
    return hdf5.read(path, dataset)


def _suffix(where: str) -> str:
    """The longest known ending of a name, in lower case; empty if there is none."""
    name = where.lower()
    return max((end for end in READABLE_SUFFIXES if name.endswith(end)), key=len, default="")


def _name(where: str) -> str:
    name = where.replace("\\", "/").rsplit("/", 1)[-1]
    name = name[: len(name) - len(_suffix(name))]
    return name[:-4] if name.lower().endswith(".ome") else name


def _given_size(voxel_size: float | Triple) -> Triple:
    sizes = np.broadcast_to(np.asarray(voxel_size, dtype=float), (3,)).tolist()
    if not all(np.isfinite(size) and size > 0 for size in sizes):
        raise VolumeError(f"a voxel size must be positive, {voxel_size} is not")
    return sizes[0], sizes[1], sizes[2]
