"""The four steps as forms: they hold widgets and no state of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QLabel, QLineEdit, QSpinBox
from superqt import QLabeledSlider

from napari_hypseg.widgets.parts import LossLine, Step, button, options
from napari_hypseg.widgets.state import FINEST, State
from napari_hypseg.widgets.table import ClassTable

__all__ = ["GranularityStep", "MapStep", "ModelStep", "VolumeStep"]

_PRESETS = {
    "default": "Ours: quick, and the one to begin with",
    "cihs": "The published system (Hsu et al., NeurIPS 2021): many times slower",
}
_TREES = {
    "volume": ("things (tree of the volume)",
               "Which things contain which: only regions that touch merge"),
    "disk": ("kinds (tree of the disk)",
             "What kinds of thing there are: clusters merge wherever they lie in the volume"),
}  # fmt: skip


def _combo(tip: str) -> QComboBox:
    """A combo box that does not grow with its longest entry."""
    made = QComboBox()
    made.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    made.setMinimumContentsLength(10)
    made.setToolTip(tip)
    return made


class VolumeStep(Step):
    """Which tomogram, and where its results are kept."""

    def __init__(self, on_open: Callable[[], Any]) -> None:
        super().__init__("1  Volume")
        self.layer = _combo("The image layer to segment, of three axes (z, y, x)")
        self.open = button("Open…", "Open a tomogram from a file", on_open)
        row = self.row(self.layer, self.open)
        row.setStretch(0, 1)
        self.box, self.folder = QLineEdit(), QLineEdit()
        self.box.setPlaceholderText("all of it")
        self.folder.setPlaceholderText("a folder")
        self.column.addWidget(options({
            "Only part": (self.box, "Part to work on, in voxels: z0:z1,y0:y1,x0:x1, such as "
                          "10:40,:,100:300"),
            "Results in": (self.folder, "Folder for model, latents and clusters; what it holds "
                           "already is not computed again"),
        }))  # fmt: skip


class ModelStep(Step):
    """Train a model or load one."""

    def __init__(self, on_train: Callable[[], Any], on_load: Callable[[], Any]) -> None:
        super().__init__("2  Model")
        self.train = button("Train", "Train on this volume, in the background", on_train)
        self.load = button(
            "Load…", "Take a model trained before, on this or other tomograms", on_load
        )
        self.row(self.train, self.load)
        self.loss = LossLine()
        self.column.addWidget(self.loss)
        self.preset, self.device = _combo(""), _combo("")
        self.steps, self.seed = QSpinBox(), QSpinBox()
        self.steps.setRange(0, 1_000_000)
        self.steps.setSingleStep(100)
        self.steps.setSpecialValueText("as the preset says")
        self.seed.setRange(0, 2**31 - 1)
        self.column.addWidget(options({
            "Preset": (self.preset, "What to train: the default, or the published system and its "
                       "ablations"),
            "Steps": (self.steps, "Training steps: more take longer and may show finer things"),
            "Seed": (self.seed, "The same seed gives the same result on the same machine"),
            "Device": (self.device, "Where to compute, training and mapping alike"),
        }))  # fmt: skip

    def fill(self, presets: Sequence[str], devices: Mapping[str, str]) -> None:
        """Offer what is there: presets, and devices with their descriptions."""
        for name in presets:
            self.preset.addItem(name, name)
            tip = _PRESETS.get(name, "An ablation of the published system")
            self.preset.setItemData(self.preset.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        for name, text in devices.items():
            self.device.addItem(text, name)

    def settings(self) -> dict[str, Any]:
        """Arguments of a training."""
        return {
            "preset": self.preset.currentData(),
            "steps": self.steps.value() or None,
            "seed": self.seed.value(),
            "device": self.device.currentData(),
        }


class MapStep(Step):
    """Map the voxels: a preview first, then all."""

    def __init__(self, on_preview: Callable[[], Any], on_all: Callable[[], Any]) -> None:
        super().__init__("3  Map voxels")
        self.preview = button(
            "Preview", "Map every 4th voxel along each axis: 64 times quicker than all", on_preview
        )
        self.all = button("Map all voxels", "Map every voxel to its point of the disk", on_all)
        self.row(self.preview, self.all)


class GranularityStep(Step):
    """One slider through the granularities, the classes, and their way out."""

    def __init__(
        self,
        state: State,
        on_cluster: Callable[[], Any],
        on_export: Callable[[], Any],
        on_disk: Callable[[], Any],
    ) -> None:
        super().__init__("4  Granularity")
        self.slider = QLabeledSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(2, FINEST)
        self.slider.setValue(state.k)
        self.slider.setToolTip("How many classes: drag from coarse to fine")
        self.slider.setAccessibleName("Number of classes")
        row = self.row(QLabel("Classes"), self.slider)
        row.setStretch(1, 1)
        self.table = ClassTable(state)
        self.column.addWidget(self.table, 1)
        self.export = button(
            "Save labels…", "Write the labels at this number of classes as MRC, TIFF or OME-Zarr",
            on_export,
        )  # fmt: skip
        self.disk = button("Poincaré disk", "Show the voxels' points, linked to the layer", on_disk)
        self.row(self.export, self.disk)
        self.tree = _combo("")
        for name, (text, tip) in _TREES.items():
            self.tree.addItem(text, name)
            self.tree.setItemData(self.tree.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.smoothing = QDoubleSpinBox()
        self.smoothing.setRange(0.0, 10.0)
        self.smoothing.setSingleStep(0.25)
        self.smoothing.setValue(1.0)
        self.cluster = button("Cluster again", "Cluster with these settings", on_cluster)
        self.column.addWidget(options({
            "Merge by": (self.tree, "Things: only regions that touch merge. "
                         "Kinds: clusters merge wherever they lie"),
            "Smoothing": (self.smoothing, "Weight of the smoothing before clustering, which keeps "
                          "edges; 0 for none"),
            "": (self.cluster, "Cluster the mapped voxels with these settings"),
        }))  # fmt: skip

    def settings(self) -> dict[str, Any]:
        """Arguments of a clustering."""
        return {"tree": self.tree.currentData(), "smoothing": self.smoothing.value()}
