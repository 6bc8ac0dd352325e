"""Files that appear whole or not at all, and folders in which one process writes at a time."""

from __future__ import annotations

import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["BusyError", "locked", "remove", "replacing"]

# The eight characters are ours or the `tempfile` module's.
_LEFT = re.compile(r"\.(?P<name>.+)\.[0-9a-z_]{8}\.(?P<kind>new|old)")


class BusyError(RuntimeError):
    """Another process writes in the same folder; the message is one sentence for a person."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``; what was made under it takes the place at the end.

    Where the block fails, the place stays as it was and what was made is removed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.txt")) as fresh:
    ...         _ = fresh.write_text("whole")
    ...     [p.name for p in Path(folder).iterdir()]
    ['a.txt']
    """
    token = uuid.uuid4().hex[:8]
    fresh = path.with_name(f".{path.name}.{token}.new")
    stale = path.with_name(f".{path.name}.{token}.old")
    try:
        yield fresh
        if fresh.is_file():
            # On the disk before the name is: a power cut must not leave an empty file under it.
            with fresh.open("rb+") as file:
                os.fsync(file.fileno())
        # A folder can't be replaced in one step, so the old one steps aside for the new.
        if path.is_dir() and fresh.is_dir():
            os.replace(path, stale)
        os.replace(fresh, path)
    except BaseException:
        if stale.exists() and not path.exists():
            os.replace(stale, path)
        remove(fresh)
        raise
    remove(stale)


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it, if it is there; its name is free at once."""
    if path.is_dir():
        # Half a folder under its own name would be taken for a whole one after a kill.
        doomed = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
        os.replace(path, doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)


def _sweep(folder: Path, name: str) -> None:
    """Remove what killed processes left of `replacing`; what stepped aside for nothing comes back.

    Of files with ``name`` in their names; of all where it is empty.
    """
    for left in sorted(folder.iterdir()):
        found = _LEFT.fullmatch(left.name)
        if found is None or name not in found["name"]:
            continue
        place = folder / found["name"]
        if found["kind"] == "old" and not place.exists():
            os.replace(left, place)
        else:
            remove(left)


@contextmanager
def locked(folder: Path, name: str = "") -> Iterator[None]:
    """Be the only process that writes in a folder, and clear away what killed ones left.

    The lock is the operating system's: it ends with the process, however that ends.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    name : str, optional
        Only the file of this name, and what is beside it under this name with additions.

    Raises
    ------
    BusyError
        If another process writes there, or another job of this one.
    """
    path = folder / f".{name or 'hypseg'}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = _acquired(path, folder / name)
    except OSError as error:
        raise type(error)(f"{folder}: can't be written in, {error.strerror or error}") from None
    try:
        _sweep(folder, name)
        yield
    finally:
        if sys.platform == "win32":  # An open file can't be removed there.
            os.close(held)
            with suppress(OSError):  # Another process may have opened it since.
                path.unlink()
        else:
            path.unlink(missing_ok=True)
            os.close(held)


def _acquired(path: Path, what: Path) -> int:
    """Descriptor of a lock file that is ours alone."""
    while True:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(held)
        except (BlockingIOError, PermissionError):
            number = os.read(held, 20).decode(errors="replace").strip()
            os.close(held)
            raise BusyError(
                f"{what}: process {number or 'another'} writes there at the moment; "
                "wait for it, or give another place"
            ) from None
        except OSError:
            pass  # A file system without locks: better to go on than to refuse the work.
        try:
            # Whoever held it before may have removed it between our opening and our locking.
            ours = os.path.samestat(os.fstat(held), os.stat(path))
        except FileNotFoundError:
            ours = False
        if ours:
            os.ftruncate(held, 0)
            os.write(held, f"{os.getpid()}\n".encode())
            return held
        os.close(held)


if sys.platform == "win32":
    import msvcrt

    def _lock(held: int) -> None:
        # A byte beyond the end, so that the number can still be read.
        os.lseek(held, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(held, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(held, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(held: int) -> None:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
