"""Goes from File > Open to exported labels with the mouse alone, and takes pictures on the way.

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
    QApplication,
    QDialogButtonBox,
    QFileDialog,
    QListView,
    QMenu,
    QPushButton,
    QSlider,
    QStyle,
    QStyleOptionSlider,
    QWidget,
)

LEFT = Qt.MouseButton.LeftButton


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

    def picture(self, name: str, of: QWidget | None = None) -> None:
        QTest.qWait(800)
        self.count += 1
        path = self.images / f"walk_{self.count:02d}_{name}.png"
        (of or self.window).grab().save(str(path))
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

    def answer(self, file: str, button: str, name: str = "") -> None:
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
            if name:
                self.picture(name, dialog)
            buttons = dialog.findChild(QDialogButtonBox)
            self.click(buttons.button(getattr(QDialogButtonBox.StandardButton, button)))

        QTimer.singleShot(300, act)


def walk(path: Path, person: Person, viewer: napari.Viewer) -> None:
    """All four steps."""
    person.answer(path.name, "Open", "open")
    person.choose(person.open_menu("File"), "Open File")
    person.wait(lambda: len(viewer.layers) == 1)
    plugins = person.open_menu("Plugins")
    entry = next(a for a in plugins.actions() if a.text() == "Hyperbolic segmentation")
    QTest.mouseClick(plugins, LEFT, pos=plugins.actionGeometry(entry).center())
    person.choose(entry.menu(), "Hyperbolic segmentation")
    person.wait(lambda: viewer.window.dock_widgets)
    dock = next(iter(viewer.window.dock_widgets.values()))

    def idle() -> bool:
        return dock.model.is_ready and not dock.runner.title

    person.wait(idle)
    person.picture("volume")

    person.click(dock.model.train)
    person.wait(lambda: dock.model.loss.isVisible() or idle())
    QTest.qWait(8000)
    person.picture("training")
    person.wait(idle)
    person.picture("trained")

    person.click(dock.map.preview)
    person.wait(idle)
    person.picture("preview")
    person.click(dock.map.all)
    QTest.qWait(2500)
    person.picture("mapping")
    person.wait(idle)

    slider = dock.granularity.slider.findChild(QSlider)
    for k in (12, 7):
        option = QStyleOptionSlider()
        slider.initStyleOption(option)
        control, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
        handle = slider.style().subControlRect(control, option, part, slider).center()
        share = (k - slider.minimum()) / (slider.maximum() - slider.minimum())
        end = QPoint(round(8 + share * (slider.width() - 16)), handle.y())
        person.drag(slider, handle, end)
        person.picture(f"classes_{dock.state.k}")

    person.click(next(b for b in dock.findChildren(QPushButton) if b.text() == "Poincaré disk"))
    disk = viewer.window.dock_widgets["Poincaré disk (Hyperbolic segmentation)"]
    QTest.qWait(500)
    canvas = disk.scene.canvas.native
    tree, nodes = dock.state.partition.tree, dock.state.partition.nodes
    # The largest class but that of all around: the wall.
    wall = sorted(nodes, key=lambda node: tree.counts[node])[-2]
    x, y = disk.scene.position_of(tree.centroids[wall])
    person.click(canvas, QPoint(round(x) + 12, round(y)))
    # Elsewhere than where it was clicked: to see what lies there.
    QTest.mouseMove(canvas, QPoint(round(x) + 30, round(y) + 20))
    person.wait(lambda: disk.glance.text.text().startswith("voxel"), 30)
    person.picture("disk")

    person.answer("", "Save", "save")
    QTimer.singleShot(400, lambda: person.choose(QApplication.activePopupWidget(), "Save labels…"))
    person.click(dock.exports.export)
    person.wait(lambda: list(path.parent.rglob("*labels*.mrc")) and idle())
    # Where no points are: what is lit would cover the wall.
    person.click(disk.scene.canvas.native, QPoint(4, 4))
    table = dock.granularity.table
    table.scrollToItem(table.item(nodes.index(wall), 1))
    row = table.visualItemRect(table.item(nodes.index(wall), 1)).center()
    QTest.mouseClick(table.viewport(), LEFT, pos=row)
    person.click(next(b for b in dock.findChildren(QPushButton) if b.text() == "Only"))
    person.click(viewer.window._qt_viewer.viewerButtons.ndisplayButton)
    canvas = viewer.window._qt_viewer.canvas.native
    person.drag(canvas, canvas.rect().center(), canvas.rect().center() + QPoint(90, 40))
    person.picture("only_one_in_3d")
    print(*(p.name for p in path.parent.rglob("*labels*.mrc")))


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
