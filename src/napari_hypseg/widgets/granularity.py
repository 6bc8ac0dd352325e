"""Step 4 of the dock: one slider through the granularities, and the classes at each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import Container, FloatSpinBox
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import QLabel, QToolButton
from superqt import QLabeledSlider

from napari_hypseg.widgets.class_actions import ClassActions
from napari_hypseg.widgets.leaves import LeafLayer
from napari_hypseg.widgets.parts import Step, allow, button, combo, folded
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.state import FINEST, State
from napari_hypseg.widgets.table import ClassTable
from napari_hypseg.widgets.tree_view import TreeView

__all__ = ["GranularityStep"]

# Milliseconds after which a slider counts as resting, and for which chosen classes stand out.
_REST, _FLASH = 300, 700
_TREES = {
    "volume": ("things (tree of the volume)",
               "Which things contain which: regions merge that touch, or that lie in the same one"),
    "disk": ("kinds (tree of the disk)",
             "What kinds of thing there are: clusters merge wherever they lie in the volume"),
}  # fmt: skip


class GranularityStep(Step):
    """One slider through the granularities, and the classes.

    Parameters
    ----------
    viewer : napari.Viewer
    state : State
    runner : JobRunner
    on_cluster : callable
        Clusters the mapped voxels anew.

    Attributes
    ----------
    kind : QComboBox
        Which tree.
    form : magicgui Container
        ``smoothing``.
    tree : TreeView
    table : ClassTable
    """

    def __init__(
        self, viewer: Any, state: State, runner: JobRunner, on_cluster: Callable[[], Any]
    ) -> None:
        super().__init__("4  Granularity")
        self._viewer, self._state, self._runner = viewer, state, runner
        self._leaves: LeafLayer | None = None
        # Classes that stand out, or did until the flash was over.
        self._pointed_out: tuple[int, ...] = ()
        self.kind = combo("Which tree to walk")
        self.kind.setAccessibleName("Tree")
        for name, (text, tip) in _TREES.items():
            self.kind.addItem(text, name)
            self.kind.setItemData(self.kind.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.slider = QLabeledSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(2, FINEST)
        self.slider.setValue(state.k)
        self.slider.setToolTip("How many classes: drag from coarse to fine")
        self.slider.setAccessibleName("Number of classes")
        # Keys are for the slider inside: the frame around it counts on its own.
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tree = TreeView(state)
        self.table = ClassTable(state)
        self.class_actions = ClassActions(state, self, self.table.edit_name)
        made = self.class_actions
        self.row(QLabel("Tree"), self.kind).setStretch(1, 1)
        undo, redo = QToolButton(), QToolButton()
        undo.setDefaultAction(made.undo)
        redo.setDefaultAction(made.redo)
        self.row(self.slider, undo, redo).setStretch(0, 1)
        self.column.addWidget(self.tree)
        buttons = [made.button(action) for action in made.of_classes()[:-1]]
        row = self.row(*buttons)
        for index, each in enumerate(buttons):
            # A longer word gets a wider button, and each some space around it.
            row.setStretch(index, self.fontMetrics().horizontalAdvance(each.text()) + 14)
        self.column.addWidget(self.table, 1)
        for view in (self.tree, self.table):
            view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
            view.addActions(made.of_classes())
        self.cluster = button(
            "Cluster again", "Cluster the mapped voxels with these settings", on_cluster
        )
        self.form = Container(widgets=[
            FloatSpinBox(name="smoothing", value=1.0, max=10.0, step=0.25, tooltip="Weight of the "
                         "smoothing before clustering, which keeps edges; 0 for none"),
        ])  # fmt: skip
        self.column.addWidget(folded(self.form, self.cluster))

        self.rest = QTimer(self)
        self.rest.setSingleShot(True)
        self.rest.setInterval(_REST)
        self.rest.timeout.connect(state.settle)
        self._flash = QTimer(self)
        self._flash.setSingleShot(True)
        self._flash.setInterval(_FLASH)
        self._flash.timeout.connect(self._on_flashed)
        self.kind.activated.connect(lambda _index: self.cluster.click())
        self.slider.valueChanged.connect(state.choose)
        state.result_changed.connect(self._on_result)
        state.partition_changed.connect(self._on_partition)
        state.settled.connect(self._on_settled)
        state.chosen_changed.connect(self._on_chosen)

    def settings(self) -> dict[str, Any]:
        """Arguments of a clustering."""
        return {"tree": self.kind.currentData(), **self.form.asdict()}

    @property
    def _shown(self) -> LeafLayer | None:
        """The layer of the result, unless a person has removed it."""
        return self._leaves if self._leaves is not None and self._leaves.is_there else None

    def _on_result(self) -> None:
        result, self._pointed_out = self._state.result, ()
        if result is None:
            # The layer belongs to another volume now; it stays in the viewer.
            self._leaves = None
        else:
            if self._shown is not None:
                self._shown.show(self._state)
            else:
                self._leaves = LeafLayer(self._viewer, self._state)
            self.kind.setCurrentIndex(self.kind.findData(result.clustering.kind))
            self.form["smoothing"].value = result.smoothing
            self._move_slider()
            self.said.emit("")
        self.refresh()

    def _move_slider(self) -> None:
        """Put the slider where the classes are; splitting and merging goes beyond its ends."""
        result, k = self._state.result, self._state.k
        assert result is not None  # noqa: S101
        with QSignalBlocker(self.slider):
            self.slider.setRange(min(2, k), max(2, result.most, k))
            self.slider.setValue(k)

    def _on_partition(self) -> None:
        assert self._state.partition is not None  # noqa: S101
        if self._state.chosen != self._pointed_out:
            self._on_chosen()
        elif self._shown is not None:
            self._shown.recolour(self._state.partition)
        self._move_slider()
        self.rest.start()

    def _on_settled(self) -> None:
        if self._shown is not None:
            assert self._state.partition is not None  # noqa: S101
            self._shown.settle(self._state.partition)

    def _on_chosen(self) -> None:
        """Let the chosen classes stand out for a moment."""
        partition, chosen = self._state.partition, self._state.chosen
        if chosen == self._pointed_out:
            # Done, along with a change of the classes.
            return
        self._pointed_out = chosen
        if self._shown is not None and partition is not None:
            self._shown.point_out(partition, chosen)
            if chosen:
                self._flash.start()

    def _on_flashed(self) -> None:
        if self._shown is not None and self._state.partition is not None:
            self._shown.recolour(self._state.partition)

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        session, result = self._state.session, self._state.result
        latents = None if session is None else session.latents
        needed = "Needs mapped voxels: step 3"
        no_result = "" if result is not None else needed
        if result is None:
            self.say("waiting", needed)
        elif session is not None and session.model is not result.model:
            self.say("done", "These are classes of the model before: map voxels anew")
        else:
            self.say("done", "Drag to see more or fewer classes")
        allow(self.cluster, self._runner.wait or ("" if latents is not None else needed))
        allow(self.kind, self._runner.wait or ("" if latents is not None else needed))
        allow(self.slider, no_result)
        allow(self.table, no_result)
