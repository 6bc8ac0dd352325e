"""The table of classes: number, name, colour, where each came from, whether it is locked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from napari_hypseg.classes.palette import Colour, next_colour

__all__ = ["HIGHEST", "ClassRow", "Colour", "Source", "SourceKind", "Table"]

#: Classes are kept as uint8, and 0 is no class.
HIGHEST = 255

SourceKind = Literal["proposal", "lasso", "disk", "brush", "file", "layer", "merge"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a class came from.

    Parameters
    ----------
    kind : {"proposal", "lasso", "disk", "brush", "file", "layer", "merge"}
    detail : str
        Which proposal, file or classes, in words for a person.
    """

    kind: SourceKind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class in the table.

    Parameters
    ----------
    number : int
        1 to 255: its label in the volume and in every export.
    name : str
    colour : tuple of float
        sRGB, each 0 to 1.
    source : Source
    locked : bool
        Whether no edit changes its voxels.
    hidden : bool
        Whether it is left out of sight.
    """

    number: int
    name: str
    colour: Colour
    source: Source = field(default_factory=lambda: Source("brush"))
    locked: bool = False
    hidden: bool = False


@dataclass(frozen=True)
class Table:
    """The rows in order of their numbers, and all numbers that were ever given.

    What is hidden isn't in it: undo brings tables back, and hiding is no step.
    """

    rows: tuple[ClassRow, ...] = ()
    given: frozenset[int] = frozenset()

    def __iter__(self) -> Iterator[ClassRow]:
        return iter(self.rows)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the classes."""
        return tuple(row.number for row in self.rows)

    def row(self, number: int) -> ClassRow:
        """The row of a class; ValueError where there is none."""
        for row in self.rows:
            if row.number == number:
                return row
        there = ", ".join(map(str, self.numbers)) or "none yet"
        raise ValueError(f"there is no class {number}; classes: {there}")

    def free(self) -> int:
        """The number of the next class: one that was never given, as long as there is one."""
        numbers = range(1, HIGHEST + 1)
        taken = set(self.numbers)
        for number in numbers:
            if number not in self.given and number not in taken:
                return number
        for number in numbers:
            if number not in taken:
                return number
        raise ValueError(
            f"there are {HIGHEST} classes already, and there can't be more: merge some"
        )

    def put(self, row: ClassRow) -> Table:
        """With this row, in the place of the one with its number if there is one."""
        others = [other for other in self.rows if other.number != row.number]
        rows = sorted([*others, row], key=lambda r: r.number)
        return Table(tuple(rows), self.given | {row.number})

    def new(self, number: int, name: str | None, colour: Colour | None, source: Source) -> Table:
        """With a row for a new class; name and colour are found where none are given."""
        if colour is None:
            colour = next_colour(row.colour for row in self.rows)
        named = f"class {number}" if name is None else clean_name(name)
        return self.put(ClassRow(number, named, clean_colour(colour), source))

    def without(self, numbers: set[int]) -> Table:
        """Without the rows of some classes."""
        return replace(self, rows=tuple(row for row in self.rows if row.number not in numbers))

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        rows = [
            {
                "number": row.number,
                "name": row.name,
                "colour": row.colour,
                "source": {"kind": row.source.kind, "detail": row.source.detail},
                "locked": row.locked,
            }
            for row in self.rows
        ]
        return {"rows": rows, "given": sorted(self.given)}

    @classmethod
    def from_json(cls, values: Any) -> Table:
        """From JSON values of any content; ValueError, KeyError or TypeError if they are none."""
        rows = []
        for entry in values["rows"]:
            kind = entry["source"]["kind"]
            if kind not in get_args(SourceKind):
                raise ValueError("an unknown source of a class")
            source = Source(kind, _of_type(str, entry["source"]["detail"]))
            name, locked = _of_type(str, entry["name"]), _of_type(bool, entry["locked"])
            colour = clean_colour(entry["colour"])
            rows.append(ClassRow(_number(entry["number"]), name, colour, source, locked))
        numbers = [row.number for row in rows]
        if numbers != sorted(set(numbers)):
            raise ValueError("numbers of classes out of order")
        return cls(tuple(rows), frozenset(map(_number, values["given"])) | set(numbers))


def clean_name(name: str) -> str:
    """A name on one line; ValueError for an empty one."""
    cleaned = " ".join(name.split())
    if not cleaned:
        raise ValueError("a class needs a name, this one is empty")
    return cleaned


def clean_colour(colour: Any) -> Colour:
    """Three finite numbers from 0 to 1; ValueError for anything else."""
    try:
        red, green, blue = (float(value) for value in colour)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a colour is three numbers from 0 to 1 (red, green, blue)") from None
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in (red, green, blue)):
        raise ValueError(f"a colour is three numbers from 0 to 1 (red, green, blue), not {colour}")
    return red, green, blue


def _of_type(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"no {kind.__name__}")
    return value


def _number(value: Any) -> int:
    number: int = _of_type(int, value)
    if not 1 <= number <= HIGHEST:
        raise ValueError("a number of a class out of range")
    return number
