"""The log of edits of the classes: a file for each, with what it changed before and after."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_hypseg.classes.chunks import Grid, Index
from napari_hypseg.classes.table import Table
from napari_hypseg.volumes import Box
from napari_hypseg.volumes.atomic import replacing

__all__ = ["Edit", "Entry", "Log"]

_NAME = re.compile(r"(\d{6,})\.edit")
_MAGIC = b"hypsegE1"
# A header larger than any table and any volume need was made to fill the memory.
_MOST_HEADER = 1 << 26


@dataclass(frozen=True, slots=True)
class Edit:
    """What an edit of the classes was.

    Attributes
    ----------
    what : str
        In words for a person, such as "keep membrane".
    numbers : tuple of int
        Classes that it concerns.
    box : tuple of slice, or None
        Around the chunks in which voxels have changed; None if none have.
    """

    what: str
    numbers: tuple[int, ...] = ()
    box: Box | None = None


@dataclass(frozen=True)
class Entry:
    """An edit as the log holds it.

    Attributes
    ----------
    edit : Edit
    before, after : Table
    chunks : mapping of (z, y, x) to (bytes, bytes)
        Of each chunk that has changed: its file's bytes before and after.
    """

    edit: Edit
    before: Table
    after: Table
    chunks: Mapping[Index, tuple[bytes, bytes]]


class Log:
    """The files of the edits in a folder, numbered from 1."""

    def __init__(self, folder: Path, grid: Grid) -> None:
        self._folder, self._grid = folder, grid

    def path(self, number: int) -> Path:
        """File of an edit."""
        return self._folder / f"{number:06d}.edit"

    def has(self, number: int) -> bool:
        """Whether the file of an edit is there."""
        return self.path(number).is_file()

    def write(self, number: int, entry: Entry) -> None:
        """Keep an edit: it is on the disk when this returns."""
        self._folder.mkdir(exist_ok=True)
        header = json.dumps({
            "what": entry.edit.what,
            "numbers": entry.edit.numbers,
            "before": entry.before.to_json(),
            "after": entry.after.to_json(),
            "chunks": [[*i, len(b), len(a)] for i, (b, a) in entry.chunks.items()],
        }).encode()  # fmt: skip
        with replacing(self.path(number)) as fresh, fresh.open("wb") as file:
            file.write(_MAGIC + struct.pack("<Q", len(header)) + header)
            for before, after in entry.chunks.values():
                file.write(before + after)

    def read(self, number: int) -> Entry:
        """An edit.

        Raises
        ------
        ValueError
            If its file is missing or damaged.
        """
        path = self.path(number)
        try:
            with path.open("rb") as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    raise ValueError
                (size,) = struct.unpack("<Q", file.read(8))
                if size > _MOST_HEADER:
                    raise ValueError
                return self._entry(json.loads(file.read(size)), file.read())
        except (OSError, ValueError, KeyError, TypeError, struct.error, RecursionError):
            raise ValueError(f"{path}: this edit of the classes is damaged") from None

    def _entry(self, header: Any, body: bytes) -> Entry:
        chunks, at = {}, 0
        for z, y, x, before, after in header["chunks"]:
            index = (z, y, x)
            if not all(type(v) is int and v >= 0 for v in (*index, before, after)):
                raise ValueError
            ends = at + before, at + before + after
            if index not in self._grid or ends[1] > len(body):
                raise ValueError
            chunks[index] = (body[at : ends[0]], body[ends[0] : ends[1]])
            at = ends[1]
        what, numbers = str(header["what"]), tuple(int(n) for n in header["numbers"])
        edit = Edit(what, numbers, self._grid.around(chunks))
        return Entry(
            edit, Table.from_json(header["before"]), Table.from_json(header["after"]), chunks
        )

    def forget_from(self, number: int) -> None:
        """Remove edits from a number on: what was undone can't be redone after another edit."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and int(match[1]) >= number:
                    path.unlink()
