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
    "Dist.": "Hyperbolic distance of its centroid to the centre of the disk: near the centre "
    "lies what is general or uncertain, farther out what is specific",
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
        result, state = self._state.result, self._state
        rows = [] if result is None else result.rows(state.k)
        with QSignalBlocker(self):
            self.setRowCount(len(rows))
            for index, row in enumerate(rows):
                assert result is not None  # noqa: S101
                colour = QColor.fromRgbF(*result.colours[index].tolist())
                self._cell(index, 0, "").setIcon(_swatch(colour))
                self._cell(index, 1, state.name(row.label), editable=True)
                self._cell(index, 2, f"{row.voxels:,}", right=True)
                self._cell(index, 3, f"{row.volume_nm3:,.0f}", right=True)
                self._cell(index, 4, f"{row.distance:.2f}", right=True)

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
            self._state.rename(item.row() + 1, item.text())
            self.refresh()


def _swatch(colour: QColor) -> QIcon:
    """A square of one colour, in a chosen row too."""
    pixmap = QPixmap(16, 16)
    pixmap.fill(colour)
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
