"""Step 5 of the dock: the classes that a person keeps, and what can be done with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QFileDialog, QMenu, QToolButton

from napari_hypseg.classes import Source
from napari_hypseg.widgets.actions import action, action_buttons, allow_action
from napari_hypseg.widgets.export import ExportMenu
from napari_hypseg.widgets.labels_layer import is_made
from napari_hypseg.widgets.parts import Step, button
from napari_hypseg.widgets.table import Cell, RowTable

if TYPE_CHECKING:
    from pathlib import Path

    from napari_hypseg.classes import Classes, ClassRow
    from napari_hypseg.session import Session
    from napari_hypseg.widgets.desk import Desk
    from napari_hypseg.widgets.parts import Mark

__all__ = ["ClassesStep"]

_SHOWN, _NAME, _LOCK = 0, 1, 4
_COLUMNS = {
    "": "Whether the class is shown, and its colour: double click to choose another",
    "Class": "Double click to give it another name",
    "Voxels": "Its voxels",
    "nm³": "Its volume",
    "Lock": "The voxels of a locked class are changed by nothing",
}
_NEEDED = "Needs a volume: step 1"
_CHOOSE = "Choose a class first: click it in the table or in the volume"
_ONE = "Choose one class in the table, and proposals in the volume, the tree or the table of step 4"


class ClassesStep(Step):
    """The table of classes, and the actions on those that are chosen.

    Parameters
    ----------
    desk : Desk

    Attributes
    ----------
    table : RowTable
    exports : ExportMenu
    new, paint, merge, subtract, fill, clear, remove, rename, recolour, undo, redo : QAction
    """

    folds = False

    def __init__(self, desk: Desk) -> None:
        super().__init__("5  Classes")
        self._desk = desk
        self.table = RowTable(_COLUMNS)
        self.table.setAccessibleName("Classes")
        self.new = action(self, "New", "N", self._new)
        self.paint = action(self, "Paint", "P", self._paint)
        self.merge = action(self, "Merge", "M", self._merge)
        self.fill = action(self, "Fill", "F", self._fill)
        self.subtract = action(self, "Subtract", "", self._subtract)
        self.clear = action(self, "Clear", "", self._clear)
        self.remove = action(self, "Remove", "Del", self._remove)
        self.rename = action(self, "Name", "F2", self._rename)
        self.recolour = action(self, "Colour…", "", self._recolour)
        self.undo = action(self, "↶", "Alt+Z", desk.classes_layer.undo, anywhere=True)
        self.redo = action(self, "↷", "Alt+Shift+Z", desk.classes_layer.redo, anywhere=True)
        shown = self.new, self.paint, self.merge, self.fill, self.subtract, self.remove
        self.table.addActions((
            self.paint, self.rename, self.recolour, self.merge, self.fill, self.subtract,
            self.clear, self.remove,
        ))  # fmt: skip
        undo, redo = QToolButton(), QToolButton()
        undo.setDefaultAction(self.undo)
        redo.setDefaultAction(self.redo)
        action_buttons(self, shown)
        self.column.addWidget(self.table, 1)
        self.sources = QMenu(self)
        self.sources.aboutToShow.connect(self._list_sources)
        self.taking = button("From", "Classes from a labels layer or a file", lambda: None)
        self.taking.setMenu(self.sources)
        self.exports = ExportMenu(desk, self)
        self.export = button("Export", "Classes, masks, table, proposals, disk as files",
                             lambda: None)  # fmt: skip
        self.export.setMenu(self.exports)
        self.row(undo, redo, self.taking, self.export).setStretch(3, 1)
        self.table.chosen.connect(self._on_rows)
        self.table.edited.connect(self._on_edited)
        self.table.kept.connect(self._on_double)
        self.follow(
            (desk.session_changed, self.refresh), (desk.classes_changed, self.refresh),
            (desk.proposals_changed, self.refresh), (desk.chosen_changed, self._allow),
            (desk.classes_chosen_changed, self._on_chosen),
        )  # fmt: skip
        self.refresh()

    # -- what the actions do

    @property
    def _session(self) -> Session:
        session = self._desk.session
        assert session is not None  # noqa: S101
        return session

    @property
    def _classes(self) -> Classes:
        return self._session.classes

    def _do(self, edit: Callable[[], Any], said: str = "") -> None:
        """Make an edit, once what is being painted is one, and say what was done."""
        self._desk.classes_layer.end_stroke()
        with self._desk.telling():
            edit()
            self._desk.said.emit(said)

    def _new(self) -> None:
        def edit() -> None:
            self._classes.choose([self._classes.add()])
            self._desk.classes_layer.paint()

        self._do(edit, "paint the new class with the brush, or fill it from proposals")

    def _paint(self) -> None:
        self._do(self._desk.classes_layer.paint)

    def _merge(self) -> None:
        chosen = self._classes.chosen
        names = ", ".join(self._classes.row(number).name for number in chosen)
        self._do(lambda: self._classes.merge(chosen), f"merged {names}")

    def _fill(self) -> None:
        (number,) = self._classes.chosen
        self._do(lambda: self._session.keep(into=number))
        self._session.choose(())

    def _subtract(self) -> None:
        (number,) = self._classes.chosen
        self._do(lambda: self._session.subtract(number))

    def _clear(self) -> None:
        numbers = self._classes.chosen
        said = self._losing("cleared", numbers)

        def edit() -> None:
            for number in numbers:
                self._classes.clear(number)

        self._do(edit, said)

    def _remove(self) -> None:
        numbers = self._classes.chosen
        said = self._losing("removed", numbers)
        self._do(lambda: self._classes.remove(numbers), said)

    def _losing(self, what: str, numbers: tuple[int, ...]) -> str:
        names = ", ".join(self._classes.row(number).name for number in numbers)
        voxels = sum(self._classes.counts[number] for number in numbers)
        return f"{what} {names}: {voxels:,} voxels; Alt+Z brings them back"

    def _rename(self) -> None:
        self.table.edit_cell(self._classes.chosen[0], _NAME)

    def _recolour(self) -> None:
        for number in self._classes.chosen:
            row = self._classes.row(number)
            asked = QColorDialog.getColor(
                QColor.fromRgbF(*row.colour), self, f"Colour of {row.name}"
            )
            if asked.isValid():
                chosen = asked.redF(), asked.greenF(), asked.blueF()
                self._do(partial(self._classes.recolour, number, chosen))

    # -- from elsewhere

    def _list_sources(self) -> None:
        self.sources.clear()
        for layer in self._desk.viewer.layers:
            if getattr(layer, "_type_string", "") == "labels" and not is_made(layer):
                made = self.sources.addAction(f"Layer {layer.name}")
                made.triggered.connect(lambda _=False, each=layer: self.take_layer(each))
        self.sources.addSeparator()
        self.sources.addAction("File…").triggered.connect(lambda: self._ask_file())

    def take_layer(self, layer: Any) -> None:
        """Make a class of each label of a layer, where there is no class yet."""
        table = layer.features
        names = {}
        if "index" in table and "class" in table:
            names = dict(zip(table["index"], map(str, table["class"]), strict=True))
        self._take(np.asarray(layer.data), Source("layer", layer.name), names)

    def _ask_file(self) -> None:
        from pathlib import Path

        path, _ = QFileDialog.getOpenFileName(
            self, "Labels of this volume", str(self._session.folder)
        )
        if path:
            self.take_file(Path(path))

    def take_file(self, path: Path) -> None:
        """Make a class of each label of a file, where there is no class yet."""
        from napari_hypseg.volumes import read_volume

        with self._desk.telling():
            self._take(read_volume(path).read(), Source("file", path.name), {})

    def _take(self, labels: Any, source: Source, names: dict[int, str]) -> None:
        if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
            labels = labels.astype(np.int32)
        most = int(labels.max(initial=0)) if labels.dtype.kind in "iu" else 0
        listed = [names.get(label) for label in range(1, most + 1)] if names else None

        def edit() -> None:
            made = self._classes.fill_rest(labels, names=listed, source=source)
            self._desk.said.emit(f"{len(made)} classes from {source.detail}")

        self._desk.classes_layer.end_stroke()
        with self._desk.telling():
            edit()

    # -- what a person does in the table

    def _on_rows(self, numbers: list[int]) -> None:
        self._classes.choose(numbers)

    def _on_edited(self, number: int, column: int, value: Any) -> None:
        classes = self._classes
        if column == _NAME:
            self._do(lambda: classes.rename(number, value))
        elif column == _LOCK:
            self._do(lambda: classes.lock(number, value))
        elif value:
            self._do(lambda: classes.show([number]))
        else:
            self._do(lambda: classes.hide([number]))

    def _on_double(self, _number: int, column: int) -> None:
        if column == _SHOWN:
            self._recolour()

    # -- the session's changes

    def _on_chosen(self) -> None:
        self.table.mark(self._classes.chosen)
        self._allow()

    def refresh(self) -> None:
        """Show the classes as they are, and let be pressed what can be."""
        session = self._desk.session
        if session is None:
            self.say("waiting", _NEEDED)
            self.table.fill({}, ())
        else:
            rows, counts = session.classes.table, session.classes.counts
            voxel = math.prod(session.volume.voxel_size) / 1e3
            self.table.fill(
                {row.number: _cells(row, counts[row.number], voxel) for row in rows},
                session.classes.chosen,
            )
            if rows:
                self.say("done", f"{len(rows)} kept, saved as they are")
            else:
                # Most begin with proposals: till there are some, another step is next.
                mark: Mark = "waiting" if session.proposals is None else "next"
                self.say(mark, "Keep proposals (K), or begin a class with New and paint it")
        self._allow()

    def _allow(self) -> None:
        session = self._desk.session
        nothing = "" if session is not None else _NEEDED
        classes = () if session is None else session.classes.chosen
        some = nothing or ("" if classes else _CHOOSE)
        both = session is not None and len(classes) == 1 and bool(session.chosen)
        for_proposals = nothing or ("" if both else _ONE)
        many = some or ("" if len(classes) > 1 else "Choose two or more classes, with Ctrl")
        allow_action(self.new, "Begin a class with the brush", nothing)
        allow_action(self.paint, "Paint the chosen class with napari's brush", some)
        allow_action(self.merge, "Make one class of the chosen ones", many)
        allow_action(self.fill, "Give the chosen proposals to the chosen class", for_proposals)
        allow_action(self.subtract, "Take the chosen proposals out of the class", for_proposals)
        allow_action(self.clear, "Take all voxels out of the chosen classes", some)
        allow_action(self.remove, "Remove the chosen classes", some)
        allow_action(self.rename, "Give the class another name", some)
        allow_action(self.recolour, "Give the class another colour", some)
        undo = "" if session is None else session.classes.undo_text
        redo = "" if session is None else session.classes.redo_text
        allow_action(self.undo, f"Undo: {undo}", nothing or ("" if undo else "Nothing to undo"))
        allow_action(self.redo, f"Redo: {redo}", nothing or ("" if redo else "Nothing to redo"))
        self.taking.setEnabled(not nothing)
        self.export.setEnabled(not nothing)


def _cells(row: ClassRow, voxels: int, voxel: float) -> list[Cell]:
    came = f"{row.name}: number {row.number}, from {row.source.kind} {row.source.detail}".rstrip()
    return [
        Cell(colour=row.colour, checked=not row.hidden, tip=_COLUMNS[""]),
        Cell(row.name, editable=True, tip=came),
        Cell(voxels),
        Cell(round(voxels * voxel)),
        Cell(checked=row.locked, tip=_COLUMNS["Lock"]),
    ]
