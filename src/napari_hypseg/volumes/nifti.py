"""NIfTI volumes, through the optional library nibabel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .contents import Contents, usable_size
from .limits import free_memory, in_words
from .stored import StoredArray
from .units import angstroms, in_angstrom
from .volume import ArrayLike3D, Triple, VolumeError

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".nii", ".nii.gz")
# Deflate never packs more than 1032 to 1.
_GZIP_RATIO = 1032


def read(path: Path) -> Contents:
    """Voxels of a NIfTI file, its (x, y, z) turned to (z, y, x).

    Packed files, and those whose voxels are to be scaled, are read at once; the voxels of others
    when they are asked for. The voxels stay in the order of the file. A `Volume` knows no
    rotation, so the origin is the affine's only where the axes of the voxels run along those of
    the scanner, and zero elsewhere (files from DICOM mostly have x and y reversed).

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    VolumeError
        If nibabel is missing, the file is cut short, or isn't one volume.
    """
    try:
        import nibabel
    except ImportError:
        raise VolumeError("needs nibabel to be read: pip install napari-hypseg[nifti]") from None
    image: Any = nibabel.load(path)
    header = image.header
    shape = tuple(int(size) for size in image.shape)
    if len(shape) < 3 or any(size > 1 for size in shape[3:]):
        raise VolumeError(f"is not one volume: its shape is {shape}, that of a volume has 3 axes")
    packed = path.suffix.lower() == ".gz"
    wanted = int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    room = path.stat().st_size * (_GZIP_RATIO if packed else 1)
    if min(shape) < 1 or int(header.get_data_offset()) + wanted > room:
        raise VolumeError(
            f"is cut short: its header asks for {wanted} bytes of voxels, more than it can hold"
        )
    if packed and wanted > free_memory():
        raise VolumeError(f"unpacks to {in_words(wanted)}, {in_words(free_memory())} are free")
    doubts: tuple[str, ...] = ()
    unit = angstroms(header.get_xyzt_units()[0])
    if unit is None:
        unit = angstroms("mm") or 1.0
        doubts = ("gives no unit of length, its sizes are read as millimetres",)
    proxy = image.dataobj
    scaled = proxy.slope != 1 or proxy.inter != 0
    data: ArrayLike3D
    if scaled or packed:
        voxels = image.get_fdata(dtype=np.float32) if scaled else proxy.get_unscaled()
        data = voxels.reshape(shape[:3]).transpose()
    else:
        nx, ny, nz = shape[:3]
        data = StoredArray(path, header.get_data_dtype(), proxy.offset, (nz, ny, nx))
    affine = image.affine
    x, y, z = (usable_size(in_angstrom(size, unit)) for size in header.get_zooms()[:3])
    origin: Triple = (0.0, 0.0, 0.0)
    if np.allclose(affine[:3, :3], np.diag(header.get_zooms()[:3]), rtol=1e-4, atol=1e-6):
        origin = (affine[2, 3] * unit, affine[1, 3] * unit, affine[0, 3] * unit)
    return Contents(data, (z, y, x), origin, doubts=doubts)
