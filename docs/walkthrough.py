"""Goes from File > Open to classes in a file, with mouse and keys, and takes pictures.

    python docs/walkthrough.py TOMOGRAM.mrc [--images FOLDER] [--theme light]

needs napari and a display of at least 1280 x 800. The tomogram is copied to a temporary folder,
where its results go too.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QListView,
    QMenu,
    QSlider,
    QStyle,
    QStyleOptionSlider,
    QWidget,
)

from napari_hypseg.widgets.table import RowTable

LEFT = Qt.MouseButton.LeftButton
# Few training steps, for pictures: the preset's take minutes. Proposals to look at.
STEPS, K = 60, 8


class Person:
    """Somebody with a mouse, who waits and takes pictures."""

    def __init__(self, window: QWidget, images: Path) -> None:
        self.window, self.images = window, images
        self.count, self.began = 0, time.monotonic()

    def wait(self, until: Callable[[], Any], seconds: float = 1800) -> None:
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise TimeoutError("it did not come")
            QTest.qWait(20)

    def picture(self, name: str) -> None:
        QTest.qWait(800)
        self.count += 1
        path = self.images / f"walk_{self.count:02d}_{name}.png"
        self.window.grab().save(str(path))
        print(f"{time.monotonic() - self.began:6.1f} s  {path}", flush=True)

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        if not widget.isEnabled():
            raise RuntimeError(f"can't be clicked: {widget.toolTip()}")
        QTest.mouseClick(widget, LEFT, pos=at or widget.rect().center())

    def drag(self, widget: QWidget, start: QPoint, end: QPoint) -> None:
        QTest.mousePress(widget, LEFT, pos=start)
        for share in np.linspace(0, 1, 12):
            QTest.mouseMove(widget, start + (end - start) * float(share))
            QTest.qWait(20)
        QTest.mouseRelease(widget, LEFT, pos=end)

    def slide(self, slider: QSlider, value: int) -> None:
        option = QStyleOptionSlider()
        slider.initStyleOption(option)
        control, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
        handle = slider.style().subControlRect(control, option, part, slider).center()
        share = (value - slider.minimum()) / (slider.maximum() - slider.minimum())
        self.drag(slider, handle, QPoint(round(8 + share * (slider.width() - 16)), handle.y()))

    def write(self, field: QWidget, text: object) -> None:
        field.setFocus()
        field.selectAll()
        QTest.keyClicks(field, str(text))
        QTest.keyClick(field, Qt.Key.Key_Return)
        QTest.qWait(200)

    def choose_row(
        self, table: RowTable, key: int, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
    ) -> None:
        """Click a row of a table."""
        item = table.item(table.keys.index(key), 1)
        table.scrollToItem(item)
        QTest.mouseClick(table.viewport(), LEFT, keys, table.visualItemRect(item).center())

    def name(self, table: RowTable, key: int, name: str) -> None:
        """Double click the name of a class, and type another."""
        self.choose_row(table, key)
        place = table.visualItemRect(table.item(table.keys.index(key), 1)).center()
        QTest.mouseDClick(table.viewport(), LEFT, pos=place)
        self.write(table.findChild(QLineEdit), name)

    def choose(self, menu: QMenu, text: str) -> None:
        """Click an entry of an open menu."""
        self.wait(menu.isVisible, 10)
        for action in menu.actions():
            if action.text().replace("&", "").startswith(text):
                QTest.mouseClick(menu, LEFT, pos=menu.actionGeometry(action).center())
                return
        raise LookupError(f"no {text!r} among {[a.text() for a in menu.actions()]}")

    def open_menu(self, title: str) -> QMenu:
        """Click a title of the window's menu bar."""
        bar = self.window.menuBar()
        for action in bar.actions():
            if action.text().replace("&", "") == title:
                QTest.mouseClick(bar, LEFT, pos=bar.actionGeometry(action).center())
                return action.menu()
        raise LookupError(title)

    def answer(self, file: str, button: str) -> None:
        """As soon as a file dialog is open: click a file in its list, if one is given; confirm."""

        def act() -> None:
            dialog = QApplication.activeModalWidget()
            if not isinstance(dialog, QFileDialog):
                QTimer.singleShot(100, act)
                return
            QTest.qWait(500)
            view = dialog.findChild(QListView, "listView")
            for row in range(view.model().rowCount(view.rootIndex())):
                index = view.model().index(row, 0, view.rootIndex())
                if index.data() == file:
                    view.scrollTo(index)
                    QTest.mouseClick(view.viewport(), LEFT, pos=view.visualRect(index).center())
            buttons = dialog.findChild(QDialogButtonBox)
            self.click(buttons.button(getattr(QDialogButtonBox.StandardButton, button)))

        QTimer.singleShot(300, act)


