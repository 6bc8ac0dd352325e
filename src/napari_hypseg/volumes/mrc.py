"""MRC and CCP4 maps: tomograms as IMOD, EMDB, FEI/TFS and RELION write them."""

from __future__ import annotations

import bz2
import gzip
import math
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from .contents import Contents, usable_size
from .limits import free_memory, in_words
from .stored import StoredArray
from .volume import ArrayLike3D, Triple, Volume, VolumeError, slabs

__all__ = ["SUFFIXES", "read", "write"]

SUFFIXES = tuple(
    plain + packed
    for plain in (".mrc", ".mrcs", ".rec", ".map", ".st", ".ali", ".preali")
    for packed in ("", ".gz", ".bz2")
)
_HEADER_BYTES = 1024
# What IMOD calls the images of a tilt series, before and after their alignment.
_TILTED = (".st", ".ali", ".preali")
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED = {
    3: "complex numbers (mode 3)",
    4: "complex numbers (mode 4), a Fourier transform rather than a volume",
    16: "colours (mode 16)",
    101: "4-bit voxels (mode 101)",
}


def read(path: Path) -> Contents:
    """Voxels, voxel size and origin of an MRC file.

    The voxels of uncompressed files are read when they are asked for. Nothing is taken on trust:
    the header's sizes are held against the file's before anything is allocated, and those of a
    packed file against the memory that is free.

    The origin is the ORIGIN field where it isn't zero, else NSTART times the voxel size, as the
    MRC2014 standard has it and ChimeraX does it. ORIGIN keeps its sign: files of old versions
    of IMOD, which wrote it inverted, lie mirrored about zero here as in other programs.

    Parameters
    ----------
    path : Path
        The file; ``.gz`` and ``.bz2`` are unpacked into memory.

    Returns
    -------
    Contents
        With remarks on what the header has wrong or leaves open.

    Raises
    ------
    VolumeError
        If the file is no MRC file, is cut short, or holds no volume of real numbers.

    References
    ----------
    Cheng et al., "MRC2014: Extensions to the MRC format header for electron cryo-microscopy and
    tomography", J. Struct. Biol. 192 (2015) 146-150.
    """
    packed = path.suffix.lower() in (".gz", ".bz2")
    size = None if packed else path.stat().st_size
    with _opened(path) as file:
        header, dtype, remarks = _header(file.read(_HEADER_BYTES), size)
        shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
        offset = _HEADER_BYTES + int(header["nsymbt"])
        wanted = int(np.prod(shape, dtype=object)) * dtype.itemsize
        order = _axis_order(header)
        data: ArrayLike3D
        if size is None:
            data = _unpack(file, offset - _HEADER_BYTES, wanted).view(dtype).reshape(shape)
            data = data.transpose(order)
        else:
            data = StoredArray(path, dtype, offset, shape, order)
            if size > offset + wanted:
                extra = size - offset - wanted
                remarks.append(f"is {extra} bytes longer than its header says")

    volumes = shape[0] // max(1, int(header["mz"]))
    if int(header["ispg"]) > 400 and volumes > 1:
        raise VolumeError(f"is a stack of {volumes} volumes, save the one you want on its own")
    stack = int(header["ispg"]) == 0 and shape[0] > 1
    ending = path.with_suffix("").suffix if packed else path.suffix
    tilted = bytes(header["exttyp"]) == b"SERI" and int(header["nsymbt"]) > 0
    if stack and (tilted or ending.lower() in _TILTED):
        remarks.append(
            "seems to be a tilt series, images rather than a volume: what is wanted here is the "
            "tomogram that was reconstructed from it"
        )
    elif stack and int(header["mz"]) == 1:
        remarks.append("is marked as a stack of images and read as a volume")
    angles = [float(header["cellb"][name]) for name in ("alpha", "beta", "gamma")]
    # Many programs leave the angles at 0; only a cell that says it is skewed is worth a word.
    if any(angle != 0 and not abs(angle - 90) < 0.01 for angle in angles):
        shown = ", ".join(f"{angle:g}" for angle in angles)
        remarks.append(f"has a skewed cell (angles {shown}) and is read as if they were 90 degrees")

    start = [int(header[name]) for name in ("nzstart", "nystart", "nxstart")]
    origin = _numbers(header["origin"])
    sizes = [
        _size(float(header["cella"][name]), int(header[f"m{name}"]) or shape[axis])
        for name, axis in zip("zyx", order, strict=True)
    ]
    if int(header["mz"]) == 1 and shape[order[0]] > 1:
        # A stack of images: nothing is said about their distance.
        sizes[0] = None
    return Contents(
        data=data,
        voxel_size=(sizes[0], sizes[1], sizes[2]),
        origin=origin,
        start=(0.0, 0.0, 0.0)
        if any(origin)
        else (float(start[order[0]]), float(start[order[1]]), float(start[order[2]])),
        remarks=tuple(remarks),
    )


