"""The way out of the dock: labels as files."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QWidget

from napari_hypseg.volumes import WRITABLE_SUFFIXES
from napari_hypseg.widgets.parts import allow, button
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.state import State, export_job
from napari_hypseg.widgets.volume_step import VolumeStep

__all__ = ["Exports"]


class Exports(QWidget):
    """What can be saved of a result.

    Attributes
    ----------
    said : Signal of str
        A sentence for the line at the bottom of the dock.
    """

    said = Signal(str)

    def __init__(self, state: State, runner: JobRunner, volume: VolumeStep) -> None:
        super().__init__()
        self._state, self._runner, self._volume = state, runner, volume
        self.labels = button(
            "Save labels…", "Write the labels at this number of classes as MRC, TIFF or OME-Zarr",
            self._save_labels,
        )  # fmt: skip
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.labels)

    def _save_labels(self) -> None:
        if self._state.result is None:
            return
        name = f"{self._state.result.latents.name}_labels_k{self._state.k:02d}.mrc"
        endings = " ".join(f"*{suffix}" for suffix in WRITABLE_SUFFIXES)
        path, _ = QFileDialog.getSaveFileName(
            self, "Save labels", str(self._volume.folder() / name), f"Labels ({endings})"
        )
        if path:
            self.save_labels(Path(path))

    def save_labels(self, path: Path) -> None:
        """Write the labels of the classes as they are."""
        result, partition = self._state.result, self._state.partition
        if result is not None and partition is not None:
            job = export_job(result, partition, path)
            self._runner.start("writing labels", job, lambda p: self.said.emit(f"wrote {p}"))

    def refresh(self) -> None:
        """Let be pressed what can be."""
        no_result = "" if self._state.result is not None else "Needs mapped voxels: step 3"
        allow(self.labels, self._runner.wait or no_result)
