"""Step 4 of the dock: one slider through the granularities, and the classes at each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from magicgui.widgets import ComboBox, Container, FloatSpinBox
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import QLabel
from superqt import QLabeledSlider

from napari_hypseg.widgets.leaves import LeafLayer
from napari_hypseg.widgets.parts import Step, allow, button, folded, narrow
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.state import FINEST, State
from napari_hypseg.widgets.table import ClassTable

__all__ = ["GranularityStep"]

# Milliseconds after which a slider counts as resting.
_REST = 300
_TREES = {
    "volume": ("things (tree of the volume)",
               "Which things contain which: only regions that touch merge"),
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
    form : magicgui Container
        ``tree``, ``smoothing``.
    """

    def __init__(
        self, viewer: Any, state: State, runner: JobRunner, on_cluster: Callable[[], Any]
    ) -> None:
        super().__init__("4  Granularity")
        self._viewer, self._state, self._runner = viewer, state, runner
        self._leaves: LeafLayer | None = None
        self.slider = QLabeledSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(2, FINEST)
        self.slider.setValue(state.k)
        self.slider.setToolTip("How many classes: drag from coarse to fine")
        self.slider.setAccessibleName("Number of classes")
        row = self.row(QLabel("Classes"), self.slider)
        row.setStretch(1, 1)
        self.table = ClassTable(state)
        self.column.addWidget(self.table, 1)
        self.cluster = button(
            "Cluster again", "Cluster the mapped voxels with these settings", on_cluster
        )
        self.form = Container(widgets=[
            ComboBox(name="tree", label="Merge by", tooltip="Things: only regions that touch "
                     "merge. Kinds: clusters merge wherever they lie",
                     choices=[(text, name) for name, (text, _) in _TREES.items()]),
            FloatSpinBox(name="smoothing", value=1.0, max=10.0, step=0.25, tooltip="Weight of the "
                         "smoothing before clustering, which keeps edges; 0 for none"),
        ])  # fmt: skip
        tree = self.form["tree"].native
        narrow(tree)
        for index, (_, tip) in enumerate(_TREES.values()):
            tree.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        tree.activated.connect(lambda _index: self.cluster.click())
        self.column.addWidget(folded(self.form, self.cluster))

        self.rest = QTimer(self)
        self.rest.setSingleShot(True)
        self.rest.setInterval(_REST)
        self.rest.timeout.connect(state.settle)
        self.slider.valueChanged.connect(state.choose)
        self.table.chosen.connect(self._on_class_chosen)
        state.result_changed.connect(self._on_result)
        state.partition_changed.connect(self._on_partition)
        state.settled.connect(self._on_settled)

    def settings(self) -> dict[str, Any]:
        """Arguments of a clustering."""
        given: dict[str, Any] = self.form.asdict()
        return given

    @property
    def _shown(self) -> LeafLayer | None:
        """The layer of the result, unless a person has removed it."""
        return self._leaves if self._leaves is not None and self._leaves.is_there else None

    def _on_result(self) -> None:
        result = self._state.result
        if result is None:
            # The layer belongs to another volume now; it stays in the viewer.
            self._leaves = None
        else:
            if self._leaves is not None:
                self._leaves.remove()
            self._leaves = LeafLayer(self._viewer, self._state)
            self.slider.setRange(2, max(2, result.most))
            self.slider.setValue(self._state.k)
            self.said.emit("")
        self.table.refresh()
        self.refresh()

    def _on_partition(self) -> None:
        partition = self._state.partition
        assert partition is not None  # noqa: S101
        if self._shown is not None:
            self._shown.recolour(partition)
        with QSignalBlocker(self.slider):
            self.slider.setValue(partition.k)
        self.table.refresh()
        self.rest.start()

    def _on_settled(self) -> None:
        if self._shown is not None:
            assert self._state.partition is not None  # noqa: S101
            self._shown.settle(self._state.partition)

    def _on_class_chosen(self, label: int) -> None:
        if self._shown is not None:
            self._shown.layer.selected_label = label

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        session, result = self._state.session, self._state.result
        latents = None if session is None else session.latents
        needed = "Needs mapped voxels: step 3"
        no_result = "" if result is not None else needed
        if result is None:
            self.say("waiting", needed)
        elif latents is not result.latents:
            self.say("done", "These are classes of the model before: map voxels anew")
        else:
            self.say("done", "Drag to see more or fewer classes")
        allow(self.cluster, self._runner.wait or ("" if latents is not None else needed))
        allow(self.form["tree"].native, self._runner.wait)
        allow(self.slider, no_result)
        allow(self.table, no_result)
