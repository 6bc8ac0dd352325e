"""HDF5 files: one volume in a dataset, by name where there are several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .contents import Contents, LazyView, Sizes, in_short, unnamed_axes, usable_size
from .units import angstroms, in_angstrom
from .volume import VolumeError

__all__ = ["SUFFIXES", "choices", "read"]

SUFFIXES = (".h5", ".hdf5", ".hdf")


def read(path: Path, dataset: str | None = None) -> Contents:
    """A volume in a dataset, read in boxes when it is asked for.

    Parameters
    ----------
    path : Path
        The file.
    dataset : str, optional
        One of the `choices`; needed where the file has several. Of a dataset with three axes, but
        for those of length 1, the name is enough.

    Returns
    -------
    Contents
        With the voxel size of the attribute ``element_size_um`` (z, y, x, in micrometres), as
        ilastik and ImageJ's HDF5 plugin write it, or of EMAN2's ``EMAN.apix_x`` and so on.

    Raises
    ------
    VolumeError
        If there is no such dataset, none that holds a volume, or more than one to choose from.
    """
    import h5py

    file = h5py.File(path, "r")
    try:
        found = _datasets(file)
        name, view = _chosen(found, dataset)
    except BaseException:
        file.close()
        raise
    return Contents(view, _voxel_size(found[name]))


def choices(path: Path) -> list[str]:
    """Names of the volumes in a file; ``name[:, 1]`` is the part of a dataset of more axes."""
    import h5py

    with h5py.File(path, "r") as file:
        return [
            name for key, node in _datasets(file).items() for name in unnamed_axes(key, node.shape)
        ]


def _datasets(file: Any) -> dict[str, Any]:
    """All datasets by name."""
    import h5py

    found: dict[str, Any] = {}

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.shape is not None:
            found[name] = node

    file.visititems(collect)
    return found


def _chosen(found: dict[str, Any], dataset: str | None) -> tuple[str, LazyView]:
    """Name of a dataset, and the volume in it that was chosen or is the only one."""
    known = {
        name: (key, axes, at)
        for key, node in found.items()
        for name, (axes, at) in unnamed_axes(key, node.shape).items()
    }
    shapes = ", ".join(f"{name} {node.shape}" for name, node in found.items()) or "none at all"
    wanted = None if dataset is None else dataset.strip("/")
    if wanted is None and len(known) == 1:
        (wanted,) = known
    if wanted is None and known:
        raise VolumeError(
            f"holds {len(known)} volumes, choose one as its dataset: {in_short(list(known))}"
        )
    if wanted is None:
        raise VolumeError(f"has no dataset of 3 axes; it has {shapes}")
    if wanted not in known and wanted in found:
        inside = [name for name, (key, *_) in known.items() if key == wanted]
        hint = f"; choose {in_short(inside)}" if inside else ""
        raise VolumeError(
            f"has a dataset {dataset!r} of shape {found[wanted].shape}, a volume has 3 axes{hint}"
        )
    if wanted not in known:
        raise VolumeError(f"has no dataset {dataset!r}; it has {shapes}")
    key, axes, at = known[wanted]
    return key, LazyView(found[key], axes, at)


def _voxel_size(dataset: Any) -> Sizes:
    """What the attributes of a dataset, or of its group, say, in angstrom."""
    sizes = np.ravel(dataset.attrs.get("element_size_um", ()))
    if sizes.size == 3 and sizes.dtype.kind in "iuf":
        unit = angstroms("um") or 1.0
        z, y, x = (usable_size(in_angstrom(size, unit)) for size in sizes)
        return z, y, x
    eman = [np.ravel(dataset.parent.attrs.get(f"EMAN.apix_{name}", ())) for name in "zyx"]
    if all(size.size == 1 and size.dtype.kind in "iuf" for size in eman):
        z, y, x = (usable_size(in_angstrom(size[0], 1.0)) for size in eman)
        return z, y, x
    return None, None, None
