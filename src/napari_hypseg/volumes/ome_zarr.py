"""OME-Zarr images: 0.4 and 0.5 are read, 0.5 is written."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .contents import (
    Contents,
    LazyView,
    Sizes,
    depth_axes,
    in_short,
    parts,
    unnamed_axes,
    usable_size,
)
from .units import angstroms, in_angstrom
from .volume import Box, Triple, Volume, VolumeError

__all__ = ["SUFFIXES", "choices", "read", "write"]

SUFFIXES = (".zarr", ".zip")
_VERSIONS = ("0.4", "0.5")
_CHUNK = 64
# A level is halved until it fits into a viewer's window.
_COARSEST = 256


def read(where: str, level: int = 0, chosen: str | None = None) -> Contents:
    """One resolution level of an OME-Zarr image, or a bare array, read in chunks when asked for.

    Parameters
    ----------
    where : str
        Folder, ``.zip`` file or URL of the image.
    level : int
        Which level, 0 being the finest.
    chosen : str, optional
        One of the `choices`.

    Raises
    ------
    VolumeError
        If it is no valid OME-Zarr image of version 0.4 or 0.5, holds several images, or isn't
        one 3D volume.

    References
    ----------
    Moore et al., "OME-Zarr: a cloud-optimized bioimaging file format", Histochem. Cell Biol. 160
    (2023) 223-251, and the specification at ngff.openmicroscopy.org.
    """
    from .zarr_store import open_zarr

    node: Any
    try:
        node = open_zarr(where)
    except FileNotFoundError:
        node = None
    if hasattr(node, "shape"):
        return _bare(node, level, chosen)
    attributes = {} if node is None else _attributes(node)
    if node is None or "multiscales" not in attributes:
        node, chosen = _image_in(where, attributes, chosen)
        attributes = _attributes(node)

    image = attributes["multiscales"]
    if not image:
        raise VolumeError("is no valid OME-Zarr image: its list of multiscales is empty")
    image = image[0]
    version = str(attributes.get("version", image.get("version", "0.4")))
    if version not in _VERSIONS:
        raise VolumeError(
            f"is OME-Zarr {version}, which can't be read yet; "
            f"{' and '.join(_VERSIONS)} can (convert it with ome-zarr-py, say)"
        )
    axes, levels = image["axes"], image["datasets"]
    if not 0 <= level < len(levels):
        raise VolumeError(f"has {len(levels)} resolution levels, there is no level {level}")
    arrays = [_array(node, entry["path"]) for entry in levels]
    if any(array.ndim != len(axes) for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise VolumeError(
            f"is no valid OME-Zarr image: it names {len(axes)} axes, "
            f"its levels have shapes {shapes}"
        )
    # All names but those of t, c, z, y and x are free; they matter only where longer than 1.
    names = "".join(str(axis["name"]).lower()[:1] for axis in axes)
    order, at = depth_axes(names, arrays[level].shape, chosen=chosen)
    sizes, origin, doubts = _place(image, level, order)
    return Contents(LazyView(arrays[level], order, at), sizes, origin, doubts=doubts)


def choices(where: str) -> list[str]:
    """Names of the volumes in a folder, ``.zip`` file or URL: of its images, channels and times.

    None of a single volume.
    """
    from .zarr_store import open_zarr

    if Path(where).is_dir() and len(inside := _images(where)) > 1:
        return list(inside)
    node: Any = open_zarr(where)
    if hasattr(node, "shape"):
        known = list(unnamed_axes("", node.shape))
        return known if len(known) > 1 else []
    attributes = _attributes(node)
    if "multiscales" not in attributes:
        return []
    image = attributes["multiscales"][0]
    names = "".join(str(axis["name"]).lower()[:1] for axis in image["axes"])
    return parts(names, _array(node, image["datasets"][0]["path"]).shape)


def _bare(array: Any, level: int, chosen: str | None) -> Contents:
    """An array without metadata."""
    known = unnamed_axes("", array.shape)
    if level:
        raise VolumeError(f"is a bare Zarr array, there is no level {level}")
    if not known:
        raise VolumeError(f"is a Zarr array of shape {array.shape}, a volume has 3 axes")
    if chosen is None and len(known) > 1:
        raise VolumeError(
            f"is a Zarr array of {len(known)} volumes, choose one as its dataset: "
            f"{in_short(list(known))}"
        )
    if chosen is None:
        chosen = next(iter(known))
    if chosen not in known:
        raise VolumeError(f"has no part {chosen!r}; it has {in_short(list(known))}")
    axes, at = known[chosen]
    return Contents(LazyView(array, axes, at))


def _attributes(node: Any) -> dict[str, Any]:
    """OME metadata of a group: under "ome" since 0.5, bare before."""
    attributes = dict(node.attrs)
    return dict(attributes.get("ome", attributes))


def _array(node: Any, path: str) -> Any:
    try:
        array = node[path]
    except KeyError:
        array = None
    if not hasattr(array, "shape"):
        raise VolumeError(f"is no valid OME-Zarr image: its level {path!r} is missing")
    return array


def _image_in(where: str, attributes: dict[str, Any], chosen: str | None) -> tuple[Any, str | None]:
    """The image of a name inside a folder, or the only one, and what is chosen of its parts."""
    if "plate" in attributes:
        wells = [well["path"] for well in attributes["plate"].get("wells", [])]
        raise VolumeError(f"is a plate, give one image of its wells {', '.join(wells)}")
    inside = _images(where)
    if chosen in inside:
        return inside[chosen], None
    if len(inside) > 1:
        raise VolumeError(f"holds {len(inside)} images, choose one: {', '.join(inside)}")
    if not inside:
        raise VolumeError("is no OME-Zarr image: it has no multiscales metadata")
    return next(iter(inside.values())), chosen


def _images(where: str) -> dict[str, Any]:
    """The images inside a folder, by name."""
    from .zarr_store import open_zarr

    inside = {}
    for child in sorted(Path(where).iterdir()) if Path(where).is_dir() else []:
        if not any((child / name).is_file() for name in ("zarr.json", ".zattrs")):
            continue
        try:
            node = open_zarr(child)
        except (FileNotFoundError, VolumeError):
            continue
        if "multiscales" in _attributes(node):
            inside[child.name] = node
    return inside


def _place(
    image: dict[str, Any], level: int, order: tuple[int, int, int]
) -> tuple[Sizes, Triple, tuple[str, ...]]:
    """Voxel size and origin in angstrom, (z, y, x), and what is doubtful about the size."""
    scale = np.ones(len(image["axes"]))
    translation = np.zeros(len(image["axes"]))
    # First those of the level, then those of the whole image.
    for step in itertools.chain(
        image["datasets"][level]["coordinateTransformations"],
        image.get("coordinateTransformations", []),
    ):
        if step["type"] == "scale" and "scale" in step:
            scale = scale * step["scale"]
            translation = translation * step["scale"]
        # Some writers leave the type of a translation out.
        elif "translation" in step:
            translation = translation + step["translation"]
        elif step["type"] != "identity":
            raise VolumeError(f"has a coordinate transformation of type {step['type']!r}")
    doubts: tuple[str, ...] = ()
    sizes, origin = [], []
    for axis in order:
        unit = angstroms(str(image["axes"][axis].get("unit", "")))
        if unit is None:
            unit = 1.0
            doubts = ("gives no unit of length for its axes, its sizes are read as angstrom",)
        sizes.append(usable_size(in_angstrom(scale[axis], unit)))
        origin.append(in_angstrom(translation[axis], unit))
    return (sizes[0], sizes[1], sizes[2]), (origin[0], origin[1], origin[2]), doubts


def write(
    path: Path, volume: Volume, *, labels: bool, classes: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write a volume as OME-Zarr 0.5 with levels halved down to 256 voxels, chunk by chunk.

    Version 0.5 is what ome-zarr-py writes by default and what its napari plugin and
    neuroglancer read.

    Parameters
    ----------
    path : Path
        The folder to make.
    volume : Volume
        Any type of voxel.
    labels : bool
        Whether voxels are labels: levels then keep every other voxel, those of images average
        blocks of 2x2x2, whose centres the translation of the level follows.
    classes : sequence of mapping
        Of each label its ``label``, ``colour`` ("#rrggbb") and other properties.
    """
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3)
    datasets: list[dict[str, Any]] = []
    size, origin = np.array(volume.voxel_size), np.array(volume.origin)
    source: Any = volume
    shape = volume.shape
    for level in itertools.count():
        array = group.create_array(
            str(level),
            shape=shape,
            dtype=volume.data.dtype.newbyteorder("="),
            chunks=tuple(min(_CHUNK, n) for n in shape),
            dimension_names=("z", "y", "x"),
        )
        for box in _blocks(shape):
            array[box] = source.read(box) if level == 0 else _halved(source, box, labels)
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": size.tolist()},
                    {"type": "translation", "translation": origin.tolist()},
                ],
            }
        )
        if max(shape) <= _COARSEST:
            break
        factor = np.where(np.array(shape) > 1, 2, 1)
        if not labels:
            origin = origin + (factor - 1) * size / 2
        size = size * factor
        z, y, x = (-(-n // int(f)) for n, f in zip(shape, factor, strict=True))
        source, shape = array, (z, y, x)
    axes = [{"name": name, "type": "space", "unit": "angstrom"} for name in "zyx"]
    image = {"name": volume.name, "axes": axes, "datasets": datasets}
    ome: dict[str, Any] = {"version": "0.5", "multiscales": [image]}
    group.attrs["ome"] = ome | ({"image-label": _image_label(classes)} if labels else {})


def _image_label(classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Colours and properties of labels, as the format has them."""
    if not classes:
        return {}
    return {
        "colors": [
            {"label-value": c["label"], "rgba": [*bytes.fromhex(c["colour"][1:]), 255]}
            for c in classes
        ],
        "properties": [
            {"label-value": c["label"], **{k: v for k, v in c.items() if k != "label"}}
            for c in classes
        ],
    }


def _blocks(shape: tuple[int, int, int], side: int = 2 * _CHUNK) -> Iterator[Box]:
    """Boxes of whole chunks that cover a shape."""
    spans = ([slice(i, min(i + side, n)) for i in range(0, n, side)] for n in shape)
    yield from itertools.product(*spans)


def _halved(finer: Any, box: Box, labels: bool) -> Any:
    """Voxels of a box of the next coarser level."""
    fine = finer[tuple(slice(2 * s.start, 2 * s.stop) for s in box)]
    if labels:
        return fine[::2, ::2, ::2]
    # A lone last slice of an odd axis stands for itself.
    odd = [(0, n % 2) for n in fine.shape]
    sums = np.pad(fine, odd, mode="edge").astype(np.float64)
    for axis in range(3):
        sums = np.add.reduceat(sums, np.arange(0, sums.shape[axis], 2), axis=axis)
    mean = sums / 8
    return (np.rint(mean) if fine.dtype.kind in "iub" else mean).astype(fine.dtype)
