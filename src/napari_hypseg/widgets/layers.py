"""Volumes as napari layers and back: voxel size on the scale, origin on the translation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes import Volume, VolumeError
from napari_hypseg.volumes.contents import LazyView
from napari_hypseg.volumes.units import angstroms, in_angstrom
from napari_hypseg.volumes.volume import slabs

__all__ = [
    "DOUBTS_KEY",
    "MADE_KEY",
    "SESSION_KEY",
    "LayerData",
    "data_point",
    "gather_job",
    "layer_of",
    "place_of",
    "place_on",
    "shown_volume",
    "through",
    "volume_of",
    "voxels_replaced",
    "warp_of",
]

LayerData = tuple[Any, dict[str, Any], Literal["image", "labels"]]

# Bytes up to which a volume is read at once; larger ones stay on disk.
_AT_ONCE = 1 << 27
# Voxels that are computed together.
_SLAB = 1 << 21
_SOURCE = "napari_hypseg.source"
#: In the metadata of a layer: the folder of its session, once one is opened.
SESSION_KEY = "napari_hypseg.session"
#: In the metadata of a layer: a dock made it, so it is no tomogram to begin with.
MADE_KEY = "napari_hypseg.made"
#: In the metadata of a layer: what its file leaves in doubt about the voxel size.
DOUBTS_KEY = "napari_hypseg.doubts"
# Planes that are read together of what stays on disk.
_PLANES = 16


def place_of(volume: Volume) -> dict[str, Any]:
    """Keywords that put a layer where a volume lies; `place_on` if it is made of another layer.

    Parameters
    ----------
    volume : Volume
        Only its voxel size and origin count.

    Examples
    --------
    >>> place_of(Volume(np.zeros((1, 2, 3)), (10.0, 10.0, 10.0), (5.0, 0.0, 0.0)))["translate"]
    (5.0, 0.0, 0.0)
    """
    return {
        "scale": volume.voxel_size,
        "translate": volume.origin,
        "units": ("angstrom",) * 3,
        "axis_labels": ("z", "y", "x"),
    }


def layer_of(volume: Volume, kind: Literal["image", "labels"] = "image", **more: Any) -> LayerData:
    """What napari makes a layer of.

    Parameters
    ----------
    volume : Volume
        The voxels: in memory where they are there or fit easily, else as a dask array.
    kind : {"image", "labels"}
        Labels must be whole numbers.
    **more
        Further keywords of the layer.
    """
    data: Any = volume.data
    if not isinstance(data, np.ndarray):
        if math.prod(volume.shape) * np.dtype(data.dtype).itemsize <= _AT_ONCE:
            data = volume.read()
        else:
            # napari brings dask along, nothing else here needs it.
            import dask.array

            data = dask.array.from_array(data, chunks=(_PLANES, -1, -1))
    if kind == "labels" and data.dtype.kind == "b":
        data = data.astype(np.uint8)
    keywords = {"name": volume.name, **place_of(volume), **more}
    if volume.source is not None:
        # Where a session finds the voxels again; the layer's own source is napari's.
        known = {_SOURCE: volume.source, DOUBTS_KEY: volume.doubts}
        keywords["metadata"] = known | more.get("metadata", {})
    return data, keywords, kind


def gather_job(volume: Volume) -> Job[LayerData]:
    """Compute the voxels of a lazy volume, then make a layer of it, as a job.

    Parameters
    ----------
    volume : Volume
        One too large for memory stays as it is: napari computes the slices that it shows.
    """
    size = math.prod(volume.shape)
    data: Any = volume.data
    if size * np.dtype(data.dtype).itemsize <= _AT_ONCE:
        data = np.empty(volume.shape, data.dtype)
        for box in slabs(volume.shape, _SLAB):
            yield Progress(volume.name, math.prod(volume.shape[1:]) * box[0].start, size)
            data[box] = volume.read(box)
    return layer_of(replace(volume, data=data))


def volume_of(data: Any, attributes: Mapping[str, Any]) -> Volume:
    """The volume that a layer shows, its voxel size and origin in angstrom.

    Parameters
    ----------
    data : array-like, shape (z, y, x), or sequence of them
        The layer's data; of a multiscale layer the finest level. Axes of length 1 may come before.
    attributes : mapping
        Its ``name``, ``scale``, ``translate``, ``units`` and ``metadata``. Lengths in pixels, the
        layer's scale having never been set, count as angstrom. Of a negative scale the size
        counts: `warp_of` has the rest.

    Raises
    ------
    VolumeError
        If the layer has other than 3 axes.

    Examples
    --------
    >>> volume_of(np.zeros((1, 2, 3)), {"name": "a", "scale": (2, 1, 1), "units": "nm"}).voxel_size
    (20.0, 10.0, 10.0)
    """
    name = str(attributes.get("name", "layer"))
    if attributes.get("multiscale") or isinstance(data, list | tuple):
        data = data[0]
    shape = tuple(data.shape)
    before = len(shape) - 3
    if before < 0 or attributes.get("rgb") or not set(shape[:before]) <= {1}:
        raise VolumeError(
            f"{name}: a volume needs 3 axes (z, y, x) of one value each, this layer has shape "
            f"{shape}"
        )
    if before:
        array = isinstance(data, np.ndarray)
        data = (
            data.reshape(shape[-3:]) if array else LazyView(data, (before, before + 1, before + 2))
        )
    units = attributes.get("units") or "angstrom"
    each = (units,) * 3 if isinstance(units, str) else tuple(units)[-3:]
    lengths = [angstroms(str(unit)) or 1.0 for unit in each]

    def triple(key: str, default: float) -> tuple[float, float, float]:
        given = attributes.get(key)
        values = np.full(3, default) if given is None else np.asarray(given, float)[-3:]
        z, y, x = (in_angstrom(v, u) for v, u in zip(values.tolist(), lengths, strict=True))
        return z, y, x

    metadata = attributes.get("metadata") or {}
    z, y, x = map(abs, triple("scale", 1.0))
    return Volume(
        data, (z, y, x), triple("translate", 0.0), name, metadata.get(_SOURCE),
        metadata.get(DOUBTS_KEY, ()),
    )  # fmt: skip


def shown_volume(layer: Any) -> Volume:
    """The volume that a layer in a viewer shows; the errors are those of `volume_of`."""
    return volume_of(
        layer.data,
        {"name": layer.name, "scale": layer.scale, "translate": layer.translate,
         "units": layer.units, "multiscale": layer.multiscale, "rgb": getattr(layer, "rgb", False),
         "metadata": layer.metadata},
    )  # fmt: skip


def voxels_replaced(layer: Any) -> None:
    """Note that a layer no longer shows what it was opened from."""
    for key in (_SOURCE, SESSION_KEY, DOUBTS_KEY):
        layer.metadata.pop(key, None)


def warp_of(layer: Any) -> npt.NDArray[np.float64]:
    """How a layer lies in the world beyond what its volume tells.

    A volume has a voxel size and an origin; a layer can be turned, sheared and mirrored, too.

    Parameters
    ----------
    layer : napari Image layer

    Returns
    -------
    array, shape (4, 4)
        From the place that the volume gives to the place in the world, both along (z, y, x) in
        the layer's units; the identity for most.
    """

    def world(corner: Any) -> npt.NDArray[np.float64]:
        index = np.zeros(layer.ndim)
        index[-3:] = corner
        found: npt.NDArray[np.float64] = np.asarray(layer.data_to_world(index), float)[-3:]
        return found

    steps, warp = np.eye(3), np.eye(4)
    origin = world(np.zeros(3))
    axes = np.stack([(world(step) - origin) for step in steps], axis=1)
    warp[:3, :3] = axes / np.abs(layer.scale[-3:])
    warp[:3, 3] = origin - warp[:3, :3] @ layer.translate[-3:]
    # What is left of rounding would make napari resample every slice.
    return np.eye(4) if np.allclose(warp, np.eye(4), atol=1e-9) else warp


def place_on(layer: Any, volume: Volume) -> dict[str, Any]:
    """Keywords that put a layer over another one of whose volume it is made.

    It is turned and mirrored like that one, and has its units: napari goes over to other units,
    and to another slice with that, when its layers have several.

    Parameters
    ----------
    layer : napari Image layer or None
        Without it the volume's own place counts.
    volume : Volume
        The lattice of the layer to make; only its voxel size and origin count.
    """
    place = place_of(volume)
    if layer is not None:
        units = layer.units[-3:]
        lengths = np.array([angstroms(str(unit)) or 1.0 for unit in units])
        place |= {
            "scale": volume.voxel_size / lengths, "translate": volume.origin / lengths,
            "units": units, "affine": warp_of(layer),
        }  # fmt: skip
    return place


def through(viewer: Any) -> int:
    """The axis, of (z, y, x), that goes through the slices that a viewer shows."""
    dims = viewer.dims
    first = dims.ndim - 3
    hidden = [axis - first for axis in dims.order[:-2] if axis >= first]
    return int(hidden[-1]) if hidden else 0


def data_point(viewer: Any, layer: Any) -> npt.NDArray[np.float64]:
    """Where the slices on show meet, in voxels of a layer, along (z, y, x).

    The viewer counts in a unit of its own if its layers have several.
    """
    point = np.asarray(viewer.dims.point, float)
    for axis in range(1, min(len(point), layer.ndim) + 1):
        ours, theirs = angstroms(str(layer.units[-axis])), angstroms(str(viewer.dims.units[-axis]))
        if ours and theirs:
            point[-axis] *= theirs / ours
    return np.asarray(layer.world_to_data(point), float)[-3:]
