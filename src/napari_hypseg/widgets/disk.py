"""The dock "Poincaré disk": where the voxels lie on it, linked to the viewer both ways."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import napari
import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QDockWidget,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_hypseg.figures import (
    Cloud,
    Glance,
    Glances,
    Lasso,
    Projection,
    coordinate,
    coordinates,
    lasso_job,
    principal_plane,
    uncertainty,
)
from napari_hypseg.volumes import Volume
from napari_hypseg.widgets.disk_mouse import DiskMouse
from napari_hypseg.widgets.disk_scene import DiskScene
from napari_hypseg.widgets.docks import open_dock
from napari_hypseg.widgets.glance_panel import GlancePanel
from napari_hypseg.widgets.layers import MADE_KEY, gather_job
from napari_hypseg.widgets.parts import button
from napari_hypseg.widgets.picks import PickLayer
from napari_hypseg.widgets.segmentation import SegmentationDock
from napari_hypseg.widgets.state import State

__all__ = ["DiskDock"]

# Of the dock when it first opens, in pixels.
_HEIGHT = 320
# Of what stands beside the disk, in pixels.
_SIDE = 250
# Qt's own bound.
_WIDEST = (1 << 24) - 1
# Between drawings of the tree while the slider moves, in milliseconds: the volume goes first.
_FOLLOWS = 100
# Coordinates of which every pair is offered.
_PAIRS = 6
_HINT = "Click a point: the voxels nearest to it light up. Click a voxel: its point is shown."
_KEY = (
    "Colours, numbers: classes of step 4 · stronger: more voxels · "
    "rings: distance to the {middle}, the rim is infinitely far"
)
_HELP = (
    "Click: light up the nearest voxels; where no points are, or Escape: none\n"
    "Drag or arrow keys: move\nWheel, + or −: zoom\n"
    "Right or middle drag: shift the drawing\nDouble click or R: back to the centre\n"
    "Ctrl+drag or L: lasso"
)


class DiskDock(QWidget):
    """The disk, with what lies under the mouse and a line about what is picked.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        In which the dock "Hyperbolic segmentation" is, or will be opened.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        segmentation = open_dock(napari_viewer, SegmentationDock, "Hyperbolic segmentation")
        self.state: State = segmentation.state
        self.runner = segmentation.runner
        self.cloud: Cloud | None = None
        self.picks = PickLayer(napari_viewer, self.state)
        self._placed = False
        # Nodes of the tree that is drawn.
        self._nodes: tuple[int, ...] = ()
        self._lay_out()
        self._use_scene()
        self.lasso.toggled.connect(lambda is_on: self.mouse.use_lasso(is_on))
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(_FOLLOWS)
        self._follow.timeout.connect(self._draw_tree)
        self._links = [
            (self.state.result_changed, self._on_result),
            (self.state.partition_changed, self._on_partition),
            (self.state.settled, self._on_settled),
            (self.state.selection.changed, self._on_pick),
        ]
        for signal, slot in self._links:
            signal.connect(slot)
        napari_viewer.events.theme.connect(self._on_theme)
        self.destroyed.connect(lambda: self._leave())
        self._use_theme()
        self._on_result()

    def _lay_out(self) -> None:
        self.text, self.key = QLabel(), QLabel()
        for label in (self.text, self.key):
            label.setWordWrap(True)
        self.glance = GlancePanel(self._describe)
        self.lasso = QPushButton("Lasso")
        self.lasso.setCheckable(True)
        self.lasso.setToolTip("Draw around points: their voxels become a class (Ctrl+drag, or L)")
        self.layers = QPushButton("Show as layer")
        self.layers.setToolTip("The same data as image layers: uncertainty, latent coordinates")
        self.layers.setMenu(QMenu(self.layers))
        self.projection = QComboBox()
        self.projection.setToolTip("How more than two dimensions are seen on the disk")
        self.projection.activated.connect(lambda _index: self._on_projection())
        row = QHBoxLayout()
        for widget in (self.lasso, button("Centre", "Back to the centre (R)", self.centre),
                       self.layers):  # fmt: skip
            row.addWidget(widget)
        row.addStretch(1)
        side = QWidget()
        side.setMinimumWidth(_SIDE)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        for widget in (self.projection, self.glance, self.text, self.key):
            column.addWidget(widget)
        column.addStretch(1)
        self._box = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(4, 4, 4, 4)
        self._box.addWidget(side)
        self.side = side
        self.setMinimumSize(240, 240)

    def _use_scene(self) -> None:
        """A canvas for the disk, and the mouse on it."""
        self.scene = DiskScene(self._renew_scene)
        native = self.scene.canvas.native
        native.setToolTip(_HELP)
        native.setMinimumSize(160, 160)
        self._box.insertWidget(0, native, 1)
        self.mouse = DiskMouse(self.scene, self)
        self.mouse.picked.connect(self._on_picked)
        self.mouse.cleared.connect(self.state.selection.clear)
        self.mouse.hovered.connect(self.glance.look)
        self.mouse.drawn.connect(self._on_lasso)
        self.mouse.lasso_changed.connect(self.lasso.setChecked)

    def _renew_scene(self) -> None:
        """Draw all on another canvas, and look where one looked."""
        if not self._links:
            return
        before, view = self.scene, self.scene.view
        self.mouse.use_lasso(False)
        self.mouse.deleteLater()
        self._box.removeWidget(before.canvas.native)
        before.canvas.native.hide()
        self._use_scene()
        self._use_theme()
        self._show_cloud(self.cloud)
        self.scene.look(view)
        # Last: vispy lets Qt do all that waits meanwhile.
        before.canvas.close()
        before.canvas.native.deleteLater()

    # -- where the dock lies

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
        # Beside the disk, what it leaves free; the disk itself is round.
        room = self.width() - self.height()
        self.side.setMaximumWidth(max(_SIDE, room) if wide else _WIDEST)

    def _dock(self) -> QDockWidget | None:
        parent = self.parent()
        while parent is not None and not isinstance(parent, QDockWidget):
            parent = parent.parent()
        return parent

    # -- what is drawn

    def centre(self) -> None:
        """Look at all of the disk from its centre again."""
        self.scene.show_whole()

    def _on_theme(self, _event: Any) -> None:
        self._use_theme()
        self._nodes = ()
        self._draw_classes()
        self._on_pick()

    def _use_theme(self) -> None:
        theme = get_theme(self.viewer.theme)
        text, paper = (
            tuple(v / 255 for v in colour.as_rgb_tuple()[:3])
            for colour in (theme.text, theme.background)
        )
        self.scene.use_colours(text, paper)

    def _on_result(self) -> None:
        result = self.state.result
        self._show_cloud(None if result is None else result.cloud)
        menu = self.layers.menu()
        dim = 0 if result is None else result.latents.dim
        menu.clear()
        self.projection.clear()
        if result is not None:
            latents = result.latents
            menu.addAction(
                "Uncertainty: distance to the centre",
                lambda: self._show_layer(uncertainty(latents)),
            )
            for index in range(dim):
                menu.addAction(
                    f"Latent coordinate {index + 1}",
                    lambda index=index: self._show_layer(coordinate(latents, index)),
                )
        if result is not None and dim > 2:
            self.projection.addItem("hyperbolic PCA" if result.cloud.curvature else "PCA", None)
            for pair in combinations(range(min(dim, _PAIRS)), 2):
                self.projection.addItem(f"coordinates {pair[0] + 1} and {pair[1] + 1}", pair)
        self.projection.setVisible(dim > 2)
        for widget in (self.lasso, self.layers):
            widget.setEnabled(result is not None)

    def _on_projection(self) -> None:
        result, pair = self.state.result, self.projection.currentData()
        if result is None:
            return
        curvature = result.cloud.curvature
        projection: Projection = (
            principal_plane(result.cloud.points, curvature)
            if pair is None
            else coordinates(result.latents.dim, pair[0], pair[1], curvature)
        )
        self._show_cloud(result.cloud.seen_in(projection))

    def _show_cloud(self, cloud: Cloud | None) -> None:
        self.cloud = cloud
        self._nodes = ()
        self.scene.clear()
        self.mouse.use_lasso(False)
        if cloud is not None:
            self.scene.draw_cloud(cloud)
            self._draw_classes()
        # A principal plane goes through the mean of the points.
        is_mean = cloud is not None and cloud.projection.chart == "tangent"
        key = _KEY.format(middle="mean" if is_mean else "centre")
        self.key.setText(key if cloud is None else key + _of_sample(cloud))
        self.glance.use(self._glances())
        self._on_pick()

    def _glances(self) -> Glances | None:
        """Patches and reconstructions, if the model is there that the points come from."""
        session, result = self.state.session, self.state.result
        if self.cloud is None or result is None or session is None or session.model is None:
            return None
        if session.latents is not result.latents:
            return None
        return Glances(session.volume, session.model, result.latents, self.cloud)

    def _on_partition(self) -> None:
        """Say what is picked; draw the tree in a moment, and no sooner for every further step."""
        self._say_pick()
        if not self._follow.isActive():
            self._follow.start()

    def _draw_tree(self) -> None:
        """Centroids and tree of the classes."""
        partition = self.state.partition
        if not self._links:
            return
        # A class of one's own changes nothing of it.
        if partition is not None and partition.nodes != self._nodes:
            self._nodes = partition.nodes
            self.scene.draw_tree(partition)

    def _on_settled(self) -> None:
        self._draw_classes()
        if self.cloud is not None:
            self.cloud.prepare()

    def _draw_classes(self) -> None:
        result, partition = self.state.result, self.state.partition
        if result is not None and partition is not None:
            self._draw_tree()
            most = self.scene.most
            labels = partition.labels_at(result.cloud.voxels[:most], result.leaves[:most])
            self.scene.draw_points(labels, partition.label_colours())
            self.scene.draw_lasso([])

    # -- what is picked

    def _on_picked(self, place: tuple[float, float]) -> None:
        partition, cloud = self.state.partition, self.cloud
        if cloud is None or partition is None:
            return
        centroids = cloud.projection.apply(partition.tree.centroids[list(partition.nodes)])
        drawn = np.concatenate([cloud.places[[cloud.seen_at(place)]], centroids])
        if self.scene.is_near(place, drawn):
            self.state.selection.pick_point(*cloud.point_at(place).tolist())
        else:
            self.state.selection.clear()

    def _on_pick(self) -> None:
        selection = self.state.selection
        self.scene.draw_pick(selection.point, selection.points)
        self._say_pick()

    def _say_pick(self) -> None:
        selection, result = self.state.selection, self.state.result
        if result is None:
            self.text.setText("Map voxels first: step 3 of Hyperbolic segmentation.")
        elif selection.point is None or selection.voxel is None:
            self.text.setText(_HINT)
        else:
            radius = selection.distance
            self.text.setText(
                f"Picked: {self._words(selection.voxel, selection.point)}, distance to the centre "
                f"{'∞' if math.isinf(radius) else f'{radius:.2f}'}; "
                f"{len(selection.voxels):,} nearest voxels lit"
            )

    def _describe(self, glance: Glance) -> str:
        return self._words(glance.voxel, glance.point)

    def _words(self, voxel: tuple[int, int, int], point: Any) -> str:
        """A voxel, its class and its point."""
        partition = self.state.partition
        assert partition is not None  # noqa: S101
        index = np.ravel_multi_index(voxel, partition.clustering.leaves.shape)
        name = partition.classes[partition.labels_at(np.array([index]))[0] - 1].name
        shown = ", ".join(f"{v:.2f}" for v in np.asarray(point)[:3])
        more = ", …" if len(point) > 3 else ""
        return f"voxel {voxel}, {name}, point ({shown}{more})"

    # -- what is made of it

    def _on_lasso(self, outline: list[tuple[float, float]]) -> None:
        """Make a class of all voxels whose points lie inside what was drawn."""
        result, cloud = self.state.result, self.cloud
        if result is None or cloud is None:
            return
        lasso = Lasso(outline, self.scene.translation, cloud.projection)
        mask = lasso.voxels(cloud)
        if mask is not None:
            self._on_held(mask)
        elif self.runner.title:
            self._say_instead(self.runner.wait)
        else:
            self.scene.draw_lasso([])
            self.runner.start("lasso", lasso_job(result.latents, cloud, lasso), self._on_held)

    def _on_held(self, mask: Any) -> None:
        if not self._links:
            return
        if not mask.any():
            self._say_instead("There are no points inside this line.")
            return
        try:
            # The line goes when the points in it take the new colour.
            self.state.add_own(mask)
        except ValueError as error:
            self._say_instead(f"✗  {error}")

    def _say_instead(self, text: str) -> None:
        """Say why there is no class of what was drawn."""
        self.scene.draw_lasso([])
        self.text.setText(text)

    def _show_layer(self, volume: Volume) -> None:
        """Add a volume that is computed from the latents as an image layer."""
        if self.runner.title:
            self.text.setText(self.runner.wait)
            return

        def add(layer: Any) -> None:
            data, keywords, _ = layer
            keywords["metadata"] = {**keywords.get("metadata", {}), MADE_KEY: True}
            self.viewer.add_image(data, colormap="viridis", **keywords)

        self.runner.start(volume.name, gather_job(volume), add)

    def _leave(self) -> None:
        """The dock is gone: it listens to nothing any more, and nobody waits for its jobs.

        No widget is touched here: Qt may have deleted them.
        """
        if not self._links:
            return
        for signal, slot in self._links:
            signal.disconnect(slot)
        self._links = []
        self.viewer.events.theme.disconnect(self._on_theme)
        self.picks.leave()
        self.glance.leave()


def _of_sample(cloud: Cloud) -> str:
    """What is seen of a sample of the voxels only; empty if all of them are at hand."""
    if len(cloud.points) == math.prod(cloud.shape):
        return ""
    drawn = "" if cloud.points.shape[1] == 2 else "the drawing, "
    return f" · {drawn}clicks and hovering: a sample of {len(cloud.points):,} voxels"
