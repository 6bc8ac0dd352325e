"""`Latents`: one latent point per voxel, in a chunked Zarr store that knows what it belongs to."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.codecs

from napari_hypseg.volumes.atomic import remove
from napari_hypseg.volumes.volume import Volume, VolumeError
from napari_hypseg.volumes.zarr_store import open_zarr

__all__ = ["Latents", "find_latents", "open_latents"]

FORMAT_VERSION = 4
# Chunks of about 130,000 points: a second or two of mapping on a laptop, so that an interrupted
# run loses little, and few enough files for a whole tomogram.
_CHUNK = (32, 64, 64)
# What does not change the points.
_DESCRIBING = {"name", "voxel_size", "origin"}


@dataclass(frozen=True)
class Latents:
    """The latent points of a volume's voxels.

    Attributes
    ----------
    array : zarr.Array, shape (z, y, x, d), float32
        Points in the Poincare ball (or R^d), one chunk at a time on disk.
    voxel_size, origin : tuple of float
        Of the points' lattice, along (z, y, x), in angstrom: with a stride the voxel size is that
        many times the volume's.
    name : str
        The volume's name.
    geometry : str
        "hyperbolic" or "euclidean".
    curvature : float
        The ball has curvature ``-curvature``.
    """

    array: zarr.Array[Any]
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    name: str
    geometry: str
    curvature: float

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of points along (z, y, x)."""
        z, y, x, _ = self.array.shape
        return z, y, x

    @property
    def dim(self) -> int:
        """Dimension d of the latent space."""
        return int(self.array.shape[3])

    def read(self, box: tuple[slice, ...] = ()) -> npt.NDArray[np.float32]:
        """Points of a box, shape (z, y, x, d); NaN where none has been mapped yet.

        Raises
        ------
        VolumeError
            If the store is damaged or has gone.
        """
        try:
            return np.asarray(self.array[box], dtype=np.float32)
        # The codecs of a chunk raise whatever their libraries do.
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise VolumeError(
                f"{self.name}: its latent points can't be read, {reason[:200]}"
            ) from error

    def read_all(self, box: tuple[slice, ...] = ()) -> npt.NDArray[np.float32]:
        """Points of a box in which none may be missing, shape (z, y, x, d).

        Raises
        ------
        VolumeError
            If one is, or the store is damaged.
        """
        points = self.read(box)
        if np.isnan(points).any():
            raise VolumeError(f"{self.name}: some latent points are missing, map its voxels anew")
        return points

    def chunk_boxes(self) -> Iterator[tuple[slice, slice, slice]]:
        """Box of every chunk of the store."""
        sizes = self.array.chunks[:3]
        counts = [math.ceil(n / c) for n, c in zip(self.shape, sizes, strict=True)]
        for index in np.ndindex(*counts):
            z, y, x = (
                slice(i * c, min((i + 1) * c, n))
                for i, c, n in zip(index, sizes, self.shape, strict=True)
            )
            yield z, y, x

    def has(self, box: tuple[slice, slice, slice]) -> bool:
        """Whether all points of a box are there, in chunks with the right checksum."""
        try:
            return not bool(np.isnan(self.read(box)).any())
        except VolumeError:
            return False

    @property
    def identity(self) -> dict[str, Any]:
        """What the points are, whatever their volume is called and wherever it lies."""
        return _identity(dict(self.array.attrs))

    def placed(self, volume: Volume) -> Latents:
        """The same points at the place of a volume of the same voxels.

        Parameters
        ----------
        volume : Volume
            With another name, voxel size or origin.
        """
        spans: Any = self.array.attrs["box"]
        stride: Any = self.array.attrs["stride"]
        z, y, x = volume.voxel_size
        corner = volume.crop(tuple(slice(*span) for span in spans)).origin  # type: ignore[arg-type]
        size = (stride * z, stride * y, stride * x)
        return replace(self, voxel_size=size, origin=corner, name=volume.name)

    def as_volume(self) -> Volume:
        """A volume without voxels at the points' lattice, for writing labels beside it."""
        nothing = np.broadcast_to(np.uint8(0), self.shape)
        return Volume(nothing, self.voxel_size, self.origin, self.name)


