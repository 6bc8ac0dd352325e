"""The way out of the dock: classes, proposals, table and disk as files, the run as text."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtWidgets import QApplication, QFileDialog, QMenu, QWidget

from napari_hypseg.volumes import WRITABLE_SUFFIXES, write_labels
from napari_hypseg.widgets.parts import ask

if TYPE_CHECKING:
    from napari_hypseg.session import Session
    from napari_hypseg.widgets.desk import Desk

__all__ = ["ExportMenu"]

_LABELS = f"Labels ({' '.join(f'*{suffix}' for suffix in WRITABLE_SUFFIXES)})"
_NO_CLASS = "No class is kept yet"
_NOT_CHOSEN = "Choose a class first: click it in the table or in the volume"
_NO_PROPOSALS = "Needs mapped voxels: step 3"


class ExportMenu(QMenu):
    """What can be taken elsewhere.

    Files get the ending that a person gives, or the one of the format; those that are there are
    overwritten only if a person says so, and the volume itself never.

    Parameters
    ----------
    desk : Desk
    home : QWidget
        Above which it asks.
    """

    def __init__(self, desk: Desk, home: QWidget) -> None:
        super().__init__(home)
        self._desk = desk
        self.setToolTipsVisible(True)
        self.aboutToShow.connect(self.refresh)
        self._add("Classes…", "All classes as labels, with names and table: MRC, TIFF or OME-Zarr",
                  partial(self._ask, "classes.mrc", _LABELS, self.save_classes))  # fmt: skip
        self._add("Chosen classes alone…", "The chosen classes as labels, each with its number",
                  partial(self._ask, "classes.mrc", _LABELS, self.save_chosen))  # fmt: skip
        self._add("Mask of the chosen classes…", "1 inside the chosen classes, 0 elsewhere",
                  partial(self._ask, "mask.mrc", _LABELS, self.save_mask))  # fmt: skip
        self._add("Table of classes…", "Numbers, names, colours, voxels, volumes as CSV",
                  partial(self._ask, "classes.csv", "Tables (*.csv)", self.save_table))  # fmt: skip
        self.addSeparator()
        self._add("Proposals…", "The labels of the proposals as they are",
                  partial(self._ask, "proposals.mrc", _LABELS, self.save_proposals))  # fmt: skip
        self._add("Proposals at every granularity", "Labels of 2 to 30 proposals, the tree and a "
                  "report, into the session's folder", self.write_all)  # fmt: skip
        pictures = "Pictures (*.png *.svg)"
        self._add("Disk…", "The Poincaré disk as PNG or SVG",
                  partial(self._ask, "disk.png", pictures, self.save_disk))  # fmt: skip
        self.addSeparator()
        self._add("Copy as Python", "A script that makes these proposals again, and reads the "
                  "classes", self.copy_python)  # fmt: skip
        self._add("Copy as command", "The hypseg command that makes these proposals again",
                  self.copy_command)  # fmt: skip

    def _add(self, text: str, tip: str, on_choice: Callable[[], Any]) -> None:
        made = self.addAction(text)
        made.setToolTip(tip)
        made.setProperty("own_tip", tip)
        made.triggered.connect(lambda: on_choice())

    def refresh(self) -> None:
        """Let be chosen what can be, and say of the rest why not."""
        session = self._desk.session
        kept = session is not None and bool(session.classes.table)
        chosen = session is not None and bool(session.classes.chosen)
        no_proposals = "" if session is not None and session.proposals else _NO_PROPOSALS
        for each in self.actions():
            text, reason = each.text(), no_proposals
            if "hosen" in text:
                reason = "" if chosen else _NOT_CHOSEN
            elif "lasses" in text:
                reason = "" if kept else _NO_CLASS
            elif "every" in text:
                reason = no_proposals or self._desk.runner.wait
            each.setEnabled(not reason)
            each.setToolTip(reason or each.property("own_tip"))

    # -- asking

    def _ask(self, name: str, kinds: str, on_path: Callable[[Path], Any]) -> None:
        session = self._desk.session
        if session is None:
            return
        place = session.folder / f"{session.volume.name.replace(os.sep, '_')}_{name}"
        # What is there is asked for below: with an ending that is added, and for files beside it.
        path, _ = QFileDialog.getSaveFileName(
            self.parentWidget(), "Save", str(place), kinds,
            options=QFileDialog.Option.DontConfirmOverwrite,
        )  # fmt: skip
        if path:
            on_path(Path(path))

    def _write(self, path: Path, suffixes: tuple[str, ...], write: Callable[..., Any]) -> None:
        """Write a file, and ask before others are overwritten.

        Parameters
        ----------
        path : Path
        suffixes : tuple of str
            Endings that there are, the one to add first.
        write : callable
            Gets the session, the path with an ending, and ``overwrite``.
        """
        from napari_hypseg.session import PlanError, check, with_suffix

        session = self._desk.session
        if session is None:
            return
        with self._desk.telling():
            path = with_suffix(path, suffixes[0], suffixes)
            check([path], inputs=[session.volume], overwrite=True)
            try:
                write(session, path, overwrite=False)
            except PlanError as error:
                # Only files that are there are left to ask for.
                if not ask(self.parentWidget(), f"{error}.", "Overwrite"):
                    return
                write(session, path, overwrite=True)
            self._desk.said.emit(f"wrote {path}")

    # -- writing

    def save_classes(self, path: Path) -> None:
        """Write all classes, and their table beside."""
        self._write(path, WRITABLE_SUFFIXES, _classes)

    def save_chosen(self, path: Path) -> None:
        """Write the chosen classes alone, each with its own number."""
        session = self._desk.session
        if session is not None:
            self._write(path, WRITABLE_SUFFIXES, partial(_classes, only=session.classes.chosen))

    def save_mask(self, path: Path) -> None:
        """Write where the chosen classes are."""
        self._write(path, WRITABLE_SUFFIXES, _mask)

    def save_table(self, path: Path) -> None:
        """Write the table of classes."""
        self._write(path, (".csv",), _table)

    def save_proposals(self, path: Path) -> None:
        """Write the labels of the proposals as they are."""
        self._write(path, WRITABLE_SUFFIXES, _proposals)

    def save_disk(self, path: Path) -> None:
        """Draw the disk into a file."""
        self._write(path, (".png", ".svg"), _disk)

    def write_all(self) -> None:
        """Write the labels at every granularity, the tree and the report into the folder."""
        from napari_hypseg.session import PlanError

        session, overwrite = self._desk.session, False
        if session is None or session.proposals is None:
            return
        ks = range(2, session.proposals.most + 1)
        try:
            session.check_outputs(ks)
        except PlanError as error:
            overwrite = ask(self.parentWidget(), f"{error}.", "Overwrite")
            if not overwrite:
                return
        self._desk.start(
            "writing labels", session.write_job(ks, overwrite=overwrite),
            lambda _: self._desk.said.emit(f"wrote {session.folder}"),
        )  # fmt: skip

    # -- the run as text

    def copy_python(self) -> None:
        """Put a script into the clipboard that makes the proposals again."""
        from napari_hypseg.session import as_python

        self._copy(as_python)

    def copy_command(self) -> None:
        """Put a command into the clipboard that makes the proposals again."""
        from napari_hypseg.session import as_command

        self._copy(as_command)

    def _copy(self, make: Callable[[Session, int], str]) -> None:
        session = self._desk.session
        if session is not None:
            with self._desk.telling():
                text = make(session, session.k)
                QApplication.clipboard().setText(text)
                self._desk.said.emit(f"copied: {text.splitlines()[0]}…")


def _check(session: Session, paths: list[Path], *, overwrite: bool) -> None:
    from napari_hypseg.session import check

    check(paths, inputs=[session.volume], overwrite=overwrite)


def _classes(session: Session, path: Path, *, overwrite: bool, only: Any = None) -> None:
    session.write_classes(path, only=only, overwrite=overwrite)


def _mask(session: Session, path: Path, *, overwrite: bool) -> None:
    _check(session, [path], overwrite=overwrite)
    inside = np.zeros(256, np.uint8)
    inside[list(session.classes.chosen)] = 1
    write_labels(path, inside[session.classes.labels], session.volume)


def _table(session: Session, path: Path, *, overwrite: bool) -> None:
    _check(session, [path], overwrite=overwrite)
    session.classes.write_table(path, session.volume.voxel_size)


def _proposals(session: Session, path: Path, *, overwrite: bool) -> None:
    _check(session, [path], overwrite=overwrite)
    if session.proposals is not None:
        proposals = session.proposals
        write_labels(path, proposals.labels(session.k), proposals.latents.as_volume())


def _disk(session: Session, path: Path, *, overwrite: bool) -> None:
    from napari_hypseg.figures.paper import write_disk

    _check(session, [path], overwrite=overwrite)
    if session.proposals is not None:
        proposals = session.proposals
        write_disk(path, proposals.clustering, session.k, proposals.cloud)
