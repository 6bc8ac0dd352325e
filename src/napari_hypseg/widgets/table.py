"""The table of classes: colour, name, size, distance to the centre."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import QItemSelectionModel, QSignalBlocker, Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_hypseg.widgets.state import State

if TYPE_CHECKING:
    from napari_hypseg.discovery import Figures, PartitionClass

__all__ = ["ClassTable"]

_COLUMNS = {
    "": "Whether the class is shown, and its colour, the same in the layer and on the disk",
    "Class": "Double click to give it a name; the name stays with its branch of the tree",
    "Voxels": "Voxels of the labels in it",
    "nm³": "Its volume",
    "Dist.": "Mean hyperbolic distance of its voxels' points to the centre of the disk: near the "
    "centre lies what is general or uncertain, farther out what is specific",
}


class ClassTable(QTableWidget):
    """The classes as they are now; they can be chosen, named and hidden here.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        super().__init__(0, len(_COLUMNS))
        self._state = state
        self.setHorizontalHeaderLabels(list(_COLUMNS))
        for column, tip in enumerate(_COLUMNS.values()):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.setColumnWidth(0, 46)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.DoubleClicked)
        self.setMinimumHeight(110)
        self.itemChanged.connect(self._on_edited)
        self.itemSelectionChanged.connect(self._on_chosen)
        state.result_changed.connect(self.refresh)
        state.partition_changed.connect(self.refresh)
        state.chosen_changed.connect(self._mark)

    def refresh(self) -> None:
        """Show the classes as they are now."""
        partition, result = self._state.partition, self._state.result
        classes = [] if partition is None else partition.classes
        with QSignalBlocker(self):
            self.setRowCount(len(classes))
            if partition is not None and result is not None:
                figures = result.tally.figures(partition, result.latents.voxel_size)
                for row, (shown, figure) in enumerate(zip(classes, figures, strict=True)):
                    self._fill(row, shown, figure)
        self._mark()

    def edit_name(self, key: int) -> None:
        """Let a person edit the name of a class."""
        assert self._state.partition is not None  # noqa: S101
        item = self.item(self._state.partition.keys.index(key), 1)
        self.scrollToItem(item)
        self.setCurrentItem(item)
        self.editItem(item)

    def _fill(self, row: int, shown: PartitionClass, figure: Figures) -> None:
        first = self._cell(row, 0, "", Qt.ItemFlag.ItemIsUserCheckable)
        state = Qt.CheckState.Unchecked if shown.hidden else Qt.CheckState.Checked
        first.setCheckState(state)
        first.setIcon(_swatch(QColor.fromRgbF(*shown.colour)))
        self._cell(row, 1, shown.name, Qt.ItemFlag.ItemIsEditable).setToolTip(shown.name)
        distance = "–" if math.isnan(figure.distance) else f"{figure.distance:.2f}"
        texts = f"{figure.voxels:,}", f"{figure.volume_nm3:,.0f}", distance
        for column, text in enumerate(texts, start=2):
            item = self._cell(row, column, text)
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

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
        partition, model = self._state.partition, self.selectionModel()
        keys = () if partition is None else partition.keys
        wanted = {row for row, key in enumerate(keys) if key in self._state.chosen}
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
        partition = self._state.partition
        if partition is not None:
            rows = [index.row() for index in self.selectionModel().selectedRows()]
            self._state.highlight(partition.keys[row] for row in rows)

    def _on_edited(self, item: QTableWidgetItem) -> None:
        partition = self._state.partition
        assert partition is not None  # noqa: S101
        key = partition.keys[item.row()]
        if item.column() == 1 and item.text().strip() != partition.name(key):
            self._state.change(partition.rename(key, item.text()))
        elif item.column() == 0:
            shown = item.checkState() == Qt.CheckState.Checked
            self._state.change(partition.show(key) if shown else partition.hide(key))


def _swatch(colour: QColor) -> QIcon:
    """A square of one colour, in a chosen row too."""
    pixmap = QPixmap(16, 16)
    pixmap.fill(colour)
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
