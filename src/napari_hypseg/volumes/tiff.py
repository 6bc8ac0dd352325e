"""TIFF stacks: plain, ImageJ and OME-TIFF; written as OME-TIFF."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .contents import Contents, LazyView, Sizes, depth_axes, usable_size
from .stored import StoredArray
from .units import angstroms
from .volume import Triple, Volume, VolumeError, slabs

if TYPE_CHECKING:
    import tifffile

__all__ = ["SUFFIXES", "read", "write"]

SUFFIXES = (".tif", ".tiff")
_INCH, _CENTIMETER = 2, 3
# What scanners, printers and drawing programs put into every file says nothing about a specimen.
_PRINTING_DPI = (1, 72, 96, 100, 150, 200, 300, 600)


def read(path: Path) -> Contents:
    """Voxels, voxel size and origin of a TIFF stack.

    Voxels are read when they are asked for, those of packed stacks decoded page by page.
    The voxel size comes from the OME-XML, from ImageJ's calibration (whose spacing is 1 unit
    where it is left out), or from the resolution tags, which know y and x only. The origin is
    the position of the first plane in the OME-XML.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    VolumeError
        If the file is cut short or isn't one grey 3D stack (several channels, time points or
        images, colours, a 2D image).
    """
    import tifffile

    with _complaints() as complaints, tifffile.TiffFile(path) as tif:
        if len(tif.series) != 1:
            raise VolumeError(f"holds {len(tif.series)} images, save the stack you want on its own")
        series = tif.series[0]
        names, shape = series.get_axes(squeeze=False).lower(), series.get_shape(squeeze=False)
        sizes, origin = _place(tif)
        one_slice = tif.is_ome and sizes[0] is not None
        if "z" in names and not one_slice and "z" not in series.axes.lower():
            names, shape = series.axes.lower(), series.shape
        axes = depth_axes(names, shape, depth="ziq")
        start, dtype = series.dataoffset, f"{tif.byteorder}{series.dtype.char}"
        if start is None:
            _check_length(series, path.stat().st_size)
    # An offset beyond the end means that pages are lost; other faults can be lived with.
    lost = [complaint for complaint in complaints if "offset" in complaint]
    if lost:
        raise VolumeError(f"is damaged: {lost[0]}")
    remarks = tuple(f"has a fault: {complaint}" for complaint in complaints[:1])
    if start is not None:
        # All other axes have length 1, so they don't show in the file.
        inside = sorted(axes)
        z, y, x = (inside.index(axis) for axis in axes)
        first, second, third = (shape[axis] for axis in inside)
        stored = StoredArray(path, dtype, start, (first, second, third), (z, y, x))
        return Contents(stored, sizes, origin, remarks=remarks)
    view = _decoded(path, axes, squeezed=len(shape) == 3)
    return Contents(view, sizes, origin, remarks=remarks)


def _decoded(path: Path, axes: tuple[int, int, int], *, squeezed: bool) -> LazyView:
    """A packed stack, whose pages are decoded when they are read."""
    import tifffile
    import zarr

    tif = tifffile.TiffFile(path)
    try:
        store = tif.series[0].aszarr(chunkmode="page", squeeze=squeezed)
        view = LazyView(zarr.open_array(store, mode="r"), axes)
    except BaseException:
        tif.close()
        raise
    # The file stays open as long as its voxels can be asked for.
    weakref.finalize(view, tif.close)
    return view


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What tifffile logs as an error: it goes on with the pages that it could find."""
    found: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    logger, collector = logging.getLogger("tifffile"), Collector(logging.ERROR)
    logger.addHandler(collector)
    try:
        yield found
    finally:
        logger.removeHandler(collector)


def _check_length(series: tifffile.TiffPageSeries, size: int) -> None:
    """Refuse a stack of which a page lies beyond the end of the file."""
    for page in series.pages:
        if page is None:
            raise VolumeError("is damaged: a page is missing")
        ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > size:
            raise VolumeError(f"is cut short: page {page.index + 1} ends after the file does")


