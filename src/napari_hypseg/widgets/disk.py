"""The dock "Poincaré disk": where the voxels lie on it, linked to the viewer both ways."""

from __future__ import annotations

import functools
import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

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

from napari_hypseg.classes import Source
from napari_hypseg.figures import (
    Cloud,
    Glance,
    Glances,
    Lasso,
    Projection,
    coordinates,
    lasso_job,
    principal_plane,
)
from napari_hypseg.latents import coordinate, uncertainty
from napari_hypseg.widgets.desk import desk_of
from napari_hypseg.widgets.disk_mouse import DiskMouse
from napari_hypseg.widgets.disk_scene import DiskScene
from napari_hypseg.widgets.docks import open_dock
from napari_hypseg.widgets.glance_panel import GlancePanel
from napari_hypseg.widgets.layers import MADE_KEY, gather_job, place_on
from napari_hypseg.widgets.parts import allow, button, calm_wheel
from napari_hypseg.widgets.picked_panel import PickedPanel, first_of_all, words

if TYPE_CHECKING:
    from napari_hypseg.latents import Latents
    from napari_hypseg.session import Proposals, Session
    from napari_hypseg.volumes import Volume

__all__ = ["DiskDock"]

# Of the dock when it first opens, in pixels.
_HEIGHT = 320
# Of what stands beside the disk, in pixels.
_SIDE = 250
# Qt's own bound.
_WIDEST = (1 << 24) - 1
# Milliseconds between drawings while the slider moves or a person paints: the volume goes first.
_FOLLOWS = 100
# Coordinates of which every pair is offered.
_PAIRS = 6
# Of points in no class.
_GREY = (0.5, 0.5, 0.5, 0.5)
_KEY = "Stronger: more voxels. Rings: distance to the {middle}; the rim is infinitely far."
_BY_PROPOSAL = "Colours, numbers: proposals of step 4"
_BY_CLASS = "Colours: classes of step 5, grey: in none · numbers: proposals"
_HELP = (
    "Click: choose a proposal, light up what is near; where nothing is, or Escape: none\n"
    "Drag or arrow keys: move\nWheel, + or −: zoom\n"
    "Right or middle drag: shift the drawing\nDouble click or R: back to the centre\n"
    "Ctrl+drag or L: lasso"
)


