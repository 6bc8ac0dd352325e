"""The dock "Hyperbolic segmentation": from a tomogram to classes in five steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_hypseg.jobs import Progress
from napari_hypseg.widgets.classes_step import ClassesStep
from napari_hypseg.widgets.desk import desk_of
from napari_hypseg.widgets.docks import open_dock
from napari_hypseg.widgets.map_step import MapStep
from napari_hypseg.widgets.model_step import ModelStep
from napari_hypseg.widgets.parts import ProgressArea, button, calm_wheel
from napari_hypseg.widgets.propose_step import ProposeStep
from napari_hypseg.widgets.shortcuts import give_keys
from napari_hypseg.widgets.volume_step import VolumeStep

if TYPE_CHECKING:
    from napari_hypseg.widgets.disk import DiskDock

__all__ = ["SegmentationDock"]


class SegmentationDock(QWidget):
    """Five steps and a progress bar: the layout alone, all else is of the steps and the desk.

    Parameters
    ----------
    napari_viewer : napari.Viewer

    Attributes
    ----------
    desk : Desk
    volume, model, map, propose, classes : Step
    progress : ProgressArea
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.desk = desk_of(napari_viewer)
        runner = self.desk.runner
        self.progress = ProgressArea(runner.stop)
        self.volume, self.model = VolumeStep(self.desk), ModelStep(self.desk)
        self.map = MapStep(self.desk)
        self.propose, self.classes = ProposeStep(self.desk), ClassesStep(self.desk)
        self.steps = (self.volume, self.model, self.map, self.propose, self.classes)
        give_keys(self, {
            "Ctrl+Shift+L": self.model.train,
            "Ctrl+Shift+V": self.map.preview,
            "Ctrl+Shift+M": self.map.all,
        })  # fmt: skip
        self._lay_out()
        calm_wheel(self)
        self._links: list[tuple[Any, Any]] = [
            (runner.changed, self._on_runner), (runner.progressed, self._on_progress),
            (runner.failed, self._on_failed), (runner.stopped, self._on_stopped),
            (self.desk.said, self.progress.say),
        ]  # fmt: skip
        for signal, slot in self._links:
            signal.connect(slot)
        self._on_runner()
        if runner.latest is not None:
            self._on_progress(*runner.latest)
        self.desk.choose_by_itself()

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(2, 2, 2, 2)
        column.setSpacing(2)
        for step in self.steps:
            column.addWidget(step)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll, 1)
        # In sight on a small screen too, where the steps are scrolled.
        below = QVBoxLayout()
        below.setContentsMargins(8, 2, 8, 2)
        below.addWidget(
            button("Poincaré disk", "Show the voxels' points, linked to the layers", self.show_disk)
        )
        outer.addLayout(below)
        outer.addWidget(self.progress)
        self.setMinimumWidth(340)

    def event(self, event: QEvent) -> bool:
        """Leave when napari takes the dock out of its window: it does not delete it."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave()
            self.deleteLater()
        return bool(super().event(event))

    def _leave(self) -> None:
        """The dock is gone and listens to nothing any more; what runs goes on."""
        links, self._links = self._links, []
        for signal, slot in links:
            signal.disconnect(slot)
        if links:
            for step in self.steps:
                step.leave()

    def show_disk(self) -> DiskDock:
        """Show the Poincare disk, linked to this dock."""
        from napari_hypseg.widgets.disk import DiskDock

        return open_dock(self.desk.viewer, DiskDock, "Poincaré disk")

    def _on_runner(self) -> None:
        if self.desk.runner.stopping:
            self.progress.stopping()
        elif self.desk.runner.title:
            self.progress.begin(self.desk.runner.title)
        else:
            self.progress.end()
        self.refresh()

    def _on_progress(self, progress: Progress, left: str) -> None:
        if not self.desk.runner.stopping:
            self.progress.advance(progress, left)

    def _on_failed(self, sentence: str, details: str) -> None:
        self.progress.rest(f"✗  {sentence}", details)

    def _on_stopped(self, title: str) -> None:
        self.progress.rest(f"{title}: stopped")

    def refresh(self) -> None:
        """Say of each step how it stands, and let be pressed what can be."""
        for step in self.steps:
            step.refresh()
