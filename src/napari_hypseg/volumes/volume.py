"""A `Volume`: voxels in (z, y, x) with their size and place in physical space."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress, finish

__all__ = ["ArrayLike3D", "Box", "Source", "Volume", "VolumeError", "slabs"]

Box = tuple[slice, slice, slice]
Triple = tuple[float, float, float]


class VolumeError(ValueError):
    """A volume that can't be read, written or used; the message is one sentence for a person."""


class ArrayLike3D(Protocol):
    """What a volume's voxels must offer: a NumPy array, a memory map, a Zarr or an HDF5 array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along (z, y, x)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a voxel."""
        ...

    def __getitem__(self, key: Any) -> Any:
        """Voxels of a box, as something `numpy.asarray` takes."""
        ...


@dataclass(frozen=True)
class Source:
    """The file of a volume, and the part of it that is meant.

    Parameters
    ----------
    path : str
        Absolute path of the file or folder, or a URL.
    dataset : str, optional
        Name of one volume of several in the file, as `napari_hypseg.volumes.choices` lists them.
    level : int
        Resolution level of an OME-Zarr image.
    box : tuple of slice, optional
        Part of the file's volume along (z, y, x); all of it without.
    """

    path: str
    dataset: str | None = None
    level: int = 0
    box: Box | None = None


@dataclass(frozen=True)
class Volume:
    """Voxels of a tomogram, lazy where the file allows it, and where they lie in space.

    Parameters
    ----------
    data : array-like, shape (z, y, x)
        The voxels; read only in the boxes that are asked for.
    voxel_size : tuple of float
        Size of a voxel along (z, y, x), in angstrom.
    origin : tuple of float
        Position of the centre of voxel (0, 0, 0) along (z, y, x), in angstrom.
    name : str
        What a person calls it: the file's name without its ending.
    source : Source, optional
        Where the voxels can be read again; None for those that no file holds.
    doubts : tuple of str
        What makes the voxel size doubtful, so that a person should be asked for it; each completes
        the sentence "FILE: it ...". Empty where nothing does.
    """

    data: ArrayLike3D
    voxel_size: Triple = (1.0, 1.0, 1.0)
    origin: Triple = (0.0, 0.0, 0.0)
    name: str = "volume"
    source: Source | None = field(default=None, compare=False)
    doubts: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if len(self.data.shape) != 3:
            raise VolumeError(
                f"{self.name}: a volume needs 3 axes (z, y, x), "
                f"this one has shape {tuple(self.data.shape)}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (z, y, x)."""
        z, y, x = self.data.shape
        return int(z), int(y), int(x)

    def read(self, box: Box | None = None) -> npt.NDArray[Any]:
        """Voxels of ``box`` (all without one) as a NumPy array in native byte order.

        Raises
        ------
        VolumeError
            If the file that they lie in is damaged or has gone.
        """
        try:
            array = np.asarray(self.data[box if box is not None else (slice(None),) * 3])
        # Chunks are decoded by many libraries, each with errors of its own.
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0] or type(error).__name__
            raise VolumeError(f"{self.name}: its voxels can't be read, {reason}") from error
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def crop(self, box: Box) -> Volume:
        """The part inside ``box``; its origin moves with it.

        Raises
        ------
        VolumeError
            If the box holds no voxel of the volume.
        """
        spans = [s.indices(n) for s, n in zip(box, self.shape, strict=True)]
        if any(stop <= start or step != 1 for start, stop, step in spans):
            asked = ",".join(f"{s.start}:{s.stop}" for s in box)
            raise VolumeError(
                f"{self.name}: the box {asked} holds no voxel of a volume of {self.shape}"
            )
        start = [span[0] for span in spans]
        z, y, x = (o + s * v for o, s, v in zip(self.origin, start, self.voxel_size, strict=True))
        inside = (slice(*spans[0][:2]), slice(*spans[1][:2]), slice(*spans[2][:2]))
        source = self.source
        if source is not None:
            # A part of a part lies in the file's volume, too.
            base = [s.start for s in source.box or (slice(0, 0),) * 3]
            bz, by, bx = (slice(b + s.start, b + s.stop) for b, s in zip(base, inside, strict=True))
            source = replace(source, box=(bz, by, bx))
        lazy = not isinstance(self.data, np.ndarray)
        data = _Part(self.data, inside) if lazy else self.data[inside]
        return replace(self, data=data, origin=(z, y, x), source=source)

    def fingerprint(self) -> str:
        """Hash of the voxels, their type and shape (not of name or place), 16 hex digits."""
        return finish(self.fingerprint_job())

    def fingerprint_job(self) -> Job[str]:
        """The generator twin of `fingerprint`."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(f"{self.shape}{np.dtype(self.data.dtype).newbyteorder('=').str}".encode())
        for box in slabs(self.shape):
            yield Progress("reading the volume", box[0].start, self.shape[0])
            digest.update(np.ascontiguousarray(self.read(box)).data)
        return digest.hexdigest()


class _Part:
    """A box of a lazy array, as lazy as the array."""

    def __init__(self, data: ArrayLike3D, box: Box) -> None:
        self._data, self._spans = data, [range(s.start, s.stop) for s in box]
        self.shape = tuple(map(len, self._spans))
        self.dtype = data.dtype

    def __getitem__(self, key: Box) -> Any:
        inside = (span[part] for span, part in zip(self._spans, key, strict=True))
        # Stops before the first voxel, where a step runs backwards, are written as None.
        return self._data[
            tuple(slice(r.start, r.stop if r.stop >= 0 else None, r.step) for r in inside)
        ]


def slabs(shape: tuple[int, int, int], voxels: int = 1 << 24) -> Iterator[Box]:
    """Boxes of whole z-slices, about ``voxels`` in each, that together cover ``shape``."""
    depth = max(1, voxels // max(1, shape[1] * shape[2]))
    for start in range(0, shape[0], depth):
        yield slice(start, min(start + depth, shape[0])), slice(0, shape[1]), slice(0, shape[2])
