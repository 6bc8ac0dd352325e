"""Files that appear whole or not at all, and folders in which one process writes at a time."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

__all__ = ["BusyError", "locked", "remove", "replacing", "temporary"]

# A name that nobody else gives: of what, which process works on it, and whether it is the new or
# the one that stepped aside for it.
_LEFT = re.compile(r"(?s)\.(?P<name>.+)\.hypseg-(?P<process>\d+)-[0-9a-f]{8}\.(?P<kind>new|old)")
# Temporary names that this process works on.
_at_work: set[str] = set()


class BusyError(RuntimeError):
    """Another process writes in the same folder; the message is one sentence for a person."""


@contextmanager
def temporary(path: Path, kind: str = "new") -> Iterator[Path]:
    """A name beside ``path`` that nothing has; what is left under it at the end is removed.

    After a kill, `locked` clears it away.
    """
    token = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
    found = path.with_name(f".{path.name}.hypseg-{token}.{kind}")
    _at_work.add(found.name)
    try:
        yield found
    finally:
        _delete(found)
        _at_work.discard(found.name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``; what was made under it takes the place at the end.

    Where the block fails, the place stays as it was and what was made is removed. A symbolic link
    at ``path`` is replaced itself: what it points to stays as it is. The folder may be reached
    through links.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.txt")) as fresh:
    ...         _ = fresh.write_text("whole")
    ...     [p.name for p in Path(folder).iterdir()]
    ['a.txt']
    """
    with temporary(path) as fresh, temporary(path, "old") as stale:
        yield fresh
        if fresh.is_file():
            # On the disk before the name is: a power cut must not leave an empty file under it.
            with fresh.open("rb+") as file:
                os.fsync(file.fileno())
        # A folder can't be replaced in one step, so the old one steps aside for the new.
        if fresh.is_dir() and os.path.lexists(path):
            os.replace(path, stale)
        try:
            os.replace(fresh, path)
        except BaseException:
            if os.path.lexists(stale) and not os.path.lexists(path):
                os.replace(stale, path)
            raise


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it, if it is there; its name is free at once.

    Of a link, what it points to stays.
    """
    if os.path.lexists(path):
        # Half a folder under its own name would be taken for a whole one after a kill.
        with temporary(path) as doomed:
            os.replace(path, doomed)


def _delete(path: Path) -> None:
    """Delete a file, a link or a folder, in no single step."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sweep(folder: Path, name: str) -> None:
    """Remove what killed processes left of `replacing`; what stepped aside for nothing comes back.

    Of files with ``name`` in their names; of all where it is empty. What a process still works on
    stays.
    """
    for left in sorted(folder.iterdir()):
        found = _LEFT.fullmatch(left.name)
        if found is None or name not in found["name"] or left.name in _at_work:
            continue
        process = int(found["process"])
        # A number of ours that is not at work was a killed process's, in a container, say.
        if process != os.getpid() and psutil.pid_exists(process):
            continue
        place = folder / found["name"]
        if found["kind"] == "old" and not os.path.lexists(place):
            os.replace(left, place)
        elif left.is_symlink() or left.is_file() or left.is_dir():
            _delete(left)


@contextmanager
def locked(folder: Path, name: str = "", wait: float = 0.0) -> Iterator[None]:
    """Be the only one that writes in a folder, and clear away what killed processes left.

    The lock is the operating system's: it ends with the process, however that ends. It keeps out
    other processes and the other threads of this one; locks of different names are independent.

    Parameters
    ----------
    folder : Path
        Made if it is missing.
    name : str, optional
        Only the file of this name, and what is beside it under this name with additions.
    wait : float
        Seconds to wait for who writes there at the moment.

    Raises
    ------
    BusyError
        If another process writes there, or another job of this one.
    OSError
        If the folder can't be written in, or a link is in the place of the lock.
    """
    path = folder / f".{name or 'hypseg'}.lock"
    # Any who may write in the folder may lock it. A job may end in another thread than it began.
    lock = FileLock(path, timeout=wait, mode=0o666, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise BusyError(f"{folder / name}: {_holder(path)} writes there at the moment; "
                        "wait for it, or give another place") from None  # fmt: skip
    except OSError as error:
        if os.path.islink(path):
            raise OSError(f"{path}: is a link, a lock never is; delete it") from None
        # A file system without locks: better to go on than to refuse the work.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
            raise type(error)(f"{folder}: can't be written in, {error.strerror or error}") from None
    try:
        if lock.is_locked:
            # For whoever finds it locked.
            with suppress(OSError), open(path, "w", opener=_no_link) as file:
                file.write(f"{os.getpid()}\n")
        _sweep(folder, name)
        yield
    finally:
        if lock.is_locked:
            # While it is ours. Windows does not remove what is open: there the file stays.
            with suppress(OSError):
                path.unlink()
        lock.release()


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _holder(path: Path) -> str:
    """Who has a lock, for a person."""
    try:
        number = int(path.read_text()[:20])
    except (OSError, ValueError):
        return "another process"
    return "another job of this program" if number == os.getpid() else f"process {number}"
