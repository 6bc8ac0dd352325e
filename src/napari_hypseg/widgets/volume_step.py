"""Step 1 of the dock, the volume: which layer, which part of it, and where its results are kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import Container, FloatSpinBox, LineEdit
from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Qt, QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QLabel
from superqt import QLabeledRangeSlider

from napari_hypseg.volumes import (
    READABLE_SUFFIXES,
    Box,
    Contrast,
    Volume,
    VolumeError,
    contrast_job,
    parse_box,
)
from napari_hypseg.widgets.box_layer import BoxLayer, visible_box
from napari_hypseg.widgets.contrast_view import ContrastView
from napari_hypseg.widgets.layers import MADE_KEY, volume_of
from napari_hypseg.widgets.parts import Step, allow, button, combo, folded
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.settings import read_settings
from napari_hypseg.widgets.state import State

__all__ = ["VolumeStep"]

# Milliseconds after which a slider counts as resting.
_REST = 300


class VolumeStep(Step):
    """Which tomogram, and where its results are kept.

    Attributes
    ----------
    form : magicgui Container
        ``voxel_size``, ``box``, ``folder``.
    reason : str
        Why there is no volume.
    changed : Signal
        Another volume, another part of it or another folder has been chosen.
    edited : Signal
        The form has changed, whatever it means.
    """

    changed = Signal()
    edited = Signal()

    def __init__(self, viewer: Any, state: State, runner: JobRunner) -> None:
        super().__init__("1  Volume")
        self.viewer = viewer
        self._state = state
        self._runner = runner
        self.reason = ""
        self._chosen: Image | None = None
        self._target: Any = None
        self._frame: BoxLayer | None = None
        self._adding = False
        # Contrast limits of the layer before it was shown as the network sees it.
        self._limits: Any = None
        self.layer = combo("The image layer to segment, of three axes (z, y, x)")
        self.open_file = button("Open…", "Open a tomogram from a file", self._open)
        row = self.row(self.layer, self.open_file)
        row.setStretch(0, 1)
        self.draw_box = button(
            "Only a box", "Work on a part: drag the box in the viewer, set its slices below",
            self._on_draw_box, checkable=True,
        )  # fmt: skip
        self.look = button(
            "As the network sees it", "Show the range of intensities that is kept, and how much "
            "of them is noise", self._on_look, checkable=True,
        )  # fmt: skip
        self.row(self.draw_box, self.look)
        self._slices_name = QLabel("Slices")
        self.slices = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.slices.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self.slices.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slices.setToolTip("First and last slice (z) of the box")
        self.row(self._slices_name, self.slices).setStretch(1, 1)
        self.contrast = ContrastView()
        self.column.addWidget(self.contrast)
        self.form = Container(widgets=[
            FloatSpinBox(name="voxel_size", label="Voxel size (Å)", min=0.001, max=100_000.0,
                         step=0.01, tooltip="Corrects what the file says, for the layer and all "
                         "that is made of it"),
            LineEdit(name="box", label="Only part", tooltip="Part to work on, in voxels: "
                     "z0:z1,y0:y1,x0:x1, such as 10:40,:,100:300"),
            LineEdit(name="folder", label="Results in", tooltip="Folder for model, latents and "
                     "clusters; what it holds already is not computed again"),
        ])  # fmt: skip
        for name, text in (("box", "all of it"), ("folder", "a folder")):
            self.form[name].native.setPlaceholderText(text)
            self.form[name].native.editingFinished.connect(self._on_edited)
        self.form["voxel_size"].native.setDecimals(4)
        self.form["voxel_size"].native.editingFinished.connect(self._on_voxel_size)
        self.column.addWidget(folded(self.form))
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST)
        self._rest.timeout.connect(self._on_edited)
        self.slices.valueChanged.connect(self._on_slices)
        self.edited.connect(self._show_box)
        self.layer.activated.connect(lambda _index: self._choose(self.layer.currentData()))
        self._events = (viewer.layers.events.inserted, viewer.layers.events.removed)
        for event in self._events:
            event.connect(self.list_layers)

    def leave(self) -> None:
        """Listen to the viewer no more."""
        for event in self._events:
            event.disconnect(self.list_layers)
        if self._frame is not None:
            self._frame.remove()

    def _open(self) -> None:
        endings = " ".join(f"*{suffix}" for suffix in READABLE_SUFFIXES)
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a tomogram", "", f"Tomograms ({endings});;All files (*)"
        )
        if path:
            self.open(path)

    def open(self, path: str) -> None:
        """Open a file as a layer, and choose it."""
        try:
            (layer,) = self.viewer.open(path, plugin="napari-hypseg")
        except (VolumeError, OSError) as error:
            self.said.emit(str(error))
            return
        self._choose(layer)

    def list_layers(self, _event: Any = None) -> None:
        """Offer the layers that can be segmented; keep the one chosen while it is there."""
        layers = [layer for layer in self.viewer.layers if _is_volume(layer)]
        self.layer.clear()
        for layer in layers:
            self.layer.addItem(layer.name, layer)
        kept = self._chosen if self._chosen in layers else None
        # A result on show without a volume stays until a person chooses one.
        if kept is None and (self._chosen is not None or self._state.result is None):
            tomograms = [layer for layer in layers if MADE_KEY not in layer.metadata]
            kept = tomograms[-1] if tomograms else None
        self.layer.setCurrentIndex(layers.index(kept) if kept is not None else -1)
        self._choose(kept)

    def _choose(self, layer: Image | None) -> None:
        if layer is not self._chosen:
            self._chosen = layer
            if layer is not None:
                self.layer.setCurrentIndex(self.layer.findData(layer))
                self.form["folder"].value = str(_default_folder(layer))
            self.form["box"].value = ""
            if self._frame is not None:
                self._frame.remove()
                self._frame = None
            self.look.setChecked(False)
            self._forget_contrast()
            self._target = None
            self.changed.emit()
        self._on_edited()

    def take(self, layer: Image, folder: Path) -> None:
        """Choose a layer, all of it, and the folder of its results."""
        self.form["box"].value = ""
        self._choose(layer)
        self.form["folder"].value = str(folder)
        self._on_edited()

    # -- a part of it

    def _box(self) -> Box | None:
        """The part that the form asks for, if it is one."""
        text = self.form["box"].value.strip()
        try:
            return parse_box(text, self.of(self._chosen).shape) if text and self._chosen else None
        except VolumeError:
            return None

    def _ask_for(self, box: Box | None) -> None:
        self.form["box"].value = "" if box is None else ",".join(f"{s.start}:{s.stop}" for s in box)

    def _on_draw_box(self) -> None:
        if self._chosen is None or not self.draw_box.isChecked():
            self._ask_for(None)
        elif self._box() is None:
            self._ask_for(visible_box(self.viewer, self._chosen))
        self._on_edited()

    def _on_dragged(self, box: Box | None) -> None:
        if box is None:
            self._frame = None
        self._ask_for(box)
        self._on_edited()

    def _on_slices(self, ends: tuple[int, int]) -> None:
        box = self._box()
        if box is not None and self._frame is not None:
            box = (slice(ends[0], ends[1] + 1), *box[1:])
            self._ask_for(box)
            self._frame.move(box)
            self._rest.start()

    def _show_box(self) -> None:
        """Make the layer, the button and the slider say what the form says."""
        if self._adding:
            return
        box = self._box()
        self.draw_box.setChecked(box is not None)
        for widget in (self._slices_name, self.slices):
            widget.setVisible(box is not None)
        if box is None or self._chosen is None:
            if self._frame is not None:
                self._frame.remove()
                self._frame = None
            return
        volume = self.of(self._chosen)
        with QSignalBlocker(self.slices):
            self.slices.setRange(0, volume.shape[0] - 1)
            self.slices.setValue((box[0].start, box[0].stop - 1))
        if self._frame is None:
            # A layer that is added makes the list of layers anew, and comes here again.
            self._adding = True
            self._frame = BoxLayer(self.viewer, volume, box, self._on_dragged)
            self._adding = False
        elif self._frame.box != box:
            self._frame.move(box)

    # -- how it looks

    def _on_voxel_size(self) -> None:
        layer, asked = self._chosen, self.form["voxel_size"].value
        if layer is None or abs(self.of(layer).voxel_size[0] - asked) < 1e-4:
            return
        layer.scale, layer.units = (asked,) * 3, ("angstrom",) * 3
        if self._frame is not None:
            self._frame.remove()
            self._frame = None
        self.viewer.reset_view()
        self._on_edited()

    def _on_look(self) -> None:
        volume = self.volume()
        if not self.look.isChecked() or volume is None:
            self._forget_contrast()
            return
        self._runner.start("looking at the volume", contrast_job(volume), self._on_contrast)

    def _on_contrast(self, found: Contrast) -> None:
        self.said.emit("")
        layer = self._chosen
        if layer is not None and self.look.isChecked():
            self.contrast.show_it(found)
            self._limits = (layer, tuple(layer.contrast_limits))
            fit = found.normalization
            layer.contrast_limits_range = (
                min(fit.low, layer.contrast_limits_range[0]),
                max(fit.high, layer.contrast_limits_range[1]),
            )
            layer.contrast_limits = (fit.low, fit.high)

    def _forget_contrast(self) -> None:
        """Show the layer as it was."""
        self.contrast.show_it(None)
        if self._limits is not None:
            layer, limits = self._limits
            layer.contrast_limits = limits
            self._limits = None

    def _on_edited(self) -> None:
        volume = self.volume()
        if volume is not None:
            target = (*_place(volume), self.folder())
            if self._target not in (None, target):
                self.changed.emit()
            self._target = target
        self.edited.emit()

    def folder(self) -> Path:
        """Where results are kept."""
        return Path(self.form["folder"].value or tempfile.gettempdir())

    def volume(self) -> Volume | None:
        """The part of the layer to work on; None if there is none, or no such part."""
        layer, box = self._chosen, self.form["box"].value.strip()
        self.reason = "Needs a volume: step 1"
        if layer is None:
            return None
        volume = self.of(layer)
        try:
            found = volume.crop(parse_box(box, volume.shape)) if box else volume
        except VolumeError as error:
            self.reason = str(error)
            return None
        self.reason = ""
        return found

    @staticmethod
    def of(layer: Image) -> Volume:
        """The whole volume that a layer shows."""
        return volume_of(
            layer.data,
            {"name": layer.name, "scale": layer.scale, "translate": layer.translate,
             "units": layer.units, "multiscale": layer.multiscale, "metadata": layer.metadata},
        )  # fmt: skip

    def others(self) -> list[Image]:
        """The other layers that could be segmented."""
        return [
            layer for layer in self.viewer.layers if _is_volume(layer) and layer is not self._chosen
        ]

    def voxels(self) -> Any:
        """What the layer holds: other voxels are another volume."""
        return None if self._chosen is None else self._chosen.data

    def refresh(self) -> None:
        """Say how the step stands."""
        volume = self.volume()
        if self._chosen is not None and not self.form["voxel_size"].native.hasFocus():
            self.form["voxel_size"].value = self.of(self._chosen).voxel_size[0]
        no_volume = "" if self._chosen is not None else "Open a tomogram first"
        allow(self.draw_box, no_volume)
        allow(self.look, self._runner.wait or no_volume)
        if volume is not None:
            self.say("done", _describe(volume))
        elif self._chosen is not None:
            self.say("next", self.reason)
        else:
            sample = "File > Open Sample > Hyperbolic segmentation"
            self.say("next", f"Open a tomogram, or try one of {sample}")


def _is_volume(layer: Any) -> bool:
    return isinstance(layer, Image) and not layer.rgb and layer.ndim == 3


def _default_folder(layer: Image) -> Path:
    """Where the settings say; else beside the layer's file, or among temporary files."""
    path, results = layer.source.path, read_settings().folder
    if results is not None:
        return results / f"{_safe(layer.name)}_hypseg"
    if path and os.access(Path(path).parent, os.W_OK):
        return Path(path).with_name(f"{layer.name}_hypseg")
    return Path(tempfile.gettempdir()) / "hypseg" / _safe(layer.name)


def _safe(name: str) -> str:
    """A name that every file system takes."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def _place(volume: Volume) -> tuple[Any, ...]:
    """What tells parts of one layer from each other."""
    return volume.shape, volume.voxel_size, volume.origin


def _describe(volume: Volume) -> str:
    sizes = " × ".join(str(n) for n in volume.shape)
    steps = {f"{v:.4g}" for v in volume.voxel_size}
    step = " × ".join(f"{v:.4g}" for v in volume.voxel_size) if len(steps) > 1 else steps.pop()
    if np.allclose(volume.voxel_size, 1.0):
        return f"{sizes} voxels; their size is unknown, 1 Å is taken"
    return f"{sizes} voxels of {step} Å"