def _opened(path: Path) -> IO[bytes]:
    """The file, unpacked while it is read."""
    match path.suffix.lower():
        case ".gz":
            return cast(IO[bytes], gzip.open(path, "rb"))
        case ".bz2":
            return bz2.open(path, "rb")
        case _:
            return path.open("rb")


def _header(head: bytes, size: int | None) -> tuple[Any, np.dtype[Any], list[str]]:
    """The header, the type of the voxels after it, and what is wrong with it."""
    from mrcfile.dtypes import HEADER_DTYPE
    from mrcfile.utils import byte_order_from_machine_stamp

    if len(head) < _HEADER_BYTES:
        raise VolumeError(f"is no MRC file: it has {len(head)} bytes, the header alone has 1024")
    remarks = []
    raw = np.frombuffer(head, HEADER_DTYPE)[0]
    if bytes(raw["map"])[:3] != b"MAP":
        remarks.append("lacks the MAP stamp of an MRC file (older than the year 2000, perhaps)")
    orders: tuple[Literal["<", ">"], Literal["<", ">"]] = ("<", ">")
    try:
        if byte_order_from_machine_stamp(raw["machst"]) == ">":
            orders = (">", "<")
    except ValueError:
        remarks.append("has no valid byte-order stamp")
    headers = [np.frombuffer(head, HEADER_DTYPE.newbyteorder(order))[0] for order in orders]
    wrong = [_nonsense(header, size) for header in headers]
    if all(wrong):
        raise VolumeError(wrong[0])
    if wrong[0]:
        remarks.append("has a byte-order stamp that its numbers contradict")
    right = 1 if wrong[0] else 0
    return headers[right], _dtype(headers[right], orders[right]), remarks


def _nonsense(header: Any, size: int | None) -> str:
    """Why a header can't be right, in words; empty if it can."""
    mode = int(header["mode"])
    shape = [int(header[name]) for name in ("nz", "ny", "nx")]
    if mode in _REFUSED and min(shape) > 0:
        return f"holds {_REFUSED[mode]}, which can't be segmented"
    if mode not in _MODES:
        return f"is no MRC file: its header gives the unknown mode {mode}"
    if min(shape) < 1 or int(header["nsymbt"]) < 0:
        return f"is no MRC file: its header gives the size {tuple(shape)}"
    voxels = shape[0] * shape[1] * shape[2]
    wanted = _HEADER_BYTES + int(header["nsymbt"]) + voxels * np.dtype(_MODES[mode]).itemsize
    if size is not None and wanted > size:
        return f"is cut short or no MRC file: its header asks for {wanted} bytes, it has {size}"
    return ""


def _dtype(header: Any, byte_order: Literal["<", ">"]) -> np.dtype[Any]:
    """Type of a voxel, in the file's byte order.

    Mode 0 is signed since MRC2014, but was unsigned before: IMOD says which in its flags; a
    header without the MAP stamp is older than the rule; and a maximum above 127 is unsigned.
    """
    mode = int(header["mode"])
    if mode == 0:
        extra = bytes(header["extra2"])
        # extra2 starts at byte 112 of the header, IMOD's stamp and flags lie at 152 and 156.
        if extra[40:44] in (b"IMOD", b"DOMI"):
            signed = bool(extra[44 if byte_order == "<" else 47] & 1)
        else:
            signed = float(header["dmin"]) < 0 or (
                bytes(header["map"])[:3] == b"MAP" and not float(header["dmax"]) > 127
            )
        return np.dtype("i1" if signed else "u1")
    return np.dtype(_MODES[mode]).newbyteorder(byte_order)


