"""Files for napari: volumes by drag and drop, layers by File > Save."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from napari_hypseg.session import SESSION_FILE, read_record
from napari_hypseg.session.places import reread_volume
from napari_hypseg.volumes import READABLE_SUFFIXES, read_volume, write_image, write_labels
from napari_hypseg.widgets.layers import SESSION_KEY, LayerData, layer_of, volume_of

__all__ = ["get_reader", "save_image", "save_labels"]

# What the names of label files hold; whole numbers alone don't tell, tomograms are such too.
_LABEL_WORDS = ("label", "leaves", "segmentation", "truth")


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """The function that opens a path, if it is a volume's.

    Parameters
    ----------
    path : str or list of str
        A file, the folder of an OME-Zarr image, or the folder of a session. Stacks of files and
        other folders are left to others.

    Examples
    --------
    >>> get_reader("tomogram.mrc").__name__, get_reader("notes.txt")
    ('_read', None)
    """
    if not isinstance(path, list) and os.path.isfile(os.path.join(path, SESSION_FILE)):
        return _read_session
    if isinstance(path, list) or not str(path).lower().rstrip("/\\").endswith(READABLE_SUFFIXES):
        return None
    if os.path.isdir(path) and not str(path).lower().rstrip("/\\").endswith(".zarr"):
        return None
    return _read


def _read(path: str) -> list[LayerData]:
    volume = read_volume(path)
    named_so = any(word in volume.name.lower() for word in _LABEL_WORDS)
    labels = named_so and volume.data.dtype.kind in "biu"
    return [layer_of(volume, "labels" if labels else "image")]


def _read_session(path: str) -> list[LayerData]:
    """The volume of a session; once it is shown, the docks take the session up."""
    import napari

    volume = reread_volume(Path(path), read_record(path).volume)
    viewer = napari.current_viewer()
    if viewer is not None:
        from napari_hypseg.widgets.reopen import take_up_soon

        take_up_soon(viewer, Path(path))
    return [layer_of(volume, metadata={SESSION_KEY: path})]


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
