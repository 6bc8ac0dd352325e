"""Opening a session in napari as it was left, and keeping it so while a person works."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_hypseg.session import read_session
from napari_hypseg.session.files import SESSION_FILE
from napari_hypseg.widgets.docks import open_dock
from napari_hypseg.widgets.layers import SESSION_KEY
from napari_hypseg.widgets.state import Result, find_job, reopen_job

if TYPE_CHECKING:
    from napari_hypseg.figures import Partition
    from napari_hypseg.session import Session
    from napari_hypseg.widgets.segmentation import SegmentationDock

__all__ = ["SessionKeeper", "ask_for_session", "show_export", "take_up_soon"]

# Milliseconds between looks whether the dock is free, and whether one looks elsewhere now.
_WAIT, _LOOK = 50, 2000


def take_up_soon(viewer: Any, folder: Path) -> None:
    """Open the dock on the session of a folder, once its layer is in the viewer."""
    inserted = viewer.layers.events.inserted

    def take_up(layer: Any) -> None:
        if layer in viewer.layers:
            _segmentation(viewer).sessions.open(layer, folder)

    def on_inserted(event: Any) -> None:
        layer = event.value
        if layer.metadata.get(SESSION_KEY) == str(folder):
            inserted.disconnect(on_inserted)
            # Not now, while others are still told of the layer.
            QTimer.singleShot(0, lambda: take_up(layer))

    inserted.connect(on_inserted)


def ask_for_session(napari_viewer: napari.viewer.Viewer) -> None:
    """Ask for the folder of a session, and open it."""
    window = QApplication.activeWindow()
    folder = QFileDialog.getExistingDirectory(window, "Open the folder of a session")
    if not folder:
        return
    try:
        read_session(folder)
    except ValueError as error:
        show_warning(str(error))
    else:
        napari_viewer.open(folder, plugin="napari-hypseg")


def show_export(napari_viewer: napari.viewer.Viewer) -> None:
    """Show what can be exported."""
    dock = _segmentation(napari_viewer)
    if dock.exports.export.isEnabled():
        dock.exports.export.showMenu()
    else:
        show_warning(dock.exports.export.toolTip())


def _segmentation(viewer: Any) -> SegmentationDock:
    from napari_hypseg.widgets.segmentation import SegmentationDock

    return open_dock(viewer, SegmentationDock, "Hyperbolic segmentation")


class SessionKeeper:
    """Takes up a session, and keeps what a person makes of it in its folder.

    Parameters
    ----------
    dock : SegmentationDock
    """

    def __init__(self, dock: SegmentationDock) -> None:
        self._dock = dock
        # Volume and folder that were last looked at, or that will be.
        self._looked_at: Any = None
        self._opening = False
        dock.runner.changed.connect(self.find)
        dock.volume.edited.connect(self.find)
        dock.state.settled.connect(self.keep)
        dock.state.result_changed.connect(self.keep)
        timer = QTimer(dock)
        timer.timeout.connect(self._keep_window)
        timer.start(_LOOK)

    def open(self, layer: Any, folder: Path) -> None:
        """Take up the session of a folder, whose volume a layer shows."""
        dock = self._dock
        # Not to be found by itself as well.
        self._opening = True
        dock.volume.take(layer, folder)
        self._opening = False
        self._looked_at = self._place()
        self._open_when_free(layer, folder)

    def _place(self) -> Any:
        volume = self._dock.volume.volume()
        if volume is None:
            return None
        return volume.name, volume.shape, self._dock.volume.folder()

    def find(self) -> None:
        """Take up what the folder holds already of the volume chosen, looking there once."""
        dock, place = self._dock, self._place()
        if self._opening or dock.runner.title or place in (None, self._looked_at):
            return
        self._looked_at = place
        volume, folder = dock.volume.volume(), dock.volume.folder()
        if dock.state.session is None and volume is not None and (folder / SESSION_FILE).exists():
            job = find_job(folder, volume)
            dock.runner.start("opening the session", job, self._on_found)

    def _on_found(self, found: tuple[Session, Result | None, Partition | None] | None) -> None:
        self._dock.progress.rest("")
        if found is not None:
            self._on_opened(found)

    def _open_when_free(self, layer: Any, folder: Path) -> None:
        dock = self._dock
        if dock.runner.title:
            timer = QTimer(dock)
            timer.setSingleShot(True)
            timer.timeout.connect(lambda: self._open_when_free(layer, folder))
            timer.start(_WAIT)
            return
        volume = dock.volume.volume()
        if volume is not None:
            job = reopen_job(folder, volume)
            dock.runner.start("opening the session", job, self._on_opened)

    def _on_opened(self, found: tuple[Session, Result | None, Partition | None]) -> None:
        session, result, partition = found
        dock = self._dock
        dock.model.take(session)
        window = session.view.get("window", {})
        dock.state.session = session
        dock.state.show(result, partition)
        if result is not None:
            _restore(dock.viewer, window)
            if window.get("disk"):
                dock.show_disk().scene.look(window["disk"])
        dock.progress.rest("")

    def _keep_window(self) -> None:
        """Keep where one looks, if that has changed."""
        session = self._dock.state.session
        if session is not None and session.view.get("window", {}) not in (
            {},
            _window(self._dock.viewer),
        ):
            self.keep()

    def keep(self) -> None:
        """Keep the classes as they are, and what the window shows."""
        state = self._dock.state
        session, result, partition = state.session, state.result, state.partition
        if (
            session is None
            or result is None
            or partition is None
            or session.clustering is not result.clustering
        ):
            return
        from napari_hypseg.session import keep_partition

        try:
            keep_partition(session, partition, window=_window(self._dock.viewer))
        except OSError as error:
            self._dock.progress.rest(f"✗  {session.folder}: can't be written, {error.strerror}")


def _window(viewer: Any) -> dict[str, Any]:
    """Where a person looks, in the viewer and on the disk, as JSON values."""
    camera = _camera(viewer)
    docks = viewer.window.dock_widgets
    disks = [dock for name, dock in docks.items() if "Poincaré disk" in name]
    return {
        "point": [float(v) for v in viewer.dims.point],
        "displayed": viewer.dims.ndisplay,
        "camera": {
            "center": [float(v) for v in camera.center],
            "zoom": float(camera.zoom),
            "angles": [float(v) for v in camera.angles],
        },
        "disk": disks[0].scene.view if disks else None,
    }


def _camera(viewer: Any) -> Any:
    """The camera: since napari 0.9 it belongs to the scene."""
    return getattr(viewer, "scene", viewer).camera


def _restore(viewer: Any, window: dict[str, Any]) -> None:
    """Show the slice that was shown, from where it was seen."""
    point = window.get("point", [])
    if len(point) == viewer.dims.ndim:
        viewer.dims.set_point(range(len(point)), point)
    if window.get("displayed") in (2, 3):
        viewer.dims.ndisplay = window["displayed"]
    camera = window.get("camera", {})
    for name in ("center", "zoom", "angles"):
        # What napari doesn't take it leaves as it is.
        with suppress(KeyError, TypeError, ValueError):
            setattr(_camera(viewer), name, camera[name])
