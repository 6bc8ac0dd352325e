"""TIFF stacks: plain, ImageJ, OME-TIFF, and folders of slices; written as OME-TIFF."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .contents import Contents, LazyView, Sizes, depth_axes, in_short, parts, usable_size
from .stored import StoredArray
from .units import angstroms
from .volume import Triple, Volume, VolumeError, slabs

if TYPE_CHECKING:
    import tifffile

__all__ = ["SUFFIXES", "choices", "read", "read_folder", "slices_in", "write"]

SUFFIXES = (".tif", ".tiff")
_INCH, _CENTIMETER = 2, 3
# What scanners, printers and drawing programs put into every file says nothing about a specimen.
_PRINTING_DPI = (1, 72, 96, 100, 150, 200, 300, 600)


def read(path: Path, chosen: str | None = None) -> Contents:
    """Voxels, voxel size and origin of a TIFF stack.

    Voxels are read when they are asked for, those of packed stacks decoded page by page.
    The voxel size comes from the OME-XML, from ImageJ's calibration (whose spacing is 1 unit
    where it is left out), or from the resolution tags, which know y and x only. The origin is
    the position of the first plane in the OME-XML. ImageJ calls the slices of a plain stack
    channels or time points as often as not: where it has no others, they are slices.

    Parameters
    ----------
    path : Path
        The file.
    chosen : str, optional
        One of the `choices`.

    Raises
    ------
    VolumeError
        If the file is cut short or isn't one grey 3D stack (several channels, time points or
        images of which none is chosen, colours, a 2D image).
    """
    import tifffile

    with _complaints() as complaints, tifffile.TiffFile(path) as tif:
        number, part = _series(tif, chosen)
        series = tif.series[number]
        names, shape, depth, remarks = _axes(tif, series)
        axes, at = depth_axes(names, shape, depth, part)
        sizes, origin, doubts = _place(tif, number)
        start, dtype = series.dataoffset, f"{tif.byteorder}{series.dtype.char}"
        if start is None:
            _check_length(series, path.stat().st_size)
    # An offset beyond the end means that pages are lost; other faults can be lived with.
    lost = [complaint for complaint in complaints if "offset" in complaint]
    if lost:
        raise VolumeError(f"is damaged: {lost[0]}")
    remarks += tuple(f"has a fault: {complaint}" for complaint in complaints[:1])
    if start is not None and not at and math.prod(shape) == math.prod(shape[a] for a in axes):
        # All other axes have length 1, so they don't show in the file.
        inside = sorted(axes)
        z, y, x = (inside.index(axis) for axis in axes)
        first, second, third = (shape[axis] for axis in inside)
        stored = StoredArray(path, dtype, start, (first, second, third), (z, y, x))
        return Contents(stored, sizes, origin, remarks=remarks, doubts=doubts)
    view = _decoded(path, number, axes, at, squeezed=len(shape) == len(series.shape))
    return Contents(view, sizes, origin, remarks=remarks, doubts=doubts)


def choices(path: Path) -> list[str]:
    """Names of the volumes in a file: images, channels, time points; none of a plain stack."""
    import tifffile

    with _complaints(), tifffile.TiffFile(path) as tif:
        found = []
        for number, series in enumerate(tif.series):
            image = f"image={number}" if len(tif.series) > 1 else ""
            names, shape, depth, _ = _axes(tif, series)
            with suppress(VolumeError):
                several = parts(names, shape, depth) or [""]
                depth_axes(names, shape, depth, several[0] or None)
                found += [f"{image} {part}".strip() for part in several]
    return [name for name in found if name]


def _series(tif: tifffile.TiffFile, chosen: str | None) -> tuple[int, str | None]:
    """Number of an image in a file, and which part of it is meant."""
    count = len(tif.series)
    if count == 1:
        return 0, chosen
    image, _, part = (chosen or "").partition(" ")
    known = [f"image={number}" for number in range(count)]
    if chosen is None:
        raise VolumeError(f"holds {count} images, choose one as its dataset: {in_short(known)}")
    if image not in known:
        raise VolumeError(f"has no part {chosen!r}; it has {in_short(known)}")
    return known.index(image), part or None


def _axes(tif: tifffile.TiffFile, series: Any) -> tuple[str, tuple[int, ...], str, tuple[str, ...]]:
    """Names and sizes of the axes of an image, what stands for z, and what to say of that."""
    names, shape = series.get_axes(squeeze=False).lower(), series.get_shape(squeeze=False)
    if tif.is_imagej:
        long = [name for name, size in zip(names, shape, strict=True) if size > 1]
        others = [name for name in long if name not in "yx"]
        if len(others) == 1 and others[0] in "ct":
            what = {"c": "channels", "t": "time points"}[others[0]]
            return names, shape, others[0], (f"calls its slices {what}, they are read as slices",)
    one_slice = tif.is_ome and tif.ome_metadata and _ome_place(tif.ome_metadata)[0][0] is not None
    if "z" in names and not one_slice and "z" not in series.axes.lower():
        names, shape = series.axes.lower(), series.shape
    return names, shape, "ziq", ()


def _decoded(
    path: Path, number: int, axes: tuple[int, int, int], at: dict[int, int], *, squeezed: bool
) -> LazyView:
    """A packed stack, whose pages are decoded when they are read."""
    import tifffile
    import zarr

    tif = tifffile.TiffFile(path)
    try:
        store = tif.series[number].aszarr(chunkmode="page", squeeze=squeezed)
        view = LazyView(zarr.open_array(store, mode="r"), axes, at)
    except BaseException:
        tif.close()
        raise
    # The file stays open as long as its voxels can be asked for.
    weakref.finalize(view, tif.close)
    return view


def read_folder(folder: Path) -> Contents:
    """The slices of a volume, each in a TIFF file of its own, in the order of their names.

    Parameters
    ----------
    folder : Path
        Numbers in the names count as such: slice_2 comes before slice_10.

    Raises
    ------
    VolumeError
        If the files aren't grey images of one size and type.
    """
    import tifffile

    paths = [folder / name for name in tifffile.natural_sorted(p.name for p in slices_in(folder))]
    sizes: Sizes = (None, None, None)
    for number, path in enumerate(paths):
        with _complaints(), tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            found = page.shape, np.dtype(page.dtype)
            if number == 0:
                first = found
                sizes = (None, *_place(tif, 0)[0][1:])
            if len(tif.pages) != 1 or len(page.shape) != 2:
                raise VolumeError(f"is a folder of TIFF files, but {path.name} is no single slice")
            if found != first:
                raise VolumeError(
                    f"is a folder of TIFF files, but {path.name} has another size or type than "
                    f"{paths[0].name}"
                )
    assert first is not None  # noqa: S101
    shape, dtype = first
    assert dtype is not None  # noqa: S101
    return Contents(_Slices(paths, shape, dtype), sizes)


def slices_in(folder: Path) -> list[Path]:
    """The TIFF files in a folder."""
    return [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]


class _Slices:
    """Slices in files of their own, decoded when they are read."""

    def __init__(self, paths: list[Path], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._paths, self.shape, self.dtype = paths, (len(paths), *shape), dtype

    def __getitem__(self, key: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
        import tifffile

        z, y, x = key
        planes = [tifffile.imread(path)[y, x] for path in self._paths[z]]
        if not planes:
            return np.empty((0, *self.shape[1:]), self.dtype)[:, y, x]
        return np.stack(planes)


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


def _place(tif: tifffile.TiffFile, number: int) -> tuple[Sizes, Triple, tuple[str, ...]]:
    """Voxel size and origin in angstrom, (z, y, x), and what is doubtful about the size."""
    nowhere = (0.0, 0.0, 0.0)
    if tif.is_ome and tif.ome_metadata:
        return *_ome_place(tif.ome_metadata, number), ()
    page = tif.pages.first
    y, x = (_tag_size(page, name) for name in ("YResolution", "XResolution"))
    if tif.imagej_metadata:
        name = str(tif.imagej_metadata.get("unit", ""))
        unit = angstroms(name)
        # What ImageJ takes from an image that was meant for printing.
        if unit is None or (unit == angstroms("inch") and _for_printing(x)):
            return (None, None, None), nowhere, ()
        doubts: tuple[str, ...] = ()
        if "spacing" not in tif.imagej_metadata and (y, x) != (1.0, 1.0):
            doubts = (f"gives no distance of its slices, 1 {name} is taken",)
        z = float(tif.imagej_metadata.get("spacing", 1.0))
        return (_scaled(z, unit), _scaled(y, unit), _scaled(x, unit)), nowhere, doubts
    kind = page.tags.valueof("ResolutionUnit", default=1)
    if kind == _INCH and _for_printing(y):
        kind = 1
    per_unit = {_INCH: angstroms("inch"), _CENTIMETER: angstroms("cm")}.get(int(kind))
    if per_unit is None:
        return (None, None, None), nowhere, ()
    return (None, _scaled(y, per_unit), _scaled(x, per_unit)), nowhere, ()


def _for_printing(size: float | None) -> bool:
    """Whether a pixel's size in inches is a usual resolution of screens and printers."""
    return size is not None and round(1 / size) in _PRINTING_DPI


def _tag_size(page: Any, name: str) -> float | None:
    """Size of a pixel from a resolution tag, in the tag's unit."""
    numerator, denominator = page.tags.valueof(name, default=(0, 1))
    return denominator / numerator if numerator else None


def _scaled(size: float | None, unit: float) -> float | None:
    # TIFF's rationals are good to about nine digits: 0.380000000 nm is meant, not 0.37999999995.
    return usable_size(float(f"{size * unit:.8g}")) if size is not None else None


def _ome_place(xml: str, number: int = 0) -> tuple[Sizes, Triple]:
    import tifffile

    try:
        images = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels = (images[number] if isinstance(images, list) else images)["Pixels"]
    except (SyntaxError, KeyError, TypeError, IndexError):  # XML that is broken, or isn't OME's.
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