def _place(tif: tifffile.TiffFile) -> tuple[Sizes, Triple]:
    """Voxel size and origin in angstrom, (z, y, x)."""
    if tif.is_ome and tif.ome_metadata:
        return _ome_place(tif.ome_metadata)
    page = tif.pages.first
    y, x = (_tag_size(page, name) for name in ("YResolution", "XResolution"))
    if tif.imagej_metadata:
        unit = angstroms(str(tif.imagej_metadata.get("unit", "")))
        if unit is None:
            return (None, None, None), (0.0, 0.0, 0.0)
        z = float(tif.imagej_metadata.get("spacing", 1.0))
        sizes = (_scaled(z, unit), _scaled(y, unit), _scaled(x, unit))
        return sizes, (0.0, 0.0, 0.0)
    kind = page.tags.valueof("ResolutionUnit", default=1)
    if kind == _INCH and y is not None and round(1 / y) in _PRINTING_DPI:
        kind = 1
    per_unit = {_INCH: angstroms("inch"), _CENTIMETER: angstroms("cm")}.get(int(kind))
    if per_unit is None:
        return (None, None, None), (0.0, 0.0, 0.0)
    return (None, _scaled(y, per_unit), _scaled(x, per_unit)), (0.0, 0.0, 0.0)


def _tag_size(page: Any, name: str) -> float | None:
    """Size of a pixel from a resolution tag, in the tag's unit."""
    numerator, denominator = page.tags.valueof(name, default=(0, 1))
    return denominator / numerator if numerator else None


def _scaled(size: float | None, unit: float) -> float | None:
    # TIFF's rationals are good to about nine digits: 0.380000000 nm is meant, not 0.37999999995.
    return usable_size(float(f"{size * unit:.8g}")) if size is not None else None


def _ome_place(xml: str) -> tuple[Sizes, Triple]:
    import tifffile

    try:
        images = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    except (SyntaxError, KeyError, TypeError):  # XML that is broken, or isn't OME's.
        return (None, None, None), (0.0, 0.0, 0.0)
    planes = pixels.get("Plane", {})
    plane = planes[0] if isinstance(planes, list) else planes

    def length(values: dict[str, Any], name: str, default_unit: str) -> float | None:
        unit = angstroms(str(values.get(f"{name}Unit", default_unit)))
        size = values.get(name)
        return None if size is None or unit is None else float(size) * unit

    sizes = [usable_size(length(pixels, f"PhysicalSize{name}", "µm")) for name in "ZYX"]
    # Positions have no unit of length unless they say so ("reference frame").
    z, y, x = (length(plane, f"Position{name}", "") or 0.0 for name in "ZYX")
    return (sizes[0], sizes[1], sizes[2]), (z, y, x)


def write(path: Path, volume: Volume) -> None:
    """Write a volume as an uncompressed OME-TIFF, slice by slice.

    Voxel size and origin go into the OME-XML in angstrom; the resolution tags repeat the size of
    a pixel for programs that don't read it.

    Parameters
    ----------
    path : Path
        The file to make.
    volume : Volume
        Voxels of a type that OME has (integers to 32 bits, float32, float64).
    """
    import tifffile

    depth = volume.shape[0]
    metadata: dict[str, Any] = {"axes": "ZYX", "Name": volume.name}
    plane: dict[str, Any] = {}
    for name, size, start in zip("ZYX", volume.voxel_size, volume.origin, strict=True):
        metadata |= {f"PhysicalSize{name}": size, f"PhysicalSize{name}Unit": "Å"}
        step = size if name == "Z" else 0.0
        plane[f"Position{name}"] = [start + step * index for index in range(depth)]
        plane[f"Position{name}Unit"] = ["Å"] * depth
    tifffile.imwrite(
        path,
        (page for box in slabs(volume.shape) for page in volume.read(box)),
        shape=volume.shape,
        dtype=volume.data.dtype,
        # Room for the XML beyond the voxels, below the 4 GB that plain TIFF can address.
        bigtiff=_bytes(volume) > 2**32 - 2**25,
        ome=True,
        photometric="minisblack",
        resolution=(1e8 / volume.voxel_size[2], 1e8 / volume.voxel_size[1]),
        resolutionunit="CENTIMETER",
        metadata=metadata | {"Plane": plane},
    )


def _bytes(volume: Volume) -> int:
    z, y, x = volume.shape
    return z * y * x * volume.data.dtype.itemsize
