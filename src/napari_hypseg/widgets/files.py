"""Files for napari: volumes by drag and drop, layers by File > Save."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_hypseg.session.places import reread_volume
from napari_hypseg.session.record import SESSION_FILE, read_record
from napari_hypseg.volumes import (
    READABLE_SUFFIXES,
    Volume,
    choices,
    read_volume,
    write_image,
    write_labels,
)
from napari_hypseg.widgets.layers import DOUBTS_KEY, SESSION_KEY, LayerData, layer_of, volume_of

__all__ = ["get_reader", "save_image", "save_labels"]

# What the names of label files and of the folders above them hold. Tomograms are named so, too
# (immunolabelled), and are whole numbers: so the values decide.
_LABEL_WORDS = ("label", "leaves", "mask", "segmentation", "truth")
# Labels are few, ...
_FEW = 64
# ... or, where they number many things, next to their like: so many voxels equal the next one.
_ALIKE = 0.75


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """The function that opens a path, if it is a volume's.

    Parameters
    ----------
    path : str or list of str
        A file, the folder of an OME-Zarr image or of labels inside one, or the folder of a session.
        Stacks of files and other folders are left to others.

    Examples
    --------
    >>> get_reader("tomogram.mrc").__name__, get_reader("notes.txt")
    ('_read', None)
    """
    if isinstance(path, list):
        return None
    if os.path.isfile(os.path.join(path, SESSION_FILE)):
        return _read_session
    if os.path.isdir(path):
        return _read if _is_zarr(Path(path)) else None
    return _read if path.lower().rstrip("/\\").endswith(READABLE_SUFFIXES) else None


def _is_zarr(folder: Path) -> bool:
    """Whether a folder is a store, or an image or labels inside one."""
    stores = [each for each in (folder, *folder.parents) if each.suffix.lower() == ".zarr"]
    marks = ("zarr.json", ".zgroup", ".zarray")
    # A store that is damaged is still ours to complain about; what lies in one has its metadata.
    return bool(stores) and (
        stores[0] == folder or any((folder / name).is_file() for name in marks)
    )


def _read(path: str) -> list[LayerData]:
    import napari

    dataset, among = None, choices(path)
    # Without a window a sentence says which there are.
    if among and napari.current_viewer() is not None:
        from napari_hypseg.widgets.parts import choose

        dataset = choose(f"{Path(path).name} holds several volumes: which one?", among)
        if dataset is None:
            # How a reader tells napari that there is nothing to show.
            return [(None,)]  # type: ignore[list-item]
    volume = read_volume(path, dataset=dataset)
    place = Path(path)
    named_so = any(w in volume.name.lower() for w in _LABEL_WORDS) or place.parent.name == "labels"
    return [layer_of(volume, "labels" if named_so and _are_labels(volume) else "image")]


def _are_labels(volume: Volume) -> bool:
    """Whether the voxels are those of labels, as three slices tell."""
    if volume.data.dtype.kind not in "biu":
        return False
    depth, height, width = volume.shape
    for z in sorted({depth // 4, depth // 2, 3 * depth // 4}):
        plane = volume.read((slice(z, z + 1), slice(0, height), slice(0, width)))[0]
        alike = width > 1 and float((plane[:, 1:] == plane[:, :-1]).mean()) >= _ALIKE
        if plane.min() < 0 or not (alike or len(np.unique(plane)) <= _FEW):
            return False
    return True


def _read_session(path: str) -> list[LayerData]:
    """The volume of a session; once it is shown, the docks take the session up."""
    import napari

    folder, viewer, online = Path(path), napari.current_viewer(), False
    known = read_record(folder).volume
    if viewer is not None:
        from napari_hypseg.widgets.reopen import may_contact, take_up_soon

        # A session of somebody else may name any URL.
        if known.place is not None and "://" in known.place.path:
            online = may_contact(known.place.path, folder)
    volume = reread_volume(folder, known, online=online)
    if viewer is not None:
        take_up_soon(viewer, folder)
    # The session keeps the voxel size that a person has found right.
    return [layer_of(volume, metadata={SESSION_KEY: str(folder), DOUBTS_KEY: ()})]


def save_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an image layer with its voxel size and origin.

    Parameters
    ----------
    path : str
        ``.mrc``, ``.tif``, ``.tiff`` or ``.zarr``.
    data, attributes
        As napari hands a layer to a writer.
    """
    volume = volume_of(data, attributes)
    write_image(Path(path), volume.data, volume)
    return [path]


def save_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a labels layer with its voxel size and origin, in the smallest type that holds it.

    Of labels that have names, a column ``class`` of the layer's features, they and the colours are
    written too. The arguments are those of `save_image`.
    """
    volume, named = volume_of(data, attributes), attributes.get("features")
    classes = None
    if named is not None and {"index", "class"} <= set(named):
        classes = [
            {"label": int(label), "name": str(name), "colour": _colour_of(label, attributes)}
            for label, name in zip(named["index"], named["class"], strict=True)
        ]
    write_labels(Path(path), volume.data, volume, classes=classes)
    return [path]


def _colour_of(label: int, attributes: Mapping[str, Any]) -> str:
    rgba = attributes["colormap"].map(np.array([label], np.uint8))[0]
    return "#" + "".join(f"{round(255 * float(value)):02x}" for value in rgba[:3])
