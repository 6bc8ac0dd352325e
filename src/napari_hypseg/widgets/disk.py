"""The dock "Poincaré disk": where the voxels lie on it, linked to the viewer both ways."""

from __future__ import annotations

import math
from typing import Any

import napari
import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QBoxLayout, QDockWidget, QLabel, QMainWindow, QWidget

from napari_hypseg.widgets.disk_scene import DiskScene
from napari_hypseg.widgets.picks import PickLayer
from napari_hypseg.widgets.state import State

__all__ = ["DiskDock"]

# Pixels that the mouse may move between press and release of a click.
_STILL = 4
# Of the dock when it first opens, in pixels.
_HEIGHT = 320
_HINT = "Click a point: the voxels nearest to it light up. Click a voxel: its point is shown."


class DiskDock(QWidget):
    """The disk, with a line about what is picked.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        In which the dock "Hyperbolic segmentation" is, or will be opened.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        _, segmentation = napari_viewer.window.add_plugin_dock_widget(
            "napari-hypseg", "Hyperbolic segmentation"
        )
        self.state: State = segmentation.state
        self.scene = DiskScene()
        self.picks = PickLayer(napari_viewer, self.state)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setMinimumWidth(170)
        self._box = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(4, 4, 4, 4)
        self._box.addWidget(self.scene.canvas.native, 1)
        self._box.addWidget(self.text)
        self.setMinimumSize(220, 220)

        self._pressed: Any = None
        self._placed = False
        events = self.scene.canvas.events
        events.mouse_press.connect(self._on_press)
        events.mouse_release.connect(self._on_release)
        events.mouse_double_click.connect(lambda _event: self.scene.show_whole())
        self._links = [
            (self.state.result_changed, self._on_result),
            (self.state.partition_changed, self._draw_tree),
            (self.state.settled, self._draw_classes),
            (self.state.partition_changed, self._on_pick),
            (self.state.selection.changed, self._on_pick),
        ]
        for signal, slot in self._links:
            signal.connect(slot)
        napari_viewer.events.theme.connect(self._on_theme)
        self.destroyed.connect(lambda: self._leave())
        self._on_theme()

    def event(self, event: QEvent) -> bool:
        """Leave when napari takes the dock out of its window: it does not delete it."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave()
            self.deleteLater()
        return bool(super().event(event))

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """When first shown, move: not now, while Qt is in the middle of showing."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            timer = QTimer(self)
            timer.setSingleShot(True)
            timer.timeout.connect(self._place)
            timer.start(0)

    def _place(self) -> None:
        """Move below the canvas: beside the slider, not in its place."""
        dock, window = self._dock(), self.window()
        if dock is None or not isinstance(window, QMainWindow):
            return
        # Only the canvas gives way to it, not the docks at its sides.
        window.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)
        window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
        window.resizeDocks([dock], [_HEIGHT], Qt.Orientation.Vertical)

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        """Put the text where there is room: beside the disk, or below it."""
        super().resizeEvent(event)
        wide = self.width() > 1.4 * self.height()
        across, down = QBoxLayout.Direction.LeftToRight, QBoxLayout.Direction.TopToBottom
        self._box.setDirection(across if wide else down)

    def _dock(self) -> QDockWidget | None:
        parent = self.parent()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parent()
        return parent

    def _on_theme(self, _event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        text, paper = (
            tuple(v / 255 for v in colour.as_rgb_tuple()[:3])
            for colour in (theme.text, theme.background)
        )
        self.scene.use_colours(text, paper)
        self._on_result()

    def _on_result(self) -> None:
        result = self.state.result
        self.scene.clear()
        if result is not None:
            self.scene.draw_cloud(result.cloud)
            self._draw_classes()
        self._on_pick()

    def _draw_tree(self) -> None:
        """Centroids and tree at the granularity chosen: quick enough for every slider step."""
        partition = self.state.partition
        if partition is not None:
            self.scene.draw_tree(partition)

    def _draw_classes(self) -> None:
        result, partition = self.state.result, self.state.partition
        if result is not None and partition is not None:
            self._draw_tree()
            labels = partition.labels_at(result.cloud.voxels[: self.scene.most])
            self.scene.draw_points(labels, partition.label_colours()[:, :3])

    def _on_press(self, event: Any) -> None:
        self._pressed = event.pos

    def _on_release(self, event: Any) -> None:
        moved = self._pressed is None or np.abs(event.pos - self._pressed).max() > _STILL
        if event.button != 1 or moved:
            return
        point = self.scene.point_at(event.pos)
        if point is not None:
            self.state.selection.pick_point(*point)

    def _on_pick(self) -> None:
        selection, result, partition = self.state.selection, self.state.result, self.state.partition
        self.scene.draw_pick(selection.point)
        if result is None:
            self.text.setText("Map voxels first: step 3 of Hyperbolic segmentation.")
        elif selection.point is None or selection.voxel is None:
            self.text.setText(_HINT)
        else:
            assert partition is not None  # noqa: S101
            voxel = np.ravel_multi_index(selection.voxel, partition.clustering.leaves.shape)
            name = partition.classes[partition.labels_at(np.array([voxel]))[0] - 1].name
            seen = ", ".join(f"{v:.2f}" for v in selection.point[:2] * self.scene.scale)
            beyond = "" if result.latents.dim == 2 else f" and {result.latents.dim - 2} more"
            radius = selection.distance
            self.text.setText(
                f"Point ({seen}{beyond}), distance to the centre "
                f"{'∞' if math.isinf(radius) else f'{radius:.2f}'}, {name}, "
                f"voxel {tuple(selection.voxel)}; {len(selection.voxels):,} nearest voxels lit"
            )

    def _leave(self) -> None:
        """The dock is gone: it listens to nothing any more."""
        for signal, slot in self._links:
            signal.disconnect(slot)
        self._links = []
        self.viewer.events.theme.disconnect(self._on_theme)
        self.picks.leave()