class DiskDock(QWidget):
    """The disk, with what lies under the mouse and what is picked.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Its desk's session is shown. Without one the dock "Hyperbolic segmentation", in which it
        begins, is opened too.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.desk = desk_of(napari_viewer)
        if self.desk.session is None:
            # Not above: it brings along what a disk of its own does not need.
            from napari_hypseg.widgets.segmentation import SegmentationDock

            open_dock(self.desk.viewer, SegmentationDock, "Hyperbolic segmentation")
        self.cloud: Cloud | None = None
        self._placed = False
        self._lay_out()
        self._use_scene()
        self.lasso.toggled.connect(lambda is_on: self.mouse.use_lasso(is_on))
        self._follow = QTimer(self)
        self._follow.setSingleShot(True)
        self._follow.setInterval(_FOLLOWS)
        self._follow.timeout.connect(self._draw_tree)
        self._recolour = QTimer(self)
        self._recolour.setSingleShot(True)
        self._recolour.setInterval(_FOLLOWS)
        self._recolour.timeout.connect(self._draw_points)
        desk = self.desk
        self._links = [
            (desk.session_changed, self._on_proposals),
            (desk.proposals_changed, self._on_proposals),
            (desk.model_changed, self._on_model),
            (desk.k_changed, self._on_k),
            (desk.rested, self._on_rest),
            (desk.chosen_changed, self._draw_tree),
            (desk.classes_changed, self._on_classes),
            (desk.selection_changed, self._on_pick),
            (desk.viewer.events.theme, self._on_theme),
        ]
        for signal, slot in self._links:
            signal.connect(slot)
        self.destroyed.connect(lambda: self._leave())
        self._use_theme()
        self._on_proposals()

    def showEvent(self, event: Any) -> None:  # noqa: N802
        """When first shown, move: not now, while Qt is in the middle of showing."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            timer = QTimer(self)
            timer.setSingleShot(True)
            timer.timeout.connect(self._place)
            timer.start(0)

    def _lay_out(self) -> None:
        self.key = QLabel()
        self.key.setWordWrap(True)
        self.picked = PickedPanel(self.desk)
        self.glance = GlancePanel(self._describe)
        self.lasso = QPushButton("Lasso")
        self.lasso.setCheckable(True)
        self.lasso.setToolTip("Draw around points: their voxels become a class (Ctrl+drag, or L)")
        self.layers = QPushButton("Show as layer")
        self.layers.setToolTip("The same data as image layers: uncertainty, latent coordinates")
        self.layers.setMenu(QMenu(self.layers))
        self.by_class = button(
            "Colour by class", "See where your classes lie: the colours are theirs, not those of "
            "the proposals", self._draw_points, checkable=True,
        )  # fmt: skip
        self.projection = QComboBox()
        self.projection.setToolTip("How more than two dimensions are seen on the disk")
        self.projection.activated.connect(lambda _index: self._on_projection())
        centre = button("Centre", "Back to the centre (R)", self.centre)
        column = QVBoxLayout()
        for widgets in ((self.lasso, centre), (self.layers, self.by_class)):
            row = QHBoxLayout()
            for widget in widgets:
                row.addWidget(widget)
            row.addStretch(1)
            column.addLayout(row)
        for widget in (self.projection, self.picked, self.glance, self.key):
            column.addWidget(widget)
        column.addStretch(1)
        column.setContentsMargins(0, 0, 0, 0)
        self.side = QWidget()
        self.side.setMinimumWidth(_SIDE)
        self.side.setLayout(column)
        self._box = QBoxLayout(QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(4, 4, 4, 4)
        self._box.addWidget(self.side)
        calm_wheel(self.side)
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
        self.mouse.cleared.connect(self._on_cleared)
        self.mouse.hovered.connect(self._on_hovered)
        self.mouse.drawn.connect(self._on_lasso)
        self.mouse.lasso_changed.connect(self.lasso.setChecked)
        self.mouse.looked.connect(self._on_look)

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

    def _place(self) -> None:
        """Move below the canvas: beside the slider, not in its place."""
        dock, window = self._dock(), self.window()
        # napari clears away what is closed while it moves a dock: not in a window that is.
        if dock is None or not isinstance(window, QMainWindow) or not window.isVisible():
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

    @property
    def _session(self) -> Session | None:
        return self.desk.session

    @property
    def _proposals(self) -> Proposals | None:
        return None if self.desk.session is None else self.desk.session.proposals

    def centre(self) -> None:
        """Look at all of the disk from its centre again."""
        self.scene.show_whole()
        self._on_look()

    def _on_look(self) -> None:
        self.desk.keep_look("disk", self.scene.view)

    def _on_theme(self, _event: Any) -> None:
        self._use_theme()
        self._draw()

    def _use_theme(self) -> None:
        theme = get_theme(self.desk.viewer.theme)
        text, paper = (
            tuple(v / 255 for v in colour.as_rgb_tuple()[:3])
            for colour in (theme.text, theme.background)
        )
        self.scene.use_colours(text, paper)

    def _on_proposals(self) -> None:
        """Show other proposals; where the points are the same, as one looked at them."""
        session, proposals = self._session, self._proposals
        for widget in (self.lasso, self.layers, self.by_class):
            allow(widget, first_of_all(self.desk))
        if session is None or proposals is None:
            self._fill_menus(None)
            self.glance.use(None)
            self._show_cloud(None)
        elif self.cloud is None or self.cloud.points is not proposals.cloud.points:
            self._fill_menus(proposals.latents)
            self.glance.use(functools.cache(functools.partial(_glances, session, proposals)))
            self._show_cloud(proposals.cloud)
            look = self.desk.look("disk")
            self.scene.look(look if isinstance(look, dict) else {})
        else:
            self._draw()
            self._on_pick()

    def _fill_menus(self, latents: Latents | None) -> None:
        """What can be shown of latent points: as layers, and in which projections."""
        self.layers.menu().clear()
        self.projection.clear()
        self.projection.setVisible(latents is not None and latents.dim > 2)
        if latents is None:
            return
        add = self.layers.menu().addAction
        add("Uncertainty: 1 at the centre", lambda: self._show_layer(uncertainty(latents)))
        for i in range(latents.dim):
            add(f"Latent coordinate {i + 1}", lambda i=i: self._show_layer(coordinate(latents, i)))
        is_flat = latents.geometry == "euclidean"
        self.projection.addItem("PCA" if is_flat else "hyperbolic PCA", None)
        for pair in combinations(range(min(latents.dim, _PAIRS)), 2):
            self.projection.addItem(f"coordinates {pair[0] + 1} and {pair[1] + 1}", pair)

    def _on_projection(self) -> None:
        cloud, pair = self.cloud, self.projection.currentData()
        if cloud is None:
            return
        projection: Projection = (
            principal_plane(cloud.points, cloud.curvature)
            if pair is None
            else coordinates(cloud.points.shape[1], pair[0], pair[1], cloud.curvature)
        )
        self._show_cloud(cloud.seen_in(projection))

    def _show_cloud(self, cloud: Cloud | None) -> None:
        self.cloud = cloud
        self.scene.clear()
        self.mouse.use_lasso(False)
        if cloud is not None:
            self.scene.draw_cloud(cloud)
            self._draw()
        self._on_pick()

    def _draw(self) -> None:
        """Draw all in the colours of what is on show now."""
        self._draw_tree()
        self._draw_points()

    def _draw_tree(self) -> None:
        """Centroids and tree of the proposals."""
        session, proposals = self._session, self._proposals
        if session is None or proposals is None or not self._links:
            return
        chosen = {leaf for node in session.chosen for leaf in proposals.leaves_below(node)}
        marked = [
            node for node in proposals.nodes(session.k)
            if chosen.issuperset(proposals.leaves_below(node))
        ]  # fmt: skip
        self.scene.draw_tree(proposals, session.k, marked)

    def _draw_points(self) -> None:
        """The points in the colours of their proposals or of their classes."""
        session, proposals, cloud = self._session, self._proposals, self.cloud
        if session is None or proposals is None or cloud is None or not self._links:
            return
        if self.by_class.isChecked():
            rows, table = np.zeros(256, np.uint8), session.classes.table
            rows[[row.number for row in table]] = np.arange(1, len(table) + 1)
            drawn = cloud.positions(np.arange(len(cloud.points[: self.scene.most])))
            labels = rows[session.classes.labels[tuple(proposals.in_volume(drawn).T)]]
            colours = [_GREY, *((*row.colour, 0.0 if row.hidden else 1.0) for row in table)]
        else:
            labels = proposals.lookup(session.k)[proposals.cloud_leaves[: self.scene.most]]
            nodes = proposals.nodes(session.k)
            colours = [_GREY, *((*proposals.colour(node), 1.0) for node in nodes)]
        self.scene.draw_points(labels, np.array(colours))
        self._say_key(cloud)

    def _say_key(self, cloud: Cloud) -> None:
        # A principal plane goes through the mean of the points.
        middle = "mean" if cloud.projection.chart == "tangent" else "centre"
        colours = _BY_CLASS if self.by_class.isChecked() else _BY_PROPOSAL
        # There is no room for all of it beside the disk.
        self.key.setText(colours + _of_sample(cloud))
        self.key.setToolTip(_KEY.format(middle=middle))

    def _on_model(self) -> None:
        if self._proposals is None:
            self._on_proposals()

    def _on_k(self) -> None:
        """Say what is picked; draw the tree in a moment, and no sooner for every further step."""
        self.picked.refresh()
        if not self._follow.isActive():
            self._follow.start()

    def _on_rest(self) -> None:
        self._draw()
        if self.cloud is not None:
            self.cloud.prepare()

    def _on_classes(self, _edit: Any) -> None:
        self.picked.refresh()
        if self.by_class.isChecked():
            self._recolour.start()

    # -- what is picked

    def _on_picked(self, place: tuple[float, float]) -> None:
        """Choose the proposal of the number or of the points at a place, and pick the point."""
        session, proposals, cloud = self._session, self._proposals, self.cloud
        if session is None or proposals is None or cloud is None:
            return
        node = self.scene.node_at(place)
        if node is not None:
            session.selection.pick_point(*proposals.tree.centroids[node].tolist())
        elif self.scene.is_near(place, cloud.places[cloud.seen_at(place)]):
            session.selection.pick_point(*cloud.point_at(place).tolist())
            node = proposals.node_at(
                int(proposals.clustering.leaves[session.selection.voxel]), session.k
            )
        else:
            self._on_cleared()
            return
        session.choose([] if node is None else [node])

    def _on_cleared(self) -> None:
        if self._session is not None:
            self._session.selection.clear()
            self._session.choose(())

    def _on_pick(self) -> None:
        if self._session is not None:
            selection = self._session.selection
            self.scene.draw_pick(selection.point, selection.points)
        self.picked.refresh()

    def _on_hovered(self, place: tuple[float, float]) -> None:
        if self.cloud is not None:
            self.glance.look(self.cloud, place)

    def _describe(self, glance: Glance) -> str:
        assert self._session is not None  # noqa: S101
        return words(self._session, glance.voxel, glance.point)

    # -- what is made of it

    def _on_lasso(self, outline: list[tuple[float, float]]) -> None:
        """Make a class of all voxels whose points lie inside what was drawn."""
        self.scene.draw_lasso([])
        proposals, cloud = self._proposals, self.cloud
        if proposals is None or cloud is None:
            return
        lasso = Lasso(outline, self.scene.translation, cloud.projection)
        source = Source("lasso", cloud.projection.name)
        mask = lasso.voxels(cloud)
        if mask is not None:
            self.picked.keep_voxels(mask, source)
        else:
            self.picked.keep_job("lasso", lasso_job(proposals.latents, cloud, lasso), source)

    def _show_layer(self, volume: Volume) -> None:
        """Add a volume that is computed from the latents as an image layer."""
        viewer, runner = self.desk.viewer, self.desk.runner
        if runner.title:
            self.picked.say(runner.wait)
            return

        def add(layer: Any) -> None:
            data, keywords, _ = layer
            for old in [a for a in viewer.layers if a.name == volume.name]:
                if old.metadata.get(MADE_KEY):
                    viewer.layers.remove(old)
            keywords["metadata"] = {**keywords.get("metadata", {}), MADE_KEY: True}
            keywords |= place_on(self.desk.layer, volume)
            viewer.add_image(data, colormap="viridis", **keywords)

        self.desk.start(volume.name, gather_job(volume), add)

    def _leave(self) -> None:
        """The dock is gone: it listens to nothing any more. What it began goes on.

        No widget is touched here: Qt may have deleted them.
        """
        for signal, slot in self._links:
            signal.disconnect(slot)
        self._links = []
        self.glance.leave()
        self.picked.leave()


def _glances(session: Session, proposals: Proposals) -> Glances:
    """What lies at points of a map, seen with the model that made it."""
    model = session.versions.load(proposals.model)
    return Glances(session.volume, model, proposals.latents)


def _of_sample(cloud: Cloud) -> str:
    """What is seen of a sample of the voxels only; empty if all of them are at hand."""
    if len(cloud.points) == math.prod(cloud.shape):
        return ""
    drawn = "" if cloud.points.shape[1] == 2 else "the drawing, "
    return f" · {drawn}clicks and hovering: a sample of {len(cloud.points):,} voxels"
