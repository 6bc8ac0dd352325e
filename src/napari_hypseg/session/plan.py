"""What will be written, looked at before anything is: nobody's file is overwritten unasked."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from napari_hypseg.volumes import WRITABLE_SUFFIXES, Volume

__all__ = ["PlanError", "check", "file_name", "with_suffix"]


class PlanError(ValueError):
    """Something that will not be overwritten unasked; the message is one sentence."""


def check(
    paths: Iterable[str | os.PathLike[str]],
    *,
    inputs: Collection[Volume] = (),
    ours: Collection[str | os.PathLike[str]] = (),
    overwrite: bool = False,
) -> None:
    """Refuse to write where something is that must stay.

    Parameters
    ----------
    paths : iterable of path
        Every file or folder that will be written.
    inputs : collection of Volume
        What is read: never overwritten.
    ours : collection of path
        What an earlier run wrote there: overwritten without asking.
    overwrite : bool
        Whether other files may be overwritten, too.

    Raises
    ------
    PlanError
        At the first path that is an input, or a file that nobody lists.
    """
    known = [Path(path) for path in ours]
    for path in map(Path, paths):
        if not os.path.lexists(path):
            continue
        for volume in inputs:
            source = volume.source
            if source is not None and "://" not in source.path and _same(path, Path(source.path)):
                raise PlanError(f"{path}: is the volume itself, choose another name or folder")
        if not overwrite and not any(_same(path, other) for other in known):
            raise PlanError(
                f"{path}: is there already and was not written by this session; move it, choose "
                "another folder, or say that it may be overwritten"
            )


def _same(path: Path, other: Path) -> bool:
    """Whether two paths are one file, or one lies in the other."""
    try:
        if os.path.samefile(path, other):
            return True
    except OSError:
        return path.absolute() == other.absolute()
    return other.resolve() in path.resolve().parents or path.resolve() in other.resolve().parents


def file_name(name: str) -> str:
    """A name as every file system takes it.

    Examples
    --------
    >>> file_name("S1/T2 (bin 4)"), file_name("..")
    ('S1_T2__bin_4_', '_')
    """
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip(".")
    return safe or "_"


def with_suffix(
    path: str | os.PathLike[str],
    default: str,
    allowed: Collection[str] = WRITABLE_SUFFIXES,
) -> Path:
    """A path whose ending says the format: added where there is none.

    Raises
    ------
    PlanError
        If it has an ending that can't be written.

    Examples
    --------
    >>> with_suffix("a", ".mrc").name, with_suffix("a.b.TIF", ".mrc").name
    ('a.mrc', 'a.b.TIF')
    """
    path = Path(path).expanduser()
    if path.suffix.lower() in allowed:
        return path
    if not path.suffix or path.suffix[1:].isdigit():
        return path.with_name(path.name + default)
    raise PlanError(f"{path}: can be written as {', '.join(allowed)}, not {path.suffix}")
