"""The dock "Hyperbolic segmentation": from a tomogram to named classes in four steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from napari_hypseg.jobs import Progress
from napari_hypseg.volumes import Box
from napari_hypseg.widgets.docks import open_dock
from napari_hypseg.widgets.export import Exports
from napari_hypseg.widgets.granularity import GranularityStep
from napari_hypseg.widgets.map_step import MapStep
from napari_hypseg.widgets.model_step import ModelStep
from napari_hypseg.widgets.parts import ProgressArea, button
from napari_hypseg.widgets.reopen import SessionKeeper
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.shortcuts import give_keys
from napari_hypseg.widgets.state import Result, State, discover_job
from napari_hypseg.widgets.volume_step import VolumeStep

if TYPE_CHECKING:
    from napari_hypseg.widgets.disk import DiskDock

__all__ = ["SegmentationDock"]


class SegmentationDock(QWidget):
    """Four steps, one slider, one progress bar: the layout, and what links the steps.

    Parameters
    ----------
    napari_viewer : napari.Viewer

    Attributes
    ----------
    state : State
    runner : JobRunner
    volume, model, map, granularity : Step
    exports : Exports
    progress : ProgressArea
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.state = State()
        self.runner = JobRunner(self)
        self.progress = ProgressArea(self.runner.stop)
        self.volume = VolumeStep(napari_viewer, self.state, self.runner)
        self.model = ModelStep(self.state, self.runner, self.volume)
        self.map = MapStep(napari_viewer, self.state, self.runner, self.discover)
        self.granularity = GranularityStep(
            napari_viewer, self.state, self.runner, lambda: self.discover(None)
        )
        self.exports = Exports(self.state, self.runner, self.volume)
        give_keys({
            "Ctrl+Shift+L": self.model.train,
            "Ctrl+Shift+V": self.map.preview,
            "Ctrl+Shift+M": self.map.all,
        })  # fmt: skip
        self._lay_out()
        self._connect()
        self.sessions = SessionKeeper(self)
        self.volume.list_layers()

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(2, 2, 2, 2)
        column.setSpacing(4)
        for step in (self.volume, self.model, self.map):
            column.addWidget(step)
        column.addWidget(self.granularity, 1)
        row = QHBoxLayout()
        row.setContentsMargins(6, 0, 6, 0)
        row.addWidget(self.exports)
        row.addWidget(
            button("Poincaré disk", "Show the voxels' points, linked to the layer", self.show_disk)
        )
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll, 1)
        # In sight on a small screen too, where the steps are scrolled.
        outer.addLayout(row)
        outer.addWidget(self.progress)
        self.setMinimumWidth(340)

    def _connect(self) -> None:
        runner = self.runner
        runner.changed.connect(self._on_runner)
        runner.progressed.connect(self._on_progress)
        runner.failed.connect(
            lambda sentence, details: self.progress.rest(f"✗  {sentence}", details)
        )
        runner.stopped.connect(lambda title: self.progress.rest(f"{title}: stopped"))
        for part in (self.volume, self.model, self.map, self.granularity, self.exports):
            part.said.connect(self._say)
        self.volume.changed.connect(self._begin_anew)
        self.volume.edited.connect(self.refresh)
        self.state.result_changed.connect(self.refresh)
        self.destroyed.connect(lambda: self._leave())

    def event(self, event: QEvent) -> bool:
        """Leave when napari takes the dock out of its window: it does not delete it."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave()
            self.deleteLater()
        return bool(super().event(event))

    def _leave(self) -> None:
        """The dock is gone: it listens to nothing any more, and nobody waits for its job."""
        self.runner.abandon()
        self.volume.leave()
        self.model.leave()

    def _begin_anew(self) -> None:
        """Drop what belongs to another volume; its layer stays in the viewer."""
        self.runner.supersede()
        self.state.session = None
        self.state.show(None)
        self.model.forget()

    def discover(self, stride: int | None, box: Box | None = None) -> None:
        """Map the voxels at a stride, or only cluster them (None), and show the result."""
        session, result = self.state.session, self.state.result
        if session is None:
            return
        settings = {**self.granularity.settings(), "device": self.model.settings()["device"]}
        known = self.state.known(settings["tree"], settings["smoothing"])
        if stride is None and known is not None:
            kind, smoothing = known.clustering.kind, known.smoothing
            session.use_clustering(known.clustering, tree=kind, smoothing=smoothing)
            self.state.show(known)
            return
        title = "clustering" if stride is None else "mapping voxels"
        is_whole = result is not None and result.model is session.model and self.map.is_whole
        shown = result.stride if result is not None and is_whole else None
        job = discover_job(session, stride=stride, box=box, shown=shown, **settings)
        self.runner.start(title, job, self._on_discovered)

    def _on_discovered(self, result: Result) -> None:
        """Show a result, with the classes that the session has kept of this very clustering."""
        from napari_hypseg.session import kept_partition

        session, kept = self.state.session, None
        if session is not None and session.clustering is result.clustering:
            try:
                kept = kept_partition(session)
            except ValueError as error:
                self.progress.rest(f"✗  {error}")
        self.state.show(result, None if kept is None else replace(kept, colours=result.colours))

    def show_disk(self) -> DiskDock:
        """Show the Poincare disk, linked to this dock."""
        from napari_hypseg.widgets.disk import DiskDock

        return open_dock(self.viewer, DiskDock, "Poincaré disk")

    def _on_runner(self) -> None:
        if self.runner.stopping:
            self.progress.stopping()
        elif self.runner.title:
            self.progress.begin(self.runner.title)
        self.refresh()

    def _say(self, text: str) -> None:
        """Say a step's sentence; while a job runs its bar and Stop stay."""
        if not self.runner.title:
            self.progress.rest(text)
        elif text:
            self.progress.text.setText(text)

    def _on_progress(self, progress: Progress, left: str) -> None:
        if isinstance(progress.partial, Result):
            self.state.show(progress.partial)
        if not self.runner.stopping:
            self.progress.advance(progress, left)

    def refresh(self) -> None:
        """Say of each step how it stands, and let be pressed what can be."""
        for part in (self.volume, self.model, self.map, self.granularity, self.exports):
            part.refresh()
