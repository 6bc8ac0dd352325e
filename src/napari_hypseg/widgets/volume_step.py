"""Step 1 of the dock, the volume: which layer, which part of it, and where its results are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import Container, FloatSpinBox, LineEdit
from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Qt, QTimer
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
from napari_hypseg.widgets.desk import Desk, is_volume
from napari_hypseg.widgets.folders import default_folder, is_temporary
from napari_hypseg.widgets.layers import DOUBTS_KEY, SESSION_KEY, layer_of, place_on, shown_volume
from napari_hypseg.widgets.parts import Step, allow, button, combo, folded

__all__ = ["VolumeStep"]

# Milliseconds after which a slider counts as resting.
_REST = 300
_BOX = (
    "Map only a part, with the model there is: drag the box in the viewer, set its slices below. "
    "To train on a part alone, take it as a volume of its own: its session has another folder"
)


class VolumeStep(Step):
    """Which tomogram, which part of it is mapped, and where its results are kept.

    Attributes
    ----------
    form : magicgui Container
        ``voxel_size``, ``box``, ``folder``.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__("1  Volume")
        self._desk = desk
        self._frame: BoxLayer | None = None
        # Contrast limits of the layer before it was shown as the network sees it.
        self._limits: Any = None
        self._box_problem = ""
        self.layer = combo("The image layer to segment, of three axes (z, y, x)")
        self.open_file = button("Open…", "Open a tomogram from a file", self._open)
        self.row(self.layer, self.open_file).setStretch(0, 1)
        self.right = button("The size is right", "Take the voxel size as it is", self._on_right)
        self.column.addWidget(self.right)
        self.draw_box = button("Only a box", _BOX, self._on_draw_box, checkable=True)
        self.cut = button(
            "As its own volume", "Make a layer of the box, with a session of its own, in another "
            "folder: a model is trained on it alone", self._on_cut,
        )  # fmt: skip
        self.look = button(
            "As the network sees it", "Show the range of intensities that is kept, and how much "
            "of them is noise", self._on_look, checkable=True,
        )  # fmt: skip
        self.row(self.draw_box, self.cut, self.look)
        self._slices_name = QLabel("Slices")
        self.slices = QLabeledRangeSlider(Qt.Orientation.Horizontal)
        self.slices.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
        self.slices.setToolTip("First and last slice (z) of the box")
        self.row(self._slices_name, self.slices).setStretch(1, 1)
        self.contrast = ContrastView()
        self.column.addWidget(self.contrast)
        self.form = Container(widgets=[
            FloatSpinBox(name="voxel_size", label="Voxel size (Å)", min=0.001, max=100_000.0,
                         step=0.01, tooltip="Corrects what the file says, for the layer and all "
                         "that is made of it; nothing is computed anew"),
            LineEdit(name="box", label="Only part", tooltip="Part to map, in voxels: "
                     "z0:z1,y0:y1,x0:x1, such as 10:40,:,100:300"),
            LineEdit(name="folder", label="Results in", tooltip="Folder for models, maps and "
                     "classes; what it holds already of this volume is taken up"),
        ])  # fmt: skip
        self.form["box"].native.setPlaceholderText("all of it")
        self.form["box"].native.editingFinished.connect(self._on_box_typed)
        self.form["folder"].native.setPlaceholderText("the folder of its own")
        self.form["folder"].native.editingFinished.connect(self._on_folder)
        self.form["voxel_size"].native.setDecimals(4)
        self.form["voxel_size"].native.editingFinished.connect(self._on_voxel_size)
        self.column.addWidget(folded(self.form))
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST)
        self._rest.timeout.connect(self._on_slices_rest)
        self.slices.valueChanged.connect(self._on_slices)
        self.layer.activated.connect(lambda _index: self._on_chosen(self.layer.currentData()))
        self.follow(
            (desk.session_changed, self._on_session), (desk.box_changed, self._show_box),
            (desk.layers_changed, self._list_layers),
        )  # fmt: skip
        self._list_layers()
        self._on_session()

    def leave(self) -> None:
        """Listen to nothing any more, and show the viewer as it was."""
        super().leave()
        self._forget_contrast()
        self._remove_frame()

    # -- which

    def _open(self) -> None:
        endings = " ".join(f"*{suffix}" for suffix in READABLE_SUFFIXES)
        path, _ = QFileDialog.getOpenFileName(
            self, "Open a tomogram", "", f"Tomograms ({endings});;All files (*)"
        )
        if path:
            self.open_path(path)

    def open_path(self, path: str) -> None:
        """Open a file as a layer, and choose it."""
        with self._desk.telling():
            layers = self._desk.viewer.open(path, plugin="napari-hypseg")
            if layers:
                self._on_chosen(layers[0])

    def _list_layers(self) -> None:
        """Offer the layers that can be segmented."""
        self.layer.clear()
        for layer in self._desk.viewer.layers:
            if is_volume(layer):
                self.layer.addItem(layer.name, layer)
        self._show_chosen()
        self.refresh()

    def _show_chosen(self) -> None:
        chosen = self._desk.layer
        found = [i for i in range(self.layer.count()) if self.layer.itemData(i) == chosen]
        self.layer.setCurrentIndex(found[0] if found else -1)

    def _on_chosen(self, layer: Any) -> None:
        if layer is None or (layer == self._desk.layer and self._desk.session is not None):
            return
        if self._desk.stops(f"Another volume is chosen while {self._desk.runner.title} goes on"):
            self._desk.choose(layer)
        self._show_chosen()

    def _on_session(self) -> None:
        """Show another layer's session, or what has become of it."""
        if self._limits is not None and self._limits[0] != self._desk.layer:
            self._forget_contrast()
        self._remove_frame()
        self._show_chosen()
        self._show_box()

    def _volume(self) -> Volume | None:
        """The volume that the layer shows."""
        desk = self._desk
        if desk.session is not None:
            return desk.session.volume
        try:
            return None if desk.layer is None else shown_volume(desk.layer)
        except VolumeError:
            return None

    # -- where

    def _on_folder(self) -> None:
        desk, volume = self._desk, self._volume()
        text = self.form["folder"].value.strip()
        if desk.layer is None or volume is None or text == self._folder_text():
            return
        if desk.stops(f"Another folder is chosen while {desk.runner.title} goes on"):
            if text:
                desk.open(volume, Path(text), desk.layer)
            else:
                desk.layer.metadata.pop(SESSION_KEY, None)
                desk.choose(desk.layer)
        self.refresh()

    def _folder_text(self) -> str:
        desk = self._desk
        if desk.session is not None:
            return str(desk.session.folder)
        return "" if desk.layer is None else str(default_folder(desk.layer))

    # -- a part of it

    def _ask_for(self, box: Box | None) -> None:
        self._box_problem = ""
        self._desk.box = box
        self._desk.box_changed.emit()

    def _on_box_typed(self) -> None:
        text, volume = self.form["box"].value.strip(), self._volume()
        if volume is None or text == _box_text(self._desk.box):
            return
        try:
            self._ask_for(parse_box(text, volume.shape) if text else None)
        except VolumeError as error:
            self._box_problem = str(error)
            self.refresh()

    def _on_draw_box(self) -> None:
        is_asked, layer = self.draw_box.isChecked(), self._desk.layer
        self._ask_for(visible_box(self._desk.viewer, layer) if is_asked and layer else None)

    def _on_dragged(self, box: Box | None) -> None:
        if box is None:
            # The layer has been removed by a person.
            self._frame = None
        self._ask_for(box)

    def _on_slices(self, ends: tuple[int, int]) -> None:
        box = self._desk.box
        if box is not None and self._frame is not None:
            self._frame.move((slice(ends[0], ends[1] + 1), *box[1:]))
            self._rest.start()

    def _on_slices_rest(self) -> None:
        if self._frame is not None:
            self._ask_for(self._frame.box)

    def _show_box(self) -> None:
        """Make the layer, the button, the field and the slider say which part it is."""
        box, volume = self._desk.box, self._volume()
        for widget in (self._slices_name, self.slices, self.cut):
            widget.setVisible(box is not None)
        self.draw_box.setChecked(box is not None)
        self.form["box"].value = _box_text(box)
        if box is None or volume is None:
            self._remove_frame()
        else:
            with QSignalBlocker(self.slices):
                self.slices.setRange(0, volume.shape[0] - 1)
                self.slices.setValue((box[0].start, box[0].stop - 1))
            if self._frame is None:
                self._frame = BoxLayer(
                    self._desk.viewer, self._desk.layer, volume, box, self._on_dragged
                )
            elif self._frame.box != box:
                self._frame.move(box)
        self.refresh()

    def _remove_frame(self) -> None:
        frame, self._frame = self._frame, None
        if frame is not None:
            frame.remove()

    def _on_cut(self) -> None:
        desk = self._desk
        if desk.session is None or desk.box is None:
            return
        part = desk.session.volume.crop(desk.box)
        data, keywords, _ = layer_of(part)
        keywords |= {"name": f"{part.name} part", **place_on(desk.layer, part)}
        layer: Image = desk.viewer.add_image(data, **keywords)
        self._on_chosen(layer)

    # -- how it looks

    def _on_voxel_size(self) -> None:
        layer, volume, asked = self._desk.layer, self._volume(), self.form["voxel_size"].value
        if layer is None or volume is None or abs(volume.voxel_size[0] - asked) < 1e-4:
            return
        layer.metadata.pop(DOUBTS_KEY, None)
        signs = np.sign(layer.scale[-3:])
        layer.units = (*layer.units[:-3], *("angstrom",) * 3)
        layer.scale = (*layer.scale[:-3], *(asked * signs))
        self._remove_frame()
        self._show_box()
        self._desk.viewer.reset_view()

    def _on_right(self) -> None:
        session, layer = self._desk.session, self._desk.layer
        if session is not None and layer is not None:
            layer.metadata.pop(DOUBTS_KEY, None)
            session.use_volume(shown_volume(layer))
            self.refresh()

    def _on_look(self) -> None:
        volume = self._volume()
        if not self.look.isChecked() or volume is None:
            self._forget_contrast()
            return
        self._desk.start("looking at the volume", contrast_job(volume), self._on_contrast)

    def _on_contrast(self, found: Contrast) -> None:
        self._desk.said.emit("")
        layer = self._desk.layer
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
        self.look.setChecked(False)
        self.contrast.show_it(None)
        if self._limits is not None:
            layer, limits = self._limits
            layer.contrast_limits = limits
            self._limits = None

    def refresh(self) -> None:
        """Say how the step stands."""
        desk, volume = self._desk, self._volume()
        if volume is not None and not self.form["voxel_size"].native.hasFocus():
            self.form["voxel_size"].value = volume.voxel_size[0]
        if not self.form["folder"].native.hasFocus():
            self.form["folder"].value = self._folder_text()
        no_volume = "" if desk.layer is not None else "Open a tomogram first"
        allow(self.draw_box, desk.lacks_session and (no_volume or desk.lacks_session))
        allow(self.look, no_volume or ("" if self.look.isChecked() else desk.runner.wait))
        allow(self.cut, desk.lacks_session or desk.runner.wait)
        doubts = () if desk.session is None else desk.session.volume.doubts
        self.right.setVisible(bool(doubts))
        if desk.session is None:
            self.say("next", desk.lacks_session if desk.layer is not None else self._hint())
        elif self._box_problem:
            self.say("next", self._box_problem)
        elif doubts:
            said = "; it ".join(doubts)
            self.say("next", f"{_size(desk.session.volume)}. The file {said}. Which is the right "
                     "one? Set it below, in Options")  # fmt: skip
        else:
            self.say("done", self._describe(desk.session.volume, desk.session.folder))

    def _hint(self) -> str:
        for layer in self._desk.viewer.layers:
            if isinstance(layer, Image) and not is_volume(layer):
                return (
                    f"{layer.name} has {layer.ndim} axes of sizes {tuple(layer.data.shape)}; a "
                    "volume has three (z, y, x), of one value each"
                )
        return "Open a tomogram, or try one of File > Open Sample > Hyperbolic segmentation"

    def _describe(self, volume: Volume, folder: Path) -> str:
        parts = [_size(volume)]
        if self._desk.layer is None:
            parts.append("its layer was removed")
        if self._desk.box is not None:
            parts.append(f"only {_box_text(self._desk.box)} is mapped")
        if is_temporary(folder):
            parts.append("results are in a temporary folder: choose another to keep them")
        return "; ".join(parts)


def _box_text(box: Box | None) -> str:
    return "" if box is None else ",".join(f"{s.start}:{s.stop}" for s in box)


def _size(volume: Volume) -> str:
    sizes = " × ".join(str(n) for n in volume.shape)
    steps = {f"{v:.4g}" for v in volume.voxel_size}
    step = " × ".join(f"{v:.4g}" for v in volume.voxel_size) if len(steps) > 1 else steps.pop()
    if np.allclose(volume.voxel_size, 1.0) and not volume.doubts:
        return f"{sizes} voxels; their size is unknown, 1 Å is taken"
    return f"{sizes} voxels of {step} Å"
