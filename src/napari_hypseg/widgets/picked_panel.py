"""What is picked on the disk, in words; how far around it voxels are lit, and keeping them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from napari_hypseg.widgets.parts import allow, button

if TYPE_CHECKING:
    from napari_hypseg.session import Session
    from napari_hypseg.widgets.desk import Desk

__all__ = ["PickedPanel", "first_of_all", "words"]

_STEPS = 1000
_HINT = "Click a point, a number, or a voxel: its proposal is chosen, and what lies near lights up."
_NOTHING = "Click a point on the disk, or a voxel, first"
_KEEP = "Make a class of all voxels whose points lie within the radius"


class PickedPanel(QWidget):
    """A line, the slider of the radius, and Keep.

    Parameters
    ----------
    desk : Desk
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        # Whether what runs was begun here; whether the dock is still there.
        self._ours, self._is_open = False, True
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _STEPS)
        self.slider.setAccessibleName("Radius")
        self.slider.setToolTip("Distance from the picked point within which voxels light up")
        self.slider.valueChanged.connect(self._on_slider)
        self.keep = button("Keep", _KEEP, self._keep)
        row = QHBoxLayout()
        row.addWidget(QLabel("Radius"))
        row.addWidget(self.slider, 1)
        row.addWidget(self.keep)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.text)
        desk.runner.failed.connect(self._on_failed)
        desk.runner.changed.connect(self._on_runner)
        self.refresh()

    def say(self, text: str) -> None:
        """Say something else, until the next pick."""
        if self._is_open:
            self.text.setText(text)

    def leave(self) -> None:
        """Say nothing more: the widgets may be gone already."""
        self._is_open = False

    def refresh(self) -> None:
        """Show what is picked."""
        session = self._desk.session
        reason = first_of_all(self._desk)
        point = None if reason or session is None else session.selection.point
        self.slider.setEnabled(point is not None)
        allow(self.keep, "" if point is not None else reason or _NOTHING)
        with QSignalBlocker(self.slider):
            self.slider.setValue(0 if point is None else self._step())
        self.say(reason or (_HINT if session is None or point is None else _picked(session)))

    # Fine where the radius is small: the slider moves its square root.

    def _step(self) -> int:
        selection = self._selection
        share = selection.radius / selection.farthest if selection.farthest else 0.0
        return round(_STEPS * math.sqrt(min(share, 1.0)))

    def _on_slider(self, step: int) -> None:
        selection = self._selection
        selection.widen(selection.farthest * (step / _STEPS) ** 2)

    @property
    def _selection(self) -> Any:
        assert self._desk.session is not None  # noqa: S101
        return self._desk.session.selection

    # -- keeping

    def _keep(self) -> None:
        from napari_hypseg.classes import Source
        from napari_hypseg.latents import near_job

        session, selection = self._desk.session, self._selection
        if session is None or session.proposals is None or selection.point is None:
            return
        point, radius = selection.point, selection.radius
        source = Source("disk", f"within {radius:.3g} of ({_numbers(point)})")
        self.keep_job("keep", near_job(session.proposals.latents, point, radius), source)

    def keep_job(self, title: str, job: Any, source: Any) -> None:
        """Keep, as a class, the voxels that a job finds; it is begun if nothing else runs."""
        runner = self._desk.runner
        if runner.title:
            self.say(runner.wait)
            return
        self._desk.start(title, job, lambda mask: self.keep_voxels(mask, source))
        self._ours = True

    def keep_voxels(self, mask: npt.NDArray[np.bool_], source: Any) -> None:
        """Keep voxels of the map's lattice as a class, and say which it has become."""
        session = self._desk.session
        assert session is not None  # noqa: S101
        if not mask.any():
            self.say("There are no points inside: no class was made.")
            return
        try:
            number = session.keep_voxels(mask, source)
        except ValueError as error:
            self.say(f"✗  {error}")
            return
        session.classes.choose([number])
        name, count = session.classes.row(number).name, session.classes.counts[number]
        self.say(f"Kept as {name}, {count:,} voxels: see step 5.")

    def _on_failed(self, sentence: str, _details: str) -> None:
        if self._ours:
            self.say(f"✗  {sentence}")

    def _on_runner(self) -> None:
        self._ours = self._ours and bool(self._desk.runner.title)


def first_of_all(desk: Desk) -> str:
    """What a person does before there is anything to see; empty if there is."""
    session = desk.session
    if session is None and desk.layer is None:
        return "Choose a volume first: step 1 of Hyperbolic segmentation."
    if session is None:
        return desk.lacks_session
    if session.proposals is not None:
        return ""
    return "Map the voxels first: step 3 of Hyperbolic segmentation."


def words(session: Session, voxel: tuple[int, int, int], point: npt.ArrayLike) -> str:
    """A voxel of the map's lattice, its proposal, its class and its point."""
    proposals = session.proposals
    assert proposals is not None  # noqa: S101
    z, y, x = proposals.in_volume(voxel).tolist()
    label = proposals.lookup(session.k)[proposals.clustering.leaves[voxel]]
    number = int(session.classes.labels[z, y, x])
    kept = f", kept as {session.classes.row(number).name}" if number else ""
    proposal = f"proposal {label}" if label else "outside, in the padding"
    return f"voxel ({z}, {y}, {x}), {proposal}{kept}, point ({_numbers(point)})"


def _picked(session: Session) -> str:
    selection, proposals = session.selection, session.proposals
    assert proposals is not None  # noqa: S101
    assert selection.voxel is not None  # noqa: S101
    assert selection.point is not None  # noqa: S101
    total, known = math.prod(proposals.latents.shape), len(proposals.cloud.points)
    count = f"{selection.count:,}"
    if known < total:
        count = f"about {round(selection.count * total / known):,}"
    lit = len(selection.voxels)
    shown = "" if lit == selection.count else f" ({lit:,} of them lit)"
    far = selection.distance
    return (
        f"Picked: {words(session, selection.voxel, selection.point)}, distance to the centre "
        f"{'∞' if math.isinf(far) else f'{far:.2f}'}; {count} voxels within "
        f"{selection.radius:.3g}{shown}"
    )


def _numbers(point: npt.ArrayLike) -> str:
    values = np.asarray(point)
    return ", ".join(f"{v:.2f}" for v in values[:3]) + (", …" if len(values) > 3 else "")
