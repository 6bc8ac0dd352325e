"""`Classes`: what a person kept, on disk, with every edit of it undoable across restarts."""

from __future__ import annotations

import csv
import io
import json
import math
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
import zarr.codecs
from psygnal import Signal

from napari_hypseg.classes.chunks import Grid, Index, Labels, Shape
from napari_hypseg.classes.log import Edit, Entry, Log
from napari_hypseg.classes.table import (
    HIGHEST,
    ClassRow,
    Colour,
    Source,
    Table,
    clean_colour,
    clean_name,
)
from napari_hypseg.volumes import Box, Volume, write_labels
from napari_hypseg.volumes.atomic import locked, replacing
from napari_hypseg.volumes.csv_cells import safe_cells
from napari_hypseg.volumes.zarr_store import open_zarr

__all__ = ["Classes"]

FORMAT_VERSION = 1
_STATE, _LABELS, _EDITS = "state.json", "labels.zarr", "edits"
# Seconds that an edit waits for another program's.
_WAIT = 10.0
_MOST_BYTES = 1 << 24
_FOREIGN = "take up another program's edits"

Mask = npt.NDArray[np.bool_]
# New voxels of a chunk: of where it lies and what is there.
Paint = Callable[[Box, Labels], Labels]


class Classes:
    """The classes of one tomogram: one label volume, a table, a log of edits.

    Every edit is one step of `undo`, is on disk when its method returns, and changes ``labels``
    in place. Voxels of a locked class are changed by no edit.

    Parameters
    ----------
    folder : path
        Where they are kept; made with the first edit. What it holds already is taken up.
    shape : tuple of int
        Of the tomogram, (z, y, x).

    Attributes
    ----------
    labels : array of uint8, shape (z, y, x)
        Class of each voxel, 0 where there is none. The same array for good: views share it.
    chosen : tuple of int
        Numbers of the classes that a person has chosen.
    changed : psygnal.Signal of Edit
        Emitted after each edit, undo and redo, and after another program's were taken up.
    chosen_changed : psygnal.Signal

    Raises
    ------
    ValueError
        If what the folder holds is damaged, or of another volume. It is left as it is.

    Notes
    -----
    An edit first becomes a file of the log, with the changed chunks as they were and as they will
    be; then ``state.json`` names it, which is the moment it counts; then the chunks are written.
    What a crash leaves undone in the last step is done when the folder is opened.
    """

    changed = Signal(Edit)
    chosen_changed = Signal()

    def __init__(self, folder: str | Path, shape: Shape) -> None:
        self.folder = Path(folder)
        self.labels: Labels = np.zeros(shape, np.uint8)
        self.chosen: tuple[int, ...] = ()
        self._grid = Grid(shape)
        self._log = Log(self.folder / _EDITS, self._grid)
        self._table = Table()
        self._hidden: frozenset[int] = frozenset()
        self._counts = np.zeros(HIGHEST + 1, np.int64)
        self._counts[0] = self.labels.size
        self._at = self._last = 0
        self._token = ""
        if (self.folder / _STATE).exists():
            self._load(self._read_state())
        elif self.folder.exists() and any((self.folder / _EDITS).glob("*.edit")):
            raise ValueError(f"{self.folder}: is damaged, {_STATE} is missing")

    def __repr__(self) -> str:
        names = ", ".join(f"{row.number} {row.name}" for row in self.table)
        return f"Classes({names or 'none yet'})"

    # -- what there is

    @property
    def table(self) -> tuple[ClassRow, ...]:
        """The classes in order of their numbers."""
        return tuple(replace(row, hidden=row.number in self._hidden) for row in self._table)

    def row(self, number: int) -> ClassRow:
        """The row of a class; ValueError where there is none."""
        return replace(self._table.row(number), hidden=number in self._hidden)

    def number(self, which: str | int) -> int:
        """Number of the class with this name or number.

        Raises
        ------
        ValueError
            If there is none, or several have the name.
        """
        if isinstance(which, int) or which.isdigit():
            return self._table.row(int(which)).number
        found = [row.number for row in self._table if row.name == which]
        if len(found) != 1:
            names = ", ".join(row.name for row in self._table) or "none yet"
            many = "several classes are" if found else "no class is"
            raise ValueError(f"{many} called {which!r}; classes: {names}")
        return found[0]

    @property
    def counts(self) -> dict[int, int]:
        """Voxels of each class, by number."""
        return {row.number: int(self._counts[row.number]) for row in self._table}

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to take back."""
        return self._at > 0 and self._log.has(self._at)

    @property
    def can_redo(self) -> bool:
        """Whether there is an edit to make again."""
        return self._at < self._last and self._log.has(self._at + 1)

    @property
    def undo_text(self) -> str:
        """What `undo` would take back; empty if nothing."""
        return self._what(self._at) if self.can_undo else ""

    @property
    def redo_text(self) -> str:
        """What `redo` would make again; empty if nothing."""
        return self._what(self._at + 1) if self.can_redo else ""

    def _what(self, number: int) -> str:
        try:
            return self._log.read(number).edit.what
        except ValueError:
            return "an edit that is damaged"

    @property
    def history(self) -> list[str]:
        """What was done, the last edit that stands at the end."""
        first = self._at
        while first > 0 and self._log.has(first):
            first -= 1
        return [self._what(number) for number in range(first + 1, self._at + 1)]

    def choose(self, numbers: Iterable[int]) -> None:
        """Choose classes, and no others."""
        chosen = tuple(sorted(set(numbers) & set(self._table.numbers)))
        if chosen != self.chosen:
            self.chosen = chosen
            self.chosen_changed.emit()

    # -- edits

    def add(
        self, mask: npt.ArrayLike | None = None, name: str | None = None,
        colour: Colour | None = None, source: Source | None = None, box: Box | None = None,
    ) -> int:  # fmt: skip
        """Make a class of some voxels, which are taken from other classes; its number.

        Parameters
        ----------
        mask : array of bool, optional
            Its voxels, of the whole volume or of ``box``; without it a class that is to be
            painted.
        name : str, optional
            "class 3" and so on without it.
        colour : tuple of float, optional
            sRGB, 0 to 1; one that differs from the others without it.
        source : Source, optional
            Where it comes from.
        box : tuple of slice, optional
            Where the mask lies.

        Raises
        ------
        ValueError
            If the mask has the wrong shape or no voxel, all its voxels are locked, or there are
            255 classes already.
        """
        made: list[int] = []

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            number = self._table.free()
            made[:] = [number]
            table = self._table.new(number, name, colour, source or Source("brush"))
            what = f"keep {table.row(number).name}"
            if mask is None:
                return what, {number}, table, None, None
            place, inside = self._mask(mask, box)
            return what, {number}, table, place, self._painted_where(place, inside, number)

        self._edit(edit, needs_voxels=mask is not None)
        return made[0]

    def fill(self, number: int, mask: npt.ArrayLike, *, box: Box | None = None) -> None:
        """Give voxels to a class, from no class and from others."""

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            row = self._unlocked(number)
            place, inside = self._mask(mask, box)
            paint = self._painted_where(place, inside, number)
            return f"fill {row.name}", {number}, self._table, place, paint

        self._edit(edit, needs_voxels=True)

    def fill_rest(
        self, labels: npt.ArrayLike, *, names: Sequence[str | None] | None = None,
        colours: Sequence[Colour] | None = None, source: Source | None = None,
        box: Box | None = None,
    ) -> list[int]:  # fmt: skip
        """Make a class of each label, where there is no class yet, as one edit; their numbers.

        Parameters
        ----------
        labels : array of int, shape (z, y, x) or that of ``box``
            0 for no class.
        names, colours : sequence, optional
            Entry ``i - 1`` is of label i.
        source, box
            As for `add`.

        Returns
        -------
        list of int
            Of the labels that have voxels left, in order.
        """
        made: list[int] = []

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            place, given = self._array(labels, box)
            there = np.unique(given[(given > 0) & (self.labels[place] == 0)]).tolist()
            table, lookup = self._table, {}
            for label in there:
                lookup[label] = table.free()
                name = None if names is None or label > len(names) else names[label - 1]
                tint = None if colours is None or label > len(colours) else colours[label - 1]
                table = table.new(lookup[label], name, tint, source or Source("brush"))
            made[:] = list(lookup.values())

            def paint(at: Box, old: Labels) -> Labels:
                part, new = given[_inside(at, place)], old.copy()
                view = new[_inside(place, at)]
                for label, number in lookup.items():
                    view[(part == label) & (view == 0)] = number
                return new

            return f"keep {len(made)} classes", set(made), table, place, paint

        self._edit(edit, needs_voxels=True)
        return made

    def subtract(self, number: int, mask: npt.ArrayLike, *, box: Box | None = None) -> None:
        """Take voxels out of a class."""

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            row = self._unlocked(number)
            place, inside = self._mask(mask, box)

            def paint(at: Box, old: Labels) -> Labels:
                new = old.copy()
                view = new[_inside(place, at)]
                view[inside[_inside(at, place)] & (view == number)] = 0
                return new

            return f"subtract from {row.name}", {number}, self._table, place, paint

        self._edit(edit, needs_voxels=True)

    def merge(self, numbers: Collection[int], into: int | None = None) -> int:
        """Make one class of several; the lowest number, or ``into``, stays with its name."""
        chosen = sorted({*numbers} | ({into} if into is not None else set()))
        if len(chosen) < 2:
            raise ValueError("choose two or more classes to merge")
        stays = chosen[0] if into is None else into

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            rows = [self._unlocked(number) for number in chosen]
            table = self._table.without({*chosen} - {stays})
            what = "merge " + ", ".join(row.name for row in rows)
            return what, {*chosen}, table, self._whole, self._replaced(chosen, stays)

        self._edit(edit)
        return stays

    def clear(self, number: int) -> None:
        """Take all voxels out of a class; it stays in the table."""

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            row = self._unlocked(number)
            paint = self._replaced([number], 0)
            return f"clear {row.name}", {number}, self._table, self._whole, paint

        self._edit(edit)

    def remove(self, numbers: int | Collection[int]) -> None:
        """Remove classes, with their voxels."""
        chosen = _several(numbers)

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            names = ", ".join(self._unlocked(number).name for number in sorted(chosen))
            table, paint = self._table.without(chosen), self._replaced(sorted(chosen), 0)
            return f"remove {names}", chosen, table, self._whole, paint

        self._edit(edit)

    def rename(self, number: int, name: str) -> None:
        """Give a class another name."""
        self._change(number, "rename", name=clean_name(name))

    def recolour(self, number: int, colour: Colour) -> None:
        """Give a class another colour, sRGB, 0 to 1."""
        self._change(number, "recolour", colour=clean_colour(colour))

    def lock(self, number: int, locked: bool = True) -> None:
        """Lock a class: no edit changes its voxels; or unlock it."""
        self._change(number, "lock" if locked else "unlock", locked=locked)

    def _change(self, number: int, what: str, **values: Any) -> None:
        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            row = self._table.row(number)
            table = self._table.put(replace(row, **values))
            return f"{what} {row.name}", {number}, table, None, None

        self._edit(edit)

    def painted(self, indices: Any, before: npt.ArrayLike) -> int:
        """Take up what a brush has done to ``labels`` already, as one edit.

        A number that is no class yet becomes one.

        Parameters
        ----------
        indices : tuple of array of int, or array of int
            Of the voxels that were painted, along (z, y, x), or flat. One that was painted
            several times may come several times, in the order of painting.
        before : array of int, or int
            What was there before each.

        Returns
        -------
        int
            Voxels that were put back, because they belong to a locked class or were painted with
            the number of one.
        """
        flat = indices
        if isinstance(indices, tuple):
            flat = np.ravel_multi_index(
                [np.asarray(i) for i in indices],
                self.labels.shape,
            )
        flat = np.asarray(flat, np.int64).ravel()
        old = np.broadcast_to(np.asarray(before), flat.shape).astype(np.uint8)
        # Of a voxel that was painted twice the first says what was there.
        flat, first = np.unique(flat, return_index=True)
        old = old[first]
        voxels = self.labels.reshape(-1)
        wanted = voxels[flat].copy()
        voxels[flat] = old
        changed = wanted != old
        flat, wanted, old = flat[changed], wanted[changed], old[changed]
        if not len(flat):
            return 0
        refused = np.zeros(len(flat), np.bool_)

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            is_locked = self._locked()
            refused[:] = is_locked[wanted] | is_locked[voxels[flat]]
            kept, values = flat[~refused], wanted[~refused]
            table, numbers = self._table, set(np.unique(values).tolist()) - {0}
            for number in sorted(numbers - set(table.numbers)):
                table = table.new(number, None, None, Source("brush"))
            where = np.unravel_index(kept, self.labels.shape)
            place = None
            if len(kept):
                z, y, x = (slice(int(i.min()), int(i.max()) + 1) for i in where)
                place = z, y, x

            def paint(at: Box, old: Labels) -> Labels:
                here = np.logical_and.reduce(
                    [(i >= s.start) & (i < s.stop) for i, s in zip(where, at, strict=True)]
                )
                new = old.copy()
                new[tuple(i[here] - s.start for i, s in zip(where, at, strict=True))] = values[here]
                return new

            what = "paint" if numbers else "erase"
            names = ", ".join(table.row(number).name for number in sorted(numbers))
            return f"{what} {names}".strip(), numbers, table, place, paint

        self._edit(edit)
        return int(refused.sum())

    def replace(self, labels: npt.ArrayLike, source: Source | None = None) -> None:
        """Take a whole label volume in place of the classes, as one edit; locked ones stay."""

        def edit() -> tuple[str, set[int], Table, Box | None, Paint | None]:
            _, given = self._array(labels, None)
            if given.min() < 0 or given.max() > HIGHEST:
                raise ValueError(
                    f"labels of classes are 0 to {HIGHEST}, these are {given.min()} to "
                    f"{given.max()}"
                )
            numbers = set(np.unique(given).tolist()) - {0}
            table = self._table
            for number in sorted(numbers - set(table.numbers)):
                table = table.new(number, None, None, source or Source("file"))

            def paint(at: Box, _old: Labels) -> Labels:
                part: Labels = given[at].astype(np.uint8)
                return part

            return "replace all classes", numbers, table, self._whole, paint

        self._edit(edit)

    def hide(self, numbers: int | Collection[int]) -> None:
        """Leave classes out of sight. What is hidden is how one looks: no step of `undo`."""
        chosen = {self._table.row(number).number for number in _several(numbers)}
        self._see(self._hidden | chosen, chosen)

    def show(self, numbers: int | Collection[int]) -> None:
        """Show classes again."""
        chosen = {self._table.row(number).number for number in _several(numbers)}
        self._see(self._hidden - chosen, chosen)

    def _see(self, hidden: frozenset[int], numbers: Iterable[int]) -> None:
        with self._writing():
            self._hidden = frozenset(hidden)
            self._write_state(self._at, self._at, self._last, self._table)
        self.changed.emit(Edit("look", tuple(numbers)))

    def undo(self) -> None:
        """Take the last edit back; nothing where there is none."""
        with self._writing() as foreign:
            # What another program did is shown first: nobody takes back what they have not seen.
            entry = self._log.read(self._at) if self.can_undo and not foreign else None
            if entry is not None:
                self._move(entry, self._at - 1, entry.before, 0)
        self._announce(entry, foreign)

    def redo(self) -> None:
        """Make the edit again that was taken back last; nothing where there is none."""
        with self._writing() as foreign:
            entry = self._log.read(self._at + 1) if self.can_redo and not foreign else None
            if entry is not None:
                self._move(entry, self._at + 1, entry.after, 1)
        self._announce(entry, foreign)

    def refresh(self) -> None:
        """Take up what another program has done to the classes meanwhile."""
        if (self.folder / _STATE).exists():
            with self._writing() as foreign:
                pass
            self._announce(None, foreign)

    def _move(self, entry: Entry, to: int, table: Table, side: int) -> None:
        decoded = {
            index: (self._grid.decode(index, blobs[side]), blobs[side])
            for index, blobs in entry.chunks.items()
        }
        self._write_state(self._at, to, self._last, table)
        for index, (voxels, blob) in decoded.items():
            self._put(index, voxels, blob)
        self._at, self._table = to, table

    def _announce(self, entry: Entry | None, foreign: bool) -> None:
        if entry is None and not foreign:
            return
        self.choose(self.chosen)
        whole = Edit(_FOREIGN, self._table.numbers, self._whole)
        self.changed.emit(whole if foreign or entry is None else entry.edit)

    # -- how an edit is made

    def _edit(
        self,
        make: Callable[[], tuple[str, set[int], Table, Box | None, Paint | None]],
        *,
        needs_voxels: bool = False,
    ) -> None:
        """Make an edit of the classes as they are now, on disk and in memory.

        ``make`` gives what it is in words, the numbers that it concerns, the table after it, where
        voxels may change and how. It is called once what another program has done is taken up.
        """
        edit = None
        if not self.folder.exists():
            make()  # What makes no sense makes no folder.
        with self._writing() as foreign:
            if foreign:
                self.changed.emit(Edit(_FOREIGN, self._table.numbers, self._whole))
            what, numbers, table, place, paint = make()
            chunks: dict[Index, tuple[bytes, bytes]] = {}
            new: dict[Index, Labels] = {}
            if place is not None and paint is not None:
                is_locked = self._locked()
                any_locked = bool(is_locked.any())
                for index in self._grid.within(place):
                    at = self._grid.box(index)
                    old = self.labels[at]
                    voxels = paint(at, old)
                    if any_locked:
                        kept = is_locked[old]
                        voxels[kept] = old[kept]
                    if not np.array_equal(voxels, old):
                        new[index] = voxels
                        chunks[index] = (self._grid.encode(old), self._grid.encode(voxels))
            if needs_voxels and not chunks:
                raise ValueError(
                    "this changes no voxel: there are none, they are locked, or they are so already"
                )
            if chunks or table != self._table:
                edit = Edit(what, tuple(sorted(numbers)), self._grid.around(chunks))
                self._commit(Entry(edit, self._table, table, chunks), new)
        if edit is not None:
            self.choose(self.chosen)
            self.changed.emit(edit)

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

    @contextmanager
    def _writing(self) -> Iterator[bool]:
        """Be the only one that edits; whether another program has done so since we last looked."""
        with locked(self.folder, _STATE, wait=_WAIT):
            foreign = False
            if (self.folder / _STATE).exists():
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

    # -- helpers

    @property
    def _whole(self) -> Box:
        z, y, x = (slice(0, n) for n in self.labels.shape)
        return z, y, x

    def _locked(self) -> Mask:
        table = np.zeros(HIGHEST + 1, np.bool_)
        table[[row.number for row in self._table if row.locked]] = True
        return table

    def _unlocked(self, number: int) -> ClassRow:
        row = self._table.row(number)
        if row.locked:
            raise ValueError(f"{row.name} is locked: unlock it first")
        return row

    def _array(self, values: npt.ArrayLike, box: Box | None) -> tuple[Box, npt.NDArray[Any]]:
        given = np.asarray(values)
        place = self._whole
        if box is not None:
            z, y, x = (
                slice(*s.indices(n)[:2]) for s, n in zip(box, self.labels.shape, strict=True)
            )
            place = z, y, x
        shape = tuple(s.stop - s.start for s in place)
        inside = all(
            0 <= s.start < s.stop <= n for s, n in zip(place, self.labels.shape, strict=True)
        )
        if given.shape != shape or not inside:
            raise ValueError(f"a class needs voxels of shape {shape}, not {given.shape}")
        return place, given

    def _mask(self, mask: npt.ArrayLike, box: Box | None) -> tuple[Box, Mask]:
        place, given = self._array(mask, box)
        return place, given.astype(np.bool_, copy=False)

    @staticmethod
    def _painted_where(place: Box, mask: Mask, number: int) -> Paint:
        def paint(at: Box, old: Labels) -> Labels:
            new = old.copy()
            new[_inside(place, at)][mask[_inside(at, place)]] = number
            return new

        return paint

    @staticmethod
    def _replaced(numbers: Collection[int], number: int) -> Paint:
        lookup = np.arange(HIGHEST + 1, dtype=np.uint8)
        lookup[list(numbers)] = number

        def paint(_at: Box, old: Labels) -> Labels:
            new: Labels = lookup[old]
            return new

        return paint

    # -- for other programs

    def write(self, path: str | Path, like: Volume, numbers: Collection[int] | None = None) -> None:
        """Write the classes as a label volume, with names and colours.

        OME-Zarr has a place for those; beside MRC and TIFF goes a JSON file of the same name.

        Parameters
        ----------
        path : path
            ``.mrc``, ``.tif``, ``.tiff`` or ``.zarr``.
        like : Volume
            The tomogram: its voxel size and origin.
        numbers : collection of int, optional
            Classes to write; all of them without it.
        """
        rows = self._rows(numbers)
        labels = self.labels
        if numbers is not None:
            lookup = np.zeros(HIGHEST + 1, np.uint8)
            for row in rows:
                lookup[row.number] = row.number
            labels = lookup[labels]
        write_labels(path, labels, like, classes=[
            {"label": row.number, "name": row.name, "colour": _hex(row.colour),
             "hidden": row.hidden}
            for row in rows
        ])  # fmt: skip

    def write_table(
        self, path: str | Path, voxel_size: tuple[float, float, float],
        numbers: Collection[int] | None = None,
    ) -> None:  # fmt: skip
        """Write the table as CSV: number, name, colour, voxels, volume, where each came from.

        Parameters
        ----------
        path : path
        voxel_size : tuple of float
            Of the tomogram, in angstrom.
        numbers : collection of int, optional
            Classes to write; all of them without it.
        """
        text, voxel = io.StringIO(), math.prod(voxel_size) / 1e3
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["number", "name", "colour", "voxels", "volume_nm3", "source", "detail"])
        for row in self._rows(numbers):
            count = int(self._counts[row.number])
            lines.writerow(safe_cells([
                row.number, row.name, _hex(row.colour), count, f"{count * voxel:.6g}",
                row.source.kind, row.source.detail,
            ]))  # fmt: skip
        with replacing(Path(path)) as fresh:
            fresh.write_text(text.getvalue(), encoding="utf-8")

    def _rows(self, numbers: Collection[int] | None) -> list[ClassRow]:
        if numbers is None:
            return list(self.table)
        return [self.row(number) for number in sorted(set(numbers))]


def _inside(box: Box, other: Box) -> Box:
    """The part of a box that lies in another one, in voxels of the other."""
    z, y, x = (
        slice(max(s.start, o.start) - o.start, max(0, min(s.stop, o.stop) - o.start))
        for s, o in zip(box, other, strict=True)
    )
    return z, y, x


def _several(numbers: int | Collection[int]) -> set[int]:
    return {numbers} if isinstance(numbers, int) else {*numbers}


def _hex(colour: Colour) -> str:
    red, green, blue = (round(255 * value) for value in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"
