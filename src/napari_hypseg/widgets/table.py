"""A table of rows that can be chosen and sorted; proposals and classes are shown in such ones."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QItemSelectionModel, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

__all__ = ["Cell", "RowTable", "short_number"]

# Beside short numbers.
_UNITS = (1e9, "G"), (1e6, "M"), (1e3, "k")
_HEIGHT, _FEWEST = 22, 6


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    value : str, int or float
        What it shows, and is sorted by; of NaN a dash.
    colour : tuple of float, optional
        sRGB, 0 to 1, of a swatch.
    checked : bool, optional
        Of a box that can be ticked; without it there is none.
    editable : bool
    tip : str
    """

    value: str | int | float = ""
    colour: tuple[float, float, float] | None = None
    checked: bool | None = None
    editable: bool = False
    tip: str = ""


class RowTable(QTableWidget):
    """Rows with keys.

    A click on the head of a column sorts by it, another one turns the order round.

    Parameters
    ----------
    columns : mapping of str to str
        Names and tooltips.
    names : bool
        Whether the second one holds names and takes the room that is left; else all share it.

    Attributes
    ----------
    keys : list of int
        Of the rows, from the top.
    chosen : Signal of list of int
        Keys that a person has chosen.
    edited : Signal of int, int, object
        Key, column, and the text or whether it is ticked.
    kept : Signal of int, int
        Key and column of a cell that was double clicked, unless that edits it.
    """

    chosen = Signal(list)
    edited = Signal(int, int, object)
    kept = Signal(int, int)

    def __init__(self, columns: Mapping[str, str], *, names: bool = True) -> None:
        super().__init__(0, len(columns))
        self.keys: list[int] = []
        self._rows: dict[int, Sequence[Cell]] = {}
        header = _Heads(Qt.Orientation.Horizontal)
        self.setHorizontalHeader(header)
        self.setHorizontalHeaderLabels(list(columns))
        for column, tip in enumerate(columns.values()):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_HEIGHT)
        header.setSectionsClickable(True)
        modes = QHeaderView.ResizeMode
        header.setSectionResizeMode(modes.ResizeToContents if names else modes.Stretch)
        header.setSectionResizeMode(1, modes.Stretch)
        # Qt's own sorting would move the cells while they are filled.
        header.setSortIndicatorShown(True)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        header.sortIndicatorChanged.connect(lambda _section, _order: self._list())
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.setMinimumHeight(_HEIGHT * (_FEWEST + 1) + 8)
        self.itemChanged.connect(self._on_edited)
        self.itemSelectionChanged.connect(self._on_chosen)
        self.itemDoubleClicked.connect(self._on_double)

    def fill(self, rows: Mapping[int, Sequence[Cell]], chosen: Collection[int]) -> None:
        """Show rows by their keys, some of them chosen."""
        if rows != self._rows:
            self._rows = dict(rows)
            self._list()
        self.mark(chosen)

    def mark(self, chosen: Collection[int]) -> None:
        """Select the rows of what is chosen."""
        model = self.selectionModel()
        wanted = {row for row, key in enumerate(self.keys) if key in chosen}
        if wanted == {index.row() for index in model.selectedRows()}:
            return
        with QSignalBlocker(self):
            self.clearSelection()
            flags = QItemSelectionModel.SelectionFlag
            for row in sorted(wanted):
                model.select(self.model().index(row, 0), flags.Select | flags.Rows)
            if wanted:
                self.scrollToItem(self.item(min(wanted), 1))

    def edit_cell(self, key: int, column: int) -> None:
        """Let a person edit a cell with the keyboard."""
        item = self.item(self.keys.index(key), column)
        self.scrollToItem(item)
        self.setCurrentItem(item)
        self.editItem(item)

    def _list(self) -> None:
        """Put the rows in the order of the column that is marked; dashes last."""
        header, chosen = self.horizontalHeader(), self._selected()
        column = header.sortIndicatorSection()
        falling = header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder
        order = sorted(self._rows, key=self._by(column, falling), reverse=falling)
        with QSignalBlocker(self):
            self.setRowCount(len(order))
            self.keys = order
            for row, key in enumerate(order):
                for at, cell in enumerate(self._rows[key]):
                    self._put(row, at, cell)
        self.mark(chosen)

    def _by(self, column: int, falling: bool) -> Callable[[int], Any]:
        def value(key: int) -> Any:
            found = self._rows[key][column].value
            if isinstance(found, str):
                # Numbers within names count as numbers: class 10 comes after class 9.
                parts = re.split(r"(\d+)", found.casefold())
                return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts], key
            if math.isnan(found):
                return -math.inf if falling else math.inf, key
            return found, key

        return value

    def _put(self, row: int, column: int, cell: Cell) -> None:
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem()
            self.setItem(row, column, item)
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if cell.editable:
            flags |= Qt.ItemFlag.ItemIsEditable
        if cell.checked is not None:
            flags |= Qt.ItemFlag.ItemIsUserCheckable
            item.setCheckState(Qt.CheckState.Checked if cell.checked else Qt.CheckState.Unchecked)
        item.setFlags(flags)
        text, tip = str(cell.value), cell.tip
        if isinstance(cell.value, float):
            text = "–" if math.isnan(cell.value) else f"{cell.value:.2f}"
        elif isinstance(cell.value, int):
            text, tip = short_number(cell.value), tip or f"{cell.value:,}"
        if not isinstance(cell.value, str):
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        item.setText(text)
        item.setToolTip(tip or text)
        if cell.colour is not None:
            item.setIcon(_swatch(QColor.fromRgbF(*cell.colour)))

    def _selected(self) -> list[int]:
        rows = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self.keys[row] for row in rows if row < len(self.keys)]

    def _on_chosen(self) -> None:
        self.chosen.emit(self._selected())

    def _on_edited(self, item: QTableWidgetItem) -> None:
        key = self.keys[item.row()]
        was = self._rows[key][item.column()]
        if was.checked is not None:
            value: Any = item.checkState() == Qt.CheckState.Checked
            is_new = value != was.checked
        else:
            value = item.text()
            is_new = value != was.value
        if is_new:
            # What it says is what is true, also if it is refused.
            with QSignalBlocker(self):
                self._put(item.row(), item.column(), was)
            self.edited.emit(key, item.column(), value)

    def _on_double(self, item: QTableWidgetItem) -> None:
        if not item.flags() & Qt.ItemFlag.ItemIsEditable:
            self.kept.emit(self.keys[item.row()], item.column())


class _Heads(QHeaderView):
    """Heads of columns without room for a mark of sorting but where it is: names need it more."""

    def sectionSizeFromContents(self, index: int) -> QSize:  # noqa: N802
        size = super().sectionSizeFromContents(index)
        return size if index == self.sortIndicatorSection() else size - QSize(size.height(), 0)


def short_number(number: int) -> str:
    """A number in six characters, so that the names beside it have room.

    Examples
    --------
    >>> short_number(99_999), short_number(447_309), short_number(65_536_000)
    ('99,999', '447 k', '65.5 M')
    """
    if number < 100_000:
        return f"{number:,}"
    rounded = float(f"{number:.3g}")
    size, unit = next(u for u in _UNITS if rounded >= u[0])
    return f"{rounded / size:g} {unit}"


def _swatch(colour: QColor) -> QIcon:
    """A square of one colour, in a chosen row too."""
    pixmap = QPixmap(16, 16)
    pixmap.fill(colour)
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
