"""Opening a session in napari as it was left, from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_hypseg.session.record import read_record
from napari_hypseg.widgets.desk import desk_of
from napari_hypseg.widgets.docks import open_dock
from napari_hypseg.widgets.layers import SESSION_KEY
from napari_hypseg.widgets.parts import ask

if TYPE_CHECKING:
    from napari_hypseg.widgets.segmentation import SegmentationDock

__all__ = ["ask_for_session", "may_contact", "show_export", "take_up_soon"]


def take_up_soon(viewer: Any, folder: Path) -> None:
    """Open the dock on the session of a folder, once its layer is in the viewer."""
    inserted = viewer.layers.events.inserted

    def take_up(layer: Any) -> None:
        if layer in viewer.layers:
            desk = desk_of(viewer)
            # First: the dock would begin with the newest layer itself.
            if desk.stops(f"The session of {folder} is opened while {desk.runner.title} goes on"):
                desk.choose(layer)
            _segmentation(viewer)

    def on_inserted(event: Any) -> None:
        layer = event.value
        if layer.metadata.get(SESSION_KEY) == str(folder):
            inserted.disconnect(on_inserted)
            # Not now, while others are still told of the layer.
            QTimer.singleShot(0, lambda: take_up(layer))

    inserted.connect(on_inserted)


def may_contact(url: str, folder: Path) -> bool:
    """Whether a person wants the URL contacted that a session names for its volume."""
    window = QApplication.activeWindow()
    return ask(
        window, f"The session in {folder} says that its volume is at {url}: contact it?", "Contact"
    )


def ask_for_session(napari_viewer: napari.viewer.Viewer) -> None:
    """Ask for the folder of a session, and open it."""
    window = QApplication.activeWindow()
    folder = QFileDialog.getExistingDirectory(window, "Open the folder of a session")
    if not folder:
        return
    try:
        read_record(folder)
    except ValueError as error:
        show_warning(str(error))
    else:
        napari_viewer.open(folder, plugin="napari-hypseg")


def show_export(napari_viewer: napari.viewer.Viewer) -> None:
    """Show what can be exported."""
    classes = _segmentation(napari_viewer).classes
    classes.open()
    if classes.export.isEnabled():
        classes.export.showMenu()
    else:
        show_warning(classes.export.toolTip())


def _segmentation(viewer: Any) -> SegmentationDock:
    from napari_hypseg.widgets.segmentation import SegmentationDock

    return open_dock(viewer, SegmentationDock, "Hyperbolic segmentation")
