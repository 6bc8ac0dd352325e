"""`Classes`: what a person kept, on disk, with every edit of it undoable across restarts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_hypseg.classes.chunks import Index, Labels, Shape
from napari_hypseg.classes.listed import ListedClasses
from napari_hypseg.classes.log import Edit, Entry
from napari_hypseg.classes.table import (
    HIGHEST,
    ClassRow,
    Colour,
    Source,
    Table,
    clean_colour,
    clean_name,
)
from napari_hypseg.volumes import Box

__all__ = ["Classes"]

_FOREIGN = "take up another program's edits"

Mask = npt.NDArray[np.bool_]
# New voxels of a chunk: of where it lies and what is there.
Paint = Callable[[Box, Labels], Labels]
# An edit: in words, the numbers that it concerns, the table after it, where voxels may change, how.
Change = tuple[str, set[int], Table, Box | None, Paint | None]


class Classes(ListedClasses):
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
    """

    changed = Signal(Edit)
    chosen_changed = Signal()

    def __init__(self, folder: str | Path, shape: Shape) -> None:
        self.chosen: tuple[int, ...] = ()
        super().__init__(folder, shape)

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

        def edit() -> Change:
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

        def edit() -> Change:
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

        def edit() -> Change:
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

        def edit() -> Change:
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

        def edit() -> Change:
            rows = [self._unlocked(number) for number in chosen]
            table = self._table.without({*chosen} - {stays})
            what = "merge " + ", ".join(row.name for row in rows)
            return what, {*chosen}, table, self._whole, self._replaced(chosen, stays)

        self._edit(edit)
        return stays

    def clear(self, number: int) -> None:
        """Take all voxels out of a class; it stays in the table."""

        def edit() -> Change:
            row = self._unlocked(number)
            paint = self._replaced([number], 0)
            return f"clear {row.name}", {number}, self._table, self._whole, paint

        self._edit(edit)

    def remove(self, numbers: int | Collection[int]) -> None:
        """Remove classes, with their voxels."""
        chosen = _several(numbers)

        def edit() -> Change:
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
        def edit() -> Change:
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

        def edit() -> Change:
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

        def edit() -> Change:
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
        if self._is_there:
            with self._writing() as foreign:
                pass
            self._announce(None, foreign)

    def _announce(self, entry: Entry | None, foreign: bool) -> None:
        if entry is None and not foreign:
            return
        self.choose(self.chosen)
        whole = Edit(_FOREIGN, self._table.numbers, self._whole)
        self.changed.emit(whole if foreign or entry is None else entry.edit)

    # -- how an edit is made

    def _edit(
        self,
        make: Callable[[], Change],
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

    # -- helpers

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


def _inside(box: Box, other: Box) -> Box:
    """The part of a box that lies in another one, in voxels of the other."""
    z, y, x = (
        slice(max(s.start, o.start) - o.start, max(0, min(s.stop, o.stop) - o.start))
        for s, o in zip(box, other, strict=True)
    )
    return z, y, x


def _several(numbers: int | Collection[int]) -> set[int]:
    return {numbers} if isinstance(numbers, int) else {*numbers}
