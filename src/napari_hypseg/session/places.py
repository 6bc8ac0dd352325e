"""Where the voxels of a session's volume are, and how they are found again."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from napari_hypseg.session.record import Place, VolumeRecord
from napari_hypseg.volumes import Source, Volume, VolumeError, read_volume, write_image

__all__ = ["described", "keep_volume", "reread_volume"]

# Where the voxels go that no file holds.
_COPY = "volume.zarr"
# Before a path whose bytes are no text.
_BYTES = "bytes:"


def described(volume: Volume, folder: Path, fingerprint: str = "") -> VolumeRecord:
    """What a session notes of a volume."""
    source = volume.source
    return VolumeRecord(
        _text(volume.name), volume.shape, volume.voxel_size, volume.origin, fingerprint,
        None if source is None else _place(source, folder),
    )  # fmt: skip


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


def _place(source: Source, folder: Path) -> Place:
    """Where a volume is, seen from anywhere and from a session's folder."""
    beside = None
    # Folder and file may move together; on another drive they can't.
    if "://" not in source.path:
        with suppress(ValueError):
            beside = _text(Path(os.path.relpath(source.path, folder)).as_posix())
    box = source.box
    return Place(
        _text(source.path), beside, source.dataset, source.level,
        None if box is None else tuple((s.start, s.stop) for s in box),  # type: ignore[arg-type]
    )  # fmt: skip


def _text(path: str) -> str:
    """A path as text that JSON can hold: file names may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _BYTES + quote_from_bytes(os.fsencode(path))
    return path


def _path(text: str) -> str:
    """Inverse of `_text`."""
    return os.fsdecode(unquote_to_bytes(text[len(_BYTES) :])) if text.startswith(_BYTES) else text


def reread_volume(folder: Path, known: VolumeRecord, *, online: bool = False) -> Volume:
    """The volume of a session, from where it was, with the voxel size and origin it had then.

    A file that lies where it lay seen from the folder comes first: of a copied folder it is the
    copy beside it that is meant.

    Parameters
    ----------
    folder : Path
        Of the session.
    known : VolumeRecord
    online : bool
        Whether a URL may be contacted: a session of somebody else may name any.

    Raises
    ------
    VolumeError
        If its file has gone or can't be read, or it is a URL and ``online`` is false.
    """
    if known.place is None:
        raise VolumeError(f"{folder}: its voxels were not kept, open its volume again")
    place = known.place
    path = _path(place.path)
    if "://" in path:
        if not online:
            raise VolumeError(
                f"{folder}: its volume is at {path}, which nothing has contacted yet: open the "
                "volume from there yourself, with this folder for its results"
            )
    else:
        beside = None if place.from_this_folder is None else _path(place.from_this_folder)
        if beside is not None and (folder / beside).exists():
            path = os.path.abspath(folder / beside)
        if not Path(path).exists():
            raise VolumeError(
                f"{folder}: its volume {path} is not there any more: put it back, or open the "
                "volume from its new place with this folder for its results"
            )
    box = None
    if place.box is not None:
        z, y, x = (slice(*span) for span in place.box)
        box = z, y, x
    volume = _read(Source(path, place.dataset, place.level, box), known.voxel_size)
    return replace(volume, voxel_size=known.voxel_size, origin=known.origin, name=_path(known.name))