def _axis_order(header: Any) -> tuple[int, int, int]:
    """Which axes of the stored array (sections, rows, columns) are z, y and x."""
    stored = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if stored == [0, 0, 0]:  # Left empty by old programs, which knew one order only.
        return 0, 1, 2
    if sorted(stored) != [1, 2, 3]:
        raise VolumeError(f"has an impossible order of axes: MAPC, MAPR, MAPS are {stored[::-1]}")
    return stored.index(3), stored.index(2), stored.index(1)


def _numbers(field: Any) -> Triple:
    """Three float32 as the shortest decimals that stand for them, (z, y, x); zero if not finite."""
    z, y, x = (float(str(np.float32(field[name]))) for name in "zyx")
    return (z, y, x) if np.isfinite([z, y, x]).all() else (0.0, 0.0, 0.0)


def _size(length: float, cells: int) -> float | None:
    """Voxel size from the cell's length: the shortest decimal that gives this float32 length.

    988.88 / 94 as float32 is 10.5200005...; the 10.52 that was meant comes back, and writing it
    gives the same header again.
    """
    size = usable_size(length / cells)
    for digits in range(1, 9):
        if size is not None and np.float32(float(f"{size:.{digits}g}") * cells) == length:
            return float(f"{size:.{digits}g}")
    return size


def _unpack(file: IO[bytes], skip: int, wanted: int) -> npt.NDArray[np.uint8]:
    """``wanted`` bytes after ``skip``, never allocating more than the file really holds."""
    if skip + wanted > free_memory():
        raise VolumeError(
            f"is damaged or too large to unpack into memory: its header asks for "
            f"{in_words(skip + wanted)}, {in_words(free_memory())} are free"
        )
    piece = 1 << 24
    held = bytearray()
    while len(held) < skip + wanted:
        read_now = file.read(min(piece, skip + wanted - len(held)))
        if not read_now:
            raise VolumeError(
                f"is cut short: its header asks for {_HEADER_BYTES + skip + wanted} bytes, "
                f"it unpacks to {_HEADER_BYTES + len(held)}"
            )
        held += read_now
    return np.frombuffer(held, np.uint8)[skip:]


def write(path: Path, volume: Volume) -> None:
    """Write a volume as MRC2014, slab by slab.

    Parameters
    ----------
    path : Path
        The file to make.
    volume : Volume
        Voxels of a type that MRC has (int8, int16, uint16, float16, float32).
    """
    from mrcfile.dtypes import HEADER_DTYPE
    from mrcfile.utils import machine_stamp_from_byte_order, mode_from_dtype

    dtype = np.dtype(volume.data.dtype).newbyteorder("<")
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    header["mode"] = mode_from_dtype(np.dtype(volume.data.dtype))
    for name, size, step, start in zip(
        "zyx", volume.shape, volume.voxel_size, volume.origin, strict=True
    ):
        header[f"n{name}"] = header[f"m{name}"] = size
        header["cella"][name] = size * step
        header["origin"][name] = start
    for name in ("alpha", "beta", "gamma"):
        header["cellb"][name] = 90
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["ispg"], header["nversion"], header["map"] = 1, 20141, b"MAP "
    header["machst"] = machine_stamp_from_byte_order("<")
    total = squares = 0.0
    low, high = np.inf, -np.inf
    with path.open("wb") as file:
        # Written, not mapped into memory: on a full disk a map ends the process with a bus error.
        file.seek(_HEADER_BYTES)
        for box in slabs(volume.shape):
            voxels = volume.read(box)
            file.write(np.ascontiguousarray(voxels, dtype).data)
            total += float(voxels.sum(dtype=np.float64))
            # No copy of the slab in float64, as squaring it first would make.
            squares += float(np.einsum("zyx,zyx->", voxels, voxels, dtype=np.float64))
            low, high = min(low, float(voxels.min())), max(high, float(voxels.max()))
        count = math.prod(volume.shape)
        header["dmin"], header["dmax"], header["dmean"] = low, high, total / count
        header["rms"] = max(0.0, squares / count - (total / count) ** 2) ** 0.5
        file.seek(0)
        file.write(header.tobytes())
