"""HDF5 files: one 3D dataset, by name where there are several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .contents import Contents, usable_size
from .units import angstroms, in_angstrom
from .volume import VolumeError

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".h5", ".hdf5", ".hdf")


def read(path: Path, dataset: str | None = None) -> Contents:
    """A 3D dataset, read in boxes when they are asked for.

    Parameters
    ----------
    path : Path
        The file.
    dataset : str, optional
        Name of the dataset inside; needed where the file has several of three axes.

    Returns
    -------
    Contents
        With the voxel size of the attribute ``element_size_um`` (z, y, x, in micrometres), as
        ilastik and ImageJ's HDF5 plugin write it.

    Raises
    ------
    VolumeError
        If there is no such dataset, none of three axes, or more than one to choose from.
    """
    import h5py

    file = h5py.File(path, "r")
    try:
        found = _chosen(file, dataset)
    except BaseException:
        file.close()
        raise
    sizes = np.ravel(found.attrs.get("element_size_um", ()))
    if sizes.size != 3 or sizes.dtype.kind not in "iuf":
        return Contents(found)
    unit = angstroms("um") or 1.0
    z, y, x = (usable_size(in_angstrom(size, unit)) for size in sizes)
    return Contents(found, (z, y, x))


def _chosen(file: Any, dataset: str | None) -> Any:
    """The dataset of that name, or the only one of three axes."""
    import h5py

    found: dict[str, Any] = {}

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset):
            found[name] = node

    file.visititems(collect)
    volumes = [name for name, node in found.items() if node.ndim == 3]
    if dataset is not None:
        name = dataset.strip("/")
        if name not in found:
            raise VolumeError(f"has no dataset {dataset!r}; it has {_listed(found)}")
        if name not in volumes:
            raise VolumeError(
                f"has a dataset {dataset!r} of shape {found[name].shape}, a volume has 3 axes"
            )
        return found[name]
    if len(volumes) > 1:
        raise VolumeError(
            f"holds {len(volumes)} volumes, choose one with dataset= or --dataset: "
            f"{', '.join(volumes)}"
        )
    if not volumes:
        raise VolumeError(f"has no dataset of 3 axes; it has {_listed(found)}")
    return found[volumes[0]]


def _listed(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {node.shape}" for name, node in found.items()) or "none at all"
