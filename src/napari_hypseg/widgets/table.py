"""The table of classes: colour, name, size, distance to the centre."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_hypseg.widgets.state import State

__all__ = ["ClassTable"]

_COLUMNS = {
    "": "Colour of the class, the same in the layer and on the disk",
    "Class": "Double click to give it a name; the name stays with its branch of the tree",
    "Voxels": "Voxels of the labels in it",
    "nm³": "Its volume",
    "Dist.": "Mean hyperbolic distance of its voxels' points to the centre of the disk: near the "
    "centre lies what is general or uncertain, farther out what is specific",
}


class ClassTable(QTableWidget):
    """Classes at the granularity chosen; names can be edited.

    Attributes
    ----------
    chosen : Signal of int
        Label of the class that a person has clicked.
    """

    chosen = Signal(int)

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
        self.setColumnWidth(0, 22)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setMinimumHeight(110)
        self.itemChanged.connect(self._on_edited)
        self.cellClicked.connect(lambda row, _column: self.chosen.emit(row + 1))

    def refresh(self) -> None:
        """Show the classes as they are now."""
        partition, result = self._state.partition, self._state.result
        classes = [] if partition is None else partition.classes
        with QSignalBlocker(self):
            self.setRowCount(len(classes))
            if partition is None or result is None:
                return
            figures = result.tally.figures(partition, result.latents.voxel_size)
            for row, (shown, figure) in enumerate(zip(classes, figures, strict=True)):
                self._cell(row, 0, "").setIcon(_swatch(QColor.fromRgbF(*shown.colour)))
                self._cell(row, 1, shown.name, editable=True)
                self._cell(row, 2, f"{figure.voxels:,}", right=True)
                self._cell(row, 3, f"{figure.volume_nm3:,.0f}", right=True)
                self._cell(row, 4, f"{figure.distance:.2f}", right=True)

    def _cell(
        self, row: int, column: int, text: str, *, editable: bool = False, right: bool = False
    ) -> QTableWidgetItem:
        item = QTableWidgetItem(text)
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        item.setFlags(flags | Qt.ItemFlag.ItemIsEditable if editable else flags)
        if right:
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setItem(row, column, item)
        return item

    def _on_edited(self, item: QTableWidgetItem) -> None:
        if item.column() == 1:
            partition = self._state.partition
            assert partition is not None  # noqa: S101
            self._state.change(partition.rename(partition.keys[item.row()], item.text()))


def _swatch(colour: QColor) -> QIcon:
    """A square of one colour, in a chosen row too."""
    pixmap = QPixmap(16, 16)
    pixmap.fill(colour)
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
