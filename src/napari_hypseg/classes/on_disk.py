"""The folder of the classes: every edit is whole on disk before the next, whatever happens."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
import zarr.codecs

from napari_hypseg.classes.chunks import Grid, Index, Labels, Shape
from napari_hypseg.classes.log import Entry, Log
from napari_hypseg.classes.table import HIGHEST, Table
from napari_hypseg.volumes import Box
from napari_hypseg.volumes.atomic import locked, replacing
from napari_hypseg.volumes.zarr_store import open_zarr

__all__ = ["ClassesOnDisk"]

FORMAT_VERSION = 1
_STATE, _LABELS, _EDITS = "state.json", "labels.zarr", "edits"
# Seconds that an edit waits for another program's.
_WAIT = 10.0
_MOST_BYTES = 1 << 24


class ClassesOnDisk:
    """Labels, table and log of edits in a folder; the base of `Classes`.

    Parameters
    ----------
    folder : path
    shape : tuple of int
        Of the tomogram, (z, y, x).

    Notes
    -----
    An edit first becomes a file of the log, with the changed chunks as they were and as they will
    be; then ``state.json`` names it, which is the moment it counts; then the chunks are written.
    What a crash leaves undone in the last step is done when the folder is opened.
    """

    def __init__(self, folder: str | Path, shape: Shape) -> None:
        self.folder = Path(folder)
        self.labels: Labels = np.zeros(shape, np.uint8)
        self._grid = Grid(shape)
        self._log = Log(self.folder / _EDITS, self._grid)
        self._table = Table()
        self._hidden: frozenset[int] = frozenset()
        self._counts = np.zeros(HIGHEST + 1, np.int64)
        self._counts[0] = self.labels.size
        self._at = self._last = 0
        self._token = ""
        if self._is_there:
            self._load(self._read_state())
        elif self.folder.exists() and any((self.folder / _EDITS).glob("*.edit")):
            raise ValueError(f"{self.folder}: is damaged, {_STATE} is missing")

    @property
    def _is_there(self) -> bool:
        return (self.folder / _STATE).exists()

    @property
    def _whole(self) -> Box:
        z, y, x = (slice(0, n) for n in self.labels.shape)
        return z, y, x

    # -- an edit

    def _commit(self, entry: Entry, new: dict[Index, Labels]) -> None:
        number = self._at + 1
        if self._last > self._at:
            # What was undone is gone before its numbers are given again.
            self._write_state(self._at, self._at, self._at, self._table)
            self._log.forget_from(number)
        if not (self.folder / _LABELS).exists():
            self._make_store()
        self._log.write(number, entry)
        self._write_state(self._at, number, number, entry.after)
        for index, voxels in new.items():
            self._put(index, voxels, entry.chunks[index][1])
        self._at = self._last = number
        self._table = entry.after

    def _put(self, index: Index, voxels: Labels, blob: bytes) -> None:
        """Voxels of a chunk, in memory and on disk."""
        box = self._grid.box(index)
        self._counts -= np.bincount(self.labels[box].ravel(), minlength=HIGHEST + 1)
        self._counts += np.bincount(voxels.ravel(), minlength=HIGHEST + 1)
        self.labels[box] = voxels
        self._put_file(index, blob)

    def _put_file(self, index: Index, blob: bytes) -> None:
        path = self._chunk_path(index)
        if blob:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.new")
            fresh.write_bytes(blob)
            fresh.replace(path)
        else:
            path.unlink(missing_ok=True)

    def _chunk_path(self, index: Index) -> Path:
        return self.folder.joinpath(_LABELS, "c", *map(str, index))

    def _make_store(self) -> None:
        """The label volume without any class, as other programs open it."""
        with replacing(self.folder / _LABELS) as fresh:
            zarr.create_array(
                fresh, shape=self.labels.shape, chunks=self._grid.chunk, dtype="uint8",
                fill_value=0, zarr_format=3, dimension_names=("z", "y", "x"),
                compressors=[zarr.codecs.ZstdCodec(level=1, checksum=True)],
            )  # fmt: skip

    def _move(self, entry: Entry, to: int, table: Table, side: int) -> None:
        decoded = {
            index: (self._grid.decode(index, blobs[side]), blobs[side])
            for index, blobs in entry.chunks.items()
        }
        self._write_state(self._at, to, self._last, table)
        for index, (voxels, blob) in decoded.items():
            self._put(index, voxels, blob)
        self._at, self._table = to, table

    @contextmanager
    def _writing(self) -> Iterator[bool]:
        """Be the only one that edits; whether another program has done so since we last looked."""
        with locked(self.folder, _STATE, wait=_WAIT):
            foreign = False
            if self._is_there:
                state = self._read_state()
                if state["token"] != self._token:
                    self._load(state)
                    foreign = True
            elif self._token:
                raise ValueError(
                    f"{self.folder}: the classes kept here are gone, {_STATE} is missing"
                )
            yield foreign

    # -- the state on disk

    def _write_state(self, before: int, at: int, last: int, table: Table) -> None:
        """Say which edit counts; ``before`` is the one that the chunks stand at."""
        token = uuid.uuid4().hex
        values = {
            "hypseg_classes": FORMAT_VERSION,
            "shape": self.labels.shape,
            "before": before,
            "at": at,
            "last": last,
            "token": token,
            "table": table.to_json(),
            "hidden": sorted(self._hidden & set(table.numbers)),
        }
        with replacing(self.folder / _STATE) as fresh:
            fresh.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        self._token = token
        self._last = last

    def _read_state(self) -> dict[str, Any]:
        """What `_write_state` wrote, looked through."""
        path = self.folder / _STATE
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise ValueError
            values = json.loads(path.read_text(encoding="utf-8"))
            version, numbers = values["hypseg_classes"], []
            for name in ("before", "at", "last"):
                if type(values[name]) is not int or not 0 <= values[name] < 10**6:
                    raise ValueError
                numbers.append(values[name])
            before, at, last = numbers
            if version != FORMAT_VERSION or abs(at - before) > 1 or max(at, before) > last + 1:
                raise ValueError
            values["table"] = Table.from_json(values["table"])
            values["hidden"] = frozenset(int(n) for n in values["hidden"])
            if not isinstance(values["token"], str):
                raise TypeError
            shape = tuple(values["shape"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"{path}: the classes kept here are damaged") from None
        if shape != self.labels.shape:
            raise ValueError(
                f"{path}: these classes are of a volume of {shape} voxels, not {self.labels.shape}"
            )
        return dict(values)

    def _load(self, state: dict[str, Any]) -> None:
        """Take up a state: the chunks as they are, and what a crash left undone."""
        before, at = state["before"], state["at"]
        for path in (
            self.folder,
            self.folder / _LABELS,
            self.folder / _EDITS,
            self.folder / _STATE,
        ):
            if path.is_symlink():
                raise ValueError(f"{path}: is a symbolic link, classes are not written through one")
        found: dict[Index, tuple[Labels, bytes]] = {}
        try:
            if (self.folder / _LABELS).exists():
                array: Any = open_zarr(self.folder / _LABELS, "r+")
                if (array.shape, array.dtype) != (self.labels.shape, np.uint8):
                    raise ValueError("its labels have another shape or type")
            if at != before:
                entry = self._log.read(max(at, before))
                side = 1 if at > before else 0
                for index, blobs in entry.chunks.items():
                    found[index] = (self._grid.decode(index, blobs[side]), blobs[side])
            labels = np.zeros_like(self.labels)
            for index in np.ndindex(*self._grid.counts):
                if index not in found and (path := self._chunk_path(index)).exists():
                    try:
                        voxels = self._grid.decode(index, path.read_bytes())
                    except ValueError:
                        found[index] = self._from_log(index, min(at, before))
                    else:
                        labels[self._grid.box(index)] = voxels
        except (OSError, ValueError) as error:
            reason = (str(error).splitlines() or ["unreadable"])[0]
            raise ValueError(
                f"{self.folder}: the classes kept here are damaged: {reason}"
            ) from None
        for index, (voxels, blob) in found.items():
            labels[self._grid.box(index)] = voxels
            self._put_file(index, blob)
        self.labels[...] = labels
        self._counts = np.bincount(labels.ravel(), minlength=HIGHEST + 1)
        self._table, self._hidden = state["table"], state["hidden"]
        self._at, self._last, self._token = at, state["last"], state["token"]

    def _from_log(self, index: Index, number: int) -> tuple[Labels, bytes]:
        """A damaged chunk as the last edit of it up to a number left it."""
        while number > 0:
            entry = self._log.read(number)
            if index in entry.chunks:
                blob = entry.chunks[index][1]
                return self._grid.decode(index, blob), blob
            number -= 1
        raise ValueError(f"the chunk {index} of its labels is damaged")
