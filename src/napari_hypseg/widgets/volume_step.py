"""Step 1 of the dock, the volume: which layer, which part of it, and where its results are kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import Container, LineEdit
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog

from napari_hypseg.volumes import READABLE_SUFFIXES, Volume, VolumeError, parse_box
from napari_hypseg.widgets.layers import volume_of
from napari_hypseg.widgets.parts import Step, button, combo, folded

__all__ = ["VolumeStep"]


class VolumeStep(Step):
    """Which tomogram, and where its results are kept.

    Attributes
    ----------
    form : magicgui Container
        ``box``, ``folder``.
    reason : str
        Why there is no volume.
    changed : Signal
        Another volume, another part of it or another folder has been chosen.
    edited : Signal
        The form has changed, whatever it means.
    """

    changed = Signal()
    edited = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__("1  Volume")
        self.viewer = viewer
        self.reason = ""
        self._chosen: Image | None = None
        self._target: Any = None
        self.layer = combo("The image layer to segment, of three axes (z, y, x)")
        self.open_file = button("Open…", "Open a tomogram from a file", self._open)
        row = self.row(self.layer, self.open_file)
        row.setStretch(0, 1)
        self.form = Container(widgets=[
            LineEdit(name="box", label="Only part", tooltip="Part to work on, in voxels: "
                     "z0:z1,y0:y1,x0:x1, such as 10:40,:,100:300"),
            LineEdit(name="folder", label="Results in", tooltip="Folder for model, latents and "
                     "clusters; what it holds already is not computed again"),
        ])  # fmt: skip
        for name, text in (("box", "all of it"), ("folder", "a folder")):
            self.form[name].native.setPlaceholderText(text)
            self.form[name].native.editingFinished.connect(self._on_edited)
        self.column.addWidget(folded(self.form))
        self.layer.activated.connect(lambda _index: self._choose(self.layer.currentData()))
        self._events = (viewer.layers.events.inserted, viewer.layers.events.removed)
        for event in self._events:
            event.connect(self.list_layers)

    def leave(self) -> None:
        """Listen to the viewer no more."""
        for event in self._events:
            event.disconnect(self.list_layers)

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
        kept = self._chosen if self._chosen in layers else (layers[-1] if layers else None)
        self.layer.setCurrentIndex(layers.index(kept) if kept is not None else -1)
        self._choose(kept)

    def _choose(self, layer: Image | None) -> None:
        if layer is not self._chosen:
            self._chosen = layer
            if layer is not None:
                self.layer.setCurrentIndex(self.layer.findData(layer))
                self.form["folder"].value = str(_default_folder(layer))
            self._target = None
            self.changed.emit()
        self._on_edited()

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
             "units": layer.units, "multiscale": layer.multiscale},
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
    """Beside the layer's file where that can be written, else among temporary files."""
    path = layer.source.path
    if path and os.access(Path(path).parent, os.W_OK):
        return Path(path).with_name(f"{layer.name}_hypseg")
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in layer.name)
    return Path(tempfile.gettempdir()) / "hypseg" / safe


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
