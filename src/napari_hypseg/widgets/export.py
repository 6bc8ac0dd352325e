"""The way out of the dock: labels, table and disk as files, the run as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QMenu, QWidget

from napari_hypseg.jobs import Job
from napari_hypseg.volumes import WRITABLE_SUFFIXES
from napari_hypseg.widgets.parts import allow, button
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.state import FINEST, Result, State, export_job, export_levels_job
from napari_hypseg.widgets.volume_step import VolumeStep

__all__ = ["Exports"]


class Exports(QWidget):
    """What can be saved of a result, in one menu.

    Attributes
    ----------
    said : Signal of str
        A sentence for the line at the bottom of the dock.
    menu : QMenu
    """

    said = Signal(str)

    def __init__(self, state: State, runner: JobRunner, volume: VolumeStep) -> None:
        super().__init__()
        self._state, self._runner, self._volume = state, runner, volume
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        for text, tip, on_choice in (
            ("Save labels…", "The labels of the classes as they are, with their names, as MRC, "
             "TIFF or OME-Zarr (Ctrl+Shift+E)", self._save_labels),
            ("Save labels at every granularity…", "The labels at 2 to 30 classes, a file for each",
             self._save_levels),
            ("Save table…", "The table of classes as CSV", self._save_table),
            ("Save disk…", "The Poincaré disk as PNG or SVG", self._save_disk),
            ("", "", None),
            ("Copy as Python", "A script that makes these labels again", self.copy_python),
            ("Copy as command", "The hypseg command that makes the labels at this number of "
             "classes again", self.copy_command),
        ):  # fmt: skip
            if on_choice is None:
                self.menu.addSeparator()
                continue
            action = self.menu.addAction(text)
            action.setToolTip(tip)
            action.triggered.connect(lambda _checked=False, act=on_choice: act())
            if on_choice == self._save_labels:
                action.setShortcut("Ctrl+Shift+E")
                self.addAction(action)
        self.export = button("Export", "Take labels, table, disk or the run itself elsewhere",
                             lambda: None)  # fmt: skip
        self.export.setMenu(self.menu)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.export)

    # -- asking for a place

    def _ask(self, title: str, name: str, kinds: str, on_path: Callable[[Path], Any]) -> None:
        if self._state.result is not None:
            place = self._volume.folder() / f"{self._state.result.latents.name}_{name}"
            path, _ = QFileDialog.getSaveFileName(self, title, str(place), kinds)
            if path:
                on_path(Path(path))

    def _save_labels(self) -> None:
        name = f"labels_k{self._state.k:02d}.mrc"
        self._ask("Save labels", name, f"Labels ({_ENDINGS})", self.save_labels)

    def _save_levels(self) -> None:
        title = "Save labels at every granularity: the ending tells the format"
        self._ask(title, "labels.mrc", f"Labels ({_ENDINGS})", self.save_levels)

    def _save_table(self) -> None:
        self._ask("Save the table", "classes.csv", "Tables (*.csv)", self.save_table)

    def _save_disk(self) -> None:
        self._ask("Save the disk", "disk.png", "Pictures (*.png *.svg)", self.save_disk)

    # -- writing

    def save_labels(self, path: Path) -> None:
        """Write the labels of the classes as they are."""
        result, partition = self._state.result, self._state.partition
        if result is not None and partition is not None:
            self._write(export_job(result, partition, path), path)

    def save_levels(self, path: Path) -> None:
        """Write the labels at 2 to 30 classes into a folder, in the format of a path's ending."""
        result, partition = self._state.result, self._state.partition
        if result is not None and partition is not None:
            ks = range(2, FINEST + 1)
            job = export_levels_job(result, partition, ks, path.parent, path.suffix or ".mrc")
            self._write(job, path.parent)

    def _write(self, job: Job[Any], where: Path) -> None:
        self._runner.start("writing labels", job, lambda _: self.said.emit(f"wrote {where}"))

    def save_table(self, path: Path) -> None:
        """Write the table of classes."""
        from napari_hypseg.figures import write_table

        result, partition = self._state.result, self._state.partition
        if result is not None and partition is not None:
            figures = result.tally.figures(partition, result.latents.voxel_size)
            self._try(path, lambda: write_table(path, partition, figures))

    def save_disk(self, path: Path) -> None:
        """Draw the disk into a file, ``.svg`` or ``.png``."""
        result = self._state.result
        if result is not None:
            self._try(path, lambda: self._draw(result, path))

    def _draw(self, result: Result, path: Path) -> None:
        from napari_hypseg.figures import write_disk

        partition = self._state.partition
        assert partition is not None  # noqa: S101
        figures = result.tally.figures(partition, result.latents.voxel_size)
        write_disk(path, partition, result.cloud, figures)

    def _try(self, path: Path, write: Callable[[], Any]) -> None:
        try:
            write()
        except OSError as error:
            self.said.emit(f"✗  {path}: can't be written, {error.strerror or error}")
        except ValueError as error:
            self.said.emit(f"✗  {error}")
        else:
            self.said.emit(f"wrote {path}")

    # -- the run as text

    def copy_python(self) -> None:
        """Put a script into the clipboard that makes the labels again."""
        from napari_hypseg.session import as_python

        session, partition = self._state.session, self._state.partition
        if session is not None and partition is not None:
            self._copy(as_python(session, self._state.k, partition))

    def copy_command(self) -> None:
        """Put a command into the clipboard that makes the labels again."""
        from napari_hypseg.session import as_command

        if self._state.session is not None:
            self._copy(as_command(self._state.session, self._state.k))

    def _copy(self, text: str) -> None:
        QApplication.clipboard().setText(text)
        self.said.emit(f"copied: {text.splitlines()[0]}…")

    def refresh(self) -> None:
        """Let be pressed what can be."""
        session, result = self._state.session, self._state.result
        reason = "" if result is not None else "Needs mapped voxels: step 3"
        if result is not None and (session is None or session.clustering is not result.clustering):
            reason = "These are classes of the model before: map voxels anew"
        allow(self.export, self._runner.wait or reason)


_ENDINGS = " ".join(f"*{suffix}" for suffix in WRITABLE_SUFFIXES)