def open_latents(
    path: str | os.PathLike[str] | None,
    shape: tuple[int, int, int, int],
    attributes: dict[str, Any],
) -> Latents:
    """Open the store at ``path`` if it holds these latents, or make it anew.

    Parameters
    ----------
    path : path or None
        A folder; None keeps the store in memory.
    shape : tuple of int
        (z, y, x, d).
    attributes : dict
        What the latents are: fingerprints of volume and model, the volume's normalisation, box,
        stride, voxel size, origin, name, geometry, curvature. A store with other attributes is
        replaced.

    Raises
    ------
    VolumeError
        If something else than a store of latents is in the way.
    """
    attributes = {"hypseg_latents": FORMAT_VERSION, **attributes}
    chunks = (*(min(c, n) for c, n in zip(_CHUNK, shape[:3], strict=True)), shape[3])
    array = None
    if path is not None and os.path.lexists(path):
        path = Path(path)
        try:
            found = open_zarr(path, "r+")
        except (VolumeError, OSError):
            found = None
        if found is None or "hypseg_latents" not in found.attrs:
            # A folder that zarr can't open may be ours, killed while it was being made.
            if not path.is_dir() or any(p.suffix != ".partial" for p in path.iterdir()):
                raise VolumeError(f"{path}: something else than a store of latents is in the way")
        elif (
            isinstance(found, zarr.Array)
            and found.shape == shape
            and _identity(dict(found.attrs)) == _identity(attributes)
            and found.chunks == chunks
            and found.dtype == np.float32
            and np.isnan(found.fill_value)
        ):
            array = found
            if dict(found.attrs) != attributes:
                array = found.update_attributes(attributes)
            for left in path.rglob("*.partial"):
                left.unlink()
        if array is None:
            remove(path)
    if array is None:
        array = zarr.create_array(
            zarr.storage.MemoryStore() if path is None else path,
            shape=shape,
            chunks=chunks,
            dtype="float32",
            fill_value=float("nan"),
            attributes=attributes,
            compressors=[zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()],
        )
    return _latents(array, attributes)


def find_latents(path: str | os.PathLike[str]) -> Latents:
    """The latents of a store, whatever they belong to; what that is, its attributes tell.

    Raises
    ------
    VolumeError
        If it is no store of latents, one of another version, or a damaged one.
    """
    try:
        array = open_zarr(path, "r+")
        attributes = dict(array.attrs)
        if attributes["hypseg_latents"] != FORMAT_VERSION or not isinstance(array, zarr.Array):
            raise ValueError
        return _latents(array, attributes)
    except (ValueError, KeyError, TypeError, OSError) as error:
        why = f" ({error})" if isinstance(error, VolumeError) else ""
        raise VolumeError(
            f"{path}: is no store of latent points of this version, or damaged{why}"
        ) from None


def _identity(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key not in _DESCRIBING}


def _latents(array: zarr.Array[Any], attributes: dict[str, Any]) -> Latents:
    """Latents of a store.

    Raises
    ------
    ValueError, TypeError, KeyError
        If an attribute makes no sense.
    """
    z, y, x = (float(size) for size in attributes["voxel_size"])
    place = tuple(float(c) for c in attributes["origin"])
    name, geometry = attributes["name"], attributes["geometry"]
    curvature = float(attributes["curvature"])
    if (
        array.ndim != 4
        or array.dtype != np.float32
        or len(place) != 3
        or not all(math.isfinite(c) for c in place)
        or not all(0 < n < math.inf for n in (z, y, x, curvature))
        or not isinstance(name, str)
        or geometry not in ("hyperbolic", "euclidean")
    ):
        raise ValueError("its attributes make no sense")
    return Latents(array, (z, y, x), place, name, geometry, curvature)
