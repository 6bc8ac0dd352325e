"""The file of a session, ``session.json``: read with care, written in one step."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_hypseg.volumes import Source, Volume, VolumeError, read_volume, write_image
from napari_hypseg.volumes.atomic import replacing

__all__ = [
    "SESSION_FILE",
    "keep_volume",
    "place_of",
    "read_session",
    "reread_volume",
    "write_session",
]  # fmt: skip

SESSION_FILE = "session.json"
FORMAT_VERSION = 1
# Where the voxels go that no file holds.
_COPY = "volume.zarr"


def write_session(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the file of a session; a crash leaves the old one or the new one."""
    text = json.dumps({"hypseg_session": FORMAT_VERSION, **values}, indent=1, allow_nan=False)
    with replacing(folder / SESSION_FILE) as fresh:
        fresh.write_text(text + "\n", encoding="utf-8")


def read_session(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `write_session` wrote: ``volume``, ``run``, ``labels``, ``view`` and ``views``.

    Raises
    ------
    ValueError
        If there is no session in the folder, or a damaged or newer one.
    """
    path = Path(folder) / SESSION_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder}: no session is kept here, {SESSION_FILE} is missing") from None
    except OSError as error:
        raise ValueError(f"{path}: can't be read, {error.strerror or error}") from None
    except ValueError:
        values = None
    version = values.get("hypseg_session") if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(version, int):
        raise ValueError(f"{path}: is no session of napari-hypseg, or a damaged one")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{path}: the session has format {version}, this version of napari-hypseg reads up "
            f"to {FORMAT_VERSION}: update napari-hypseg"
        )
    parts = {"volume": dict, "run": dict, "view": dict, "views": dict, "labels": list}
    # Of other clusterings; older sessions know none.
    values.setdefault("views", {})
    if not all(isinstance(values.get(name), kind) for name, kind in parts.items()):
        raise ValueError(f"{path}: is damaged, parts of it are missing")
    return values


def keep_volume(volume: Volume, folder: Path, fingerprint: str) -> Volume:
    """Make sure that a volume can be opened again: one that no file holds goes into the folder.

    Parameters
    ----------
    volume : Volume
    folder : Path
        Of the session.
    fingerprint : str
        The volume's.

    Returns
    -------
    Volume
        With a source.
    """
    if volume.source is not None and ("://" in volume.source.path or _holds(volume, fingerprint)):
        return volume
    copy = folder / _COPY
    write_image(copy, volume.data, volume)
    return replace(volume, source=Source(os.path.abspath(copy)))


def _holds(volume: Volume, fingerprint: str) -> bool:
    """Whether a volume's file holds its voxels; those of a layer may have been changed."""
    assert volume.source is not None  # noqa: S101
    try:
        return _read(volume.source, volume.voxel_size).fingerprint() == fingerprint
    except VolumeError:
        return False


def _read(source: Source, voxel_size: tuple[float, float, float]) -> Volume:
    volume = read_volume(
        source.path, dataset=source.dataset, level=source.level, voxel_size=voxel_size
    )
    return volume if source.box is None else volume.crop(source.box)


def place_of(source: Source, folder: Path) -> dict[str, Any]:
    """Where a volume is, seen from anywhere and from a session's folder, in JSON values."""
    beside = None
    # Folder and file may move together; on another drive they can't.
    if "://" not in source.path:
        with suppress(ValueError):
            beside = Path(os.path.relpath(source.path, folder)).as_posix()
    return {
        "path": source.path,
        "from_this_folder": beside,
        "dataset": source.dataset,
        "level": source.level,
        "box": None if source.box is None else [[s.start, s.stop] for s in source.box],
    }


def reread_volume(folder: Path, values: Mapping[str, Any]) -> Volume:
    """The volume of a session, from where `place_of` said, with the voxel size it had then.

    Raises
    ------
    ValueError
        If the values are damaged.
    VolumeError
        If its file has gone or can't be read.
    """
    place, known = values["volume"], values["run"].get("volume")
    try:
        path, beside = str(place["path"]), place["from_this_folder"]
        if beside is not None and not Path(path).exists() and (folder / beside).exists():
            path = os.path.abspath(folder / beside)
        dataset, level = place["dataset"], int(place["level"])
        box = None
        if place["box"] is not None:
            z, y, x = (slice(int(a), int(b)) for a, b in place["box"])
            box = z, y, x
        size, origin = (_triple(known[key]) for key in ("voxel_size_angstrom", "origin_angstrom"))
        name = str(known["name"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder / SESSION_FILE}: is damaged where it says what its volume is"
        ) from None
    if "://" not in path and not Path(path).exists():
        raise ValueError(
            f"{folder}: its volume {path} is not there any more: put it back, or open the volume "
            "from its new place with this folder for its results"
        )
    volume = _read(Source(path, dataset, level, box), size)
    return replace(volume, voxel_size=size, origin=origin, name=name)


def _triple(values: Any) -> tuple[float, float, float]:
    z, y, x = (float(v) for v in values)
    if not all(math.isfinite(v) for v in (z, y, x)):
        raise ValueError
    return z, y, x
