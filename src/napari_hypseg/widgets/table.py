"""The table of classes: colour, name, size, distance to the centre."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QItemSelectionModel, QSignalBlocker, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_hypseg.widgets.state import State

if TYPE_CHECKING:
    from napari_hypseg.figures import Figures, PartitionClass

__all__ = ["ClassTable", "short_number"]

_COLUMNS = {
    "": "Whether the class is shown, and its colour, the same in the layer and on the disk",
    "Class": "Double click to give it a name; the name stays with its branch of the tree",
    "Voxels": "Voxels of the labels in it",
    "nm³": "Its volume",
    "Dist.": "Mean hyperbolic distance of its voxels' points to the centre of the disk: near the "
    "centre lies what is general or uncertain, farther out what is specific",
}

# Beside short numbers.
_UNITS = (1e9, "G"), (1e6, "M"), (1e3, "k")


class ClassTable(QTableWidget):
    """The classes as they are now; they can be chosen, named and hidden here.

    A click on the head of a column sorts by it, another one turns the order round; the first column
    sorts by label.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        super().__init__(0, len(_COLUMNS))
        self._state = state
        # Keys of the classes, a row each.
        self._keys: list[int] = []
        # Figures by key; those of before while the voxels of one's own classes are not counted.
        self._figures: dict[int, Figures] = {}
        self._is_counted = True
        self.setHorizontalHeaderLabels(list(_COLUMNS))
        for column, tip in enumerate(_COLUMNS.values()):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        header = _Heads(Qt.Orientation.Horizontal)
        header.setSectionsClickable(True)
        self.setHorizontalHeader(header)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.setColumnWidth(0, 46)
        # Qt's own sorting would move the cells while they are filled.
        header.setSortIndicatorShown(True)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        header.sortIndicatorChanged.connect(lambda _section, _order: self.refresh())
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setMinimumHeight(110)
        self.itemChanged.connect(self._on_edited)
        self.itemSelectionChanged.connect(self._on_chosen)
        state.result_changed.connect(self.refresh)
        state.partition_changed.connect(self._on_partition)
        state.settled.connect(self._on_settled)
        state.chosen_changed.connect(self._mark)

    def refresh(self) -> None:
        """Show the classes as they are now."""
        partition, result = self._state.partition, self._state.result
        self._figures, self._is_counted = {}, True
        if partition is not None and result is not None:
            figures = result.tally.figures(partition, result.latents.voxel_size)
            self._figures = dict(zip(partition.keys, figures, strict=True))
        self._list()

    def _on_partition(self) -> None:
        partition, result = self._state.partition, self._state.result
        if partition is None or result is None or result.tally.knows(partition):
            self.refresh()
        else:
            # All voxels are counted once it rests: the class itself is drawn before.
            self._is_counted = False
            self._list()

    def _on_settled(self) -> None:
        if not self._is_counted:
            self.refresh()

    def _list(self) -> None:
        partition = self._state.partition
        classes = [] if partition is None else partition.classes
        with QSignalBlocker(self):
            self.setRowCount(len(classes))
            pairs = self._sorted([(shown, self._figures.get(shown.key)) for shown in classes])
            self._keys = [shown.key for shown, _ in pairs]
            for row, (shown, figure) in enumerate(pairs):
                self._fill(row, shown, figure)
        self._mark()

    def _sorted(
        self, pairs: list[tuple[PartitionClass, Figures | None]]
    ) -> list[tuple[PartitionClass, Figures | None]]:
        """The classes in the order of the column that is marked; those without a figure last."""
        header = self.horizontalHeader()
        column = header.sortIndicatorSection()
        falling = header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder

        def value(pair: tuple[PartitionClass, Figures | None]) -> Any:
            shown, figure = pair
            if column == 1:
                # Numbers within names count as numbers: class 10 comes after class 9.
                parts = re.split(r"(\d+)", shown.name.casefold())
                return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]
            if column == 0:
                return shown.label
            if figure is None or (column == 4 and math.isnan(figure.distance)):
                return -math.inf if falling else math.inf
            return (figure.voxels, figure.volume_nm3, figure.distance)[column - 2]

        return sorted(pairs, key=value, reverse=falling)

    def edit_name(self, key: int) -> None:
        """Let a person edit the name of a class."""
        item = self.item(self._keys.index(key), 1)
        self.scrollToItem(item)
        self.setCurrentItem(item)
        self.editItem(item)

    def _fill(self, row: int, shown: PartitionClass, figure: Figures | None) -> None:
        first = self._cell(row, 0, "", Qt.ItemFlag.ItemIsUserCheckable)
        state = Qt.CheckState.Unchecked if shown.hidden else Qt.CheckState.Checked
        first.setCheckState(state)
        first.setIcon(_swatch(QColor.fromRgbF(*shown.colour)))
        self._cell(row, 1, shown.name, Qt.ItemFlag.ItemIsEditable).setToolTip(shown.name)
        texts, tips = ["…"] * 3, [""] * 3
        if figure is not None:
            sizes = figure.voxels, round(figure.volume_nm3)
            distance = "–" if math.isnan(figure.distance) else f"{figure.distance:.2f}"
            texts = [*map(short_number, sizes), distance]
            tips = [*(f"{size:,}" for size in sizes), ""]
        for column, (text, tip) in enumerate(zip(texts, tips, strict=True), start=2):
            item = self._cell(row, column, text)
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            item.setToolTip(tip)

    def _cell(self, row: int, column: int, text: str, *flags: Qt.ItemFlag) -> QTableWidgetItem:
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem()
            allowed = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
            for flag in flags:
                allowed |= flag
            item.setFlags(allowed)
            self.setItem(row, column, item)
        item.setText(text)
        return item

    def _mark(self) -> None:
        """Select the rows of the chosen classes."""
        model = self.selectionModel()
        wanted = {row for row, key in enumerate(self._keys) if key in self._state.chosen}
        if wanted == {index.row() for index in model.selectedRows()}:
            return
        with QSignalBlocker(self):
            self.clearSelection()
            flags = QItemSelectionModel.SelectionFlag
            for row in sorted(wanted):
                model.select(self.model().index(row, 0), flags.Select | flags.Rows)
            if wanted:
                self.scrollToItem(self.item(min(wanted), 1))

    def _on_chosen(self) -> None:
        rows = [index.row() for index in self.selectionModel().selectedRows()]
        self._state.highlight(self._keys[row] for row in rows)

    def _on_edited(self, item: QTableWidgetItem) -> None:
        partition = self._state.partition
        assert partition is not None  # noqa: S101
        key = self._keys[item.row()]
        if item.column() == 1 and item.text().strip() != partition.name(key):
            self._state.change(partition.rename(key, item.text()))
        elif item.column() == 0:
            shown = item.checkState() == Qt.CheckState.Checked
            self._state.change(partition.show(key) if shown else partition.hide(key))


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