def walk(path: Path, person: Person, viewer: napari.Viewer) -> None:
    """All five steps, and the disk."""
    person.answer(path.name, "Open")
    person.choose(person.open_menu("File"), "Open File")
    person.wait(lambda: len(viewer.layers) == 1)
    plugins = person.open_menu("Plugins")
    entry = next(a for a in plugins.actions() if a.text() == "Hyperbolic segmentation")
    QTest.mouseClick(plugins, LEFT, pos=plugins.actionGeometry(entry).center())
    person.choose(entry.menu(), "Hyperbolic segmentation")
    person.wait(lambda: viewer.window.dock_widgets)
    dock = next(iter(viewer.window.dock_widgets.values()))
    desk, proposed, kept = dock.desk, dock.propose.table, dock.classes.table

    def idle() -> bool:
        return dock.model.is_ready and not desk.runner.title

    def push(text: str, within: QWidget = dock) -> None:
        person.click(next(b for b in within.findChildren(QAbstractButton) if b.text() == text))

    person.wait(idle)
    person.picture("volume")

    push("Options", dock.model)
    person.write(dock.model.form["steps"].native, STEPS)
    push("Train")
    person.wait(lambda: dock.model.loss.isVisible() or idle())
    QTest.qWait(5000)
    person.picture("training")
    person.wait(idle)
    push("Preview")
    person.wait(idle)
    person.picture("preview")
    push("Map all voxels")
    person.wait(idle)

    person.slide(dock.propose.slider.findChild(QSlider), K)
    # Protein is bright here.
    session = desk.session
    voxels, labels = session.volume.read(), session.proposals.labels(K)
    large = [row for row in session.proposals.rows(K) if row.voxels > voxels.size / 100]
    wall, around = sorted(large, key=lambda row: -voxels[labels == row.label].mean())[:2]
    person.choose_row(proposed, wall.node)
    person.picture("chosen")
    push("Keep", dock.propose)
    person.name(kept, session.classes.chosen[0], "wall")
    person.choose_row(proposed, around.node)
    push("Keep", dock.propose)
    person.name(kept, session.classes.chosen[0], "around")
    person.click(dock.propose.head)
    person.picture("kept")

    canvas = viewer.window._qt_viewer.canvas.native
    person.choose_row(kept, 1)
    push("Paint")
    middle = canvas.rect().center()
    person.drag(canvas, middle - QPoint(120, 0), middle - QPoint(40, 0))
    person.picture("painted")
    push("↶")

    push("Poincaré disk")
    disk = viewer.window.dock_widgets["Poincaré disk (Hyperbolic segmentation)"]
    QTest.qWait(1000)
    drawn = disk.scene.canvas.native
    x, y = disk.scene.position_of(session.proposals.tree.centroids[wall.node])
    person.click(drawn, QPoint(round(x), round(y)))
    person.slide(disk.picked.slider, disk.picked.slider.value() * 2)
    # Beside what was clicked, towards the centre: to see what lies there.
    QTest.mouseMove(drawn, QPoint(round(x), round(y)) * 0.7 + drawn.rect().center() * 0.3)
    person.wait(lambda: disk.glance.text.text().startswith("voxel"), 60)
    person.picture("disk")
    push("Keep", disk)
    person.wait(idle)
    person.choose_row(kept, 1)
    person.choose_row(kept, 3, Qt.KeyboardModifier.ControlModifier)
    push("Merge")
    person.answer("", "Save")
    QTimer.singleShot(400, lambda: person.choose(QApplication.activePopupWidget(), "Classes"))
    push("Export")
    person.wait(lambda: list(path.parent.rglob("*classes.mrc")))
    print(*sorted(p.relative_to(path.parent) for p in path.parent.glob("*/*")))


def main() -> None:
    """Read the arguments and go."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tomogram", type=Path)
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    parser.add_argument("--theme", default="dark")
    given = parser.parse_args()
    given.images.mkdir(parents=True, exist_ok=True)
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(given.tomogram, folder))
        viewer = napari.Viewer()
        viewer.theme = given.theme
        window = viewer.window._qt_window
        window.setFixedSize(1280, 800)
        napari.utils.history.update_open_history(str(path))
        walk(path, Person(window, given.images), viewer)
        viewer.close()


if __name__ == "__main__":
    main()
