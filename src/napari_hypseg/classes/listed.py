"""What classes there are: their table and history, and files of them for other programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_hypseg.classes.on_disk import ClassesOnDisk
from napari_hypseg.classes.table import HIGHEST, ClassRow, Colour
from napari_hypseg.volumes import Volume, write_labels
from napari_hypseg.volumes.atomic import replacing
from napari_hypseg.volumes.csv_cells import safe_cells

__all__ = ["ListedClasses"]


class ListedClasses(ClassesOnDisk):
    """What can be known of `Classes` without changing them."""

    def __repr__(self) -> str:
        names = ", ".join(f"{row.number} {row.name}" for row in self.table)
        return f"Classes({names or 'none yet'})"

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


def _hex(colour: Colour) -> str:
    red, green, blue = (round(255 * value) for value in colour)
    return f"#{red:02x}{green:02x}{blue:02x}"
