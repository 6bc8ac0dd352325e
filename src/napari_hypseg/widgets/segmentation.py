"""The dock "Hyperbolic segmentation": from a tomogram to named classes in four steps."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.layers import Image
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QFileDialog, QFrame, QScrollArea, QVBoxLayout, QWidget

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes import (
    READABLE_SUFFIXES,
    WRITABLE_SUFFIXES,
    Volume,
    VolumeError,
    parse_box,
)
from napari_hypseg.widgets.layers import volume_of
from napari_hypseg.widgets.leaves import LeafLayer
from napari_hypseg.widgets.parts import ProgressArea
from napari_hypseg.widgets.runner import JobRunner, time_left
from napari_hypseg.widgets.state import (
    Result,
    State,
    discover_job,
    export_job,
    load_job,
    train_job,
)
from napari_hypseg.widgets.steps import GranularityStep, MapStep, ModelStep, VolumeStep

__all__ = ["SegmentationDock"]

_PREVIEW = 4
# Milliseconds after which a slider counts as resting.
_REST = 300


class SegmentationDock(QWidget):
    """Four steps, one slider, one progress bar.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.state = State()
        self.runner = JobRunner(self)
        self._leaves: LeafLayer | None = None
        self._layer: Image | None = None
        self._no_volume = ""
        # The voxels that the session was opened for.
        self._data: Any = None

        self.volume = VolumeStep(self._open)
        self.model = ModelStep(self.train, self._load)
        self.map = MapStep(lambda: self.discover(_PREVIEW), lambda: self.discover(1))
        self.granularity = GranularityStep(
            self.state, lambda: self.discover(None), self._export, self.show_disk
        )
        self.progress = ProgressArea(self.runner.stop)
        self._lay_out()

        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST)
        self._rest.timeout.connect(self.state.settled.emit)
        self._connect()
        self._list_layers()
        self.runner.start("loading PyTorch", _prepare_job(), self._on_prepared)

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(2, 2, 2, 2)
        column.setSpacing(4)
        for step in (self.volume, self.model, self.map):
            column.addWidget(step)
        column.addWidget(self.granularity, 1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll, 1)
        outer.addWidget(self.progress)
        self.setMinimumWidth(340)

    def _connect(self) -> None:
        runner, state, step = self.runner, self.state, self.granularity
        runner.changed.connect(self._on_runner)
        runner.progressed.connect(self._on_progress)
        runner.failed.connect(self._on_failed)
        runner.stopped.connect(lambda title: self.progress.rest(f"{title}: stopped"))
        step.slider.valueChanged.connect(state.choose)
        step.table.chosen.connect(self._on_class_chosen)
        step.tree.activated.connect(lambda _index: self._on_tree_chosen())
        self.volume.layer.activated.connect(lambda _index: self._on_layer_chosen())
        self.volume.box.editingFinished.connect(self._on_part_chosen)
        self.volume.folder.editingFinished.connect(self._on_part_chosen)
        state.result_changed.connect(self._on_result)
        state.k_changed.connect(self._on_k)
        state.settled.connect(self._on_settled)
        state.names_changed.connect(self._on_names)
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._list_layers)
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
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed):
            event.disconnect(self._list_layers)

    # -- step 1: the volume

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
            self.progress.rest(str(error))
            return
        self._choose(layer)

    def _list_layers(self, _event: Any = None) -> None:
        """Offer the layers that can be segmented; keep the one chosen while it is there."""
        layers = [layer for layer in self.viewer.layers if _is_volume(layer)]
        combo = self.volume.layer
        combo.clear()
        for layer in layers:
            combo.addItem(layer.name, layer)
        chosen = self._layer if self._layer in layers else (layers[-1] if layers else None)
        combo.setCurrentIndex(layers.index(chosen) if chosen is not None else -1)
        self._choose(chosen)

    def _on_layer_chosen(self) -> None:
        self._choose(self.volume.layer.currentData())

    def _choose(self, layer: Image | None) -> None:
        """Take a layer; what was found in another one is no longer on show here."""
        if layer is not self._layer:
            self._layer = layer
            self._begin_anew()
            if layer is not None:
                self.volume.layer.setCurrentIndex(self.volume.layer.findData(layer))
                self.volume.folder.setText(str(_default_folder(layer)))
        self.refresh()

    def _begin_anew(self) -> None:
        """Drop what belongs to another volume; its layer stays in the viewer."""
        self.runner.supersede()
        self.state.session = None
        self._leaves = None
        self.state.show(None)
        self.model.loss.clear()

    def _on_part_chosen(self) -> None:
        """Another part of the volume, or another folder, is another session."""
        volume, session = self._volume(), self.state.session
        if (
            volume is not None
            and session is not None
            and _place(volume, self._folder()) != _place(session.volume, session.folder)
        ):
            self._begin_anew()
        self.refresh()

    def _folder(self) -> Path:
        return Path(self.volume.folder.text() or tempfile.gettempdir())

    def _volume(self) -> Volume | None:
        """The part of the layer to work on; None if there is none, or no such part."""
        layer, box = self._layer, self.volume.box.text().strip()
        self._no_volume = "Needs a volume: step 1"
        if layer is None:
            return None
        volume = volume_of(
            layer.data,
            {"name": layer.name, "scale": layer.scale, "translate": layer.translate,
             "units": layer.units, "multiscale": layer.multiscale},
        )  # fmt: skip
        try:
            return volume.crop(parse_box(box, volume.shape)) if box else volume
        except VolumeError as error:
            self._no_volume = str(error)
            return None

    # -- steps 2 to 4: the jobs

    def train(self) -> None:
        """Train a model on the volume."""
        self.model.loss.clear()
        self._start_with_session("training", train_job, **self.model.settings())

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Load a model", "", "Models (*.hypseg);;All files (*)"
        )
        if path:
            self.load(Path(path))

    def load(self, path: Path) -> None:
        """Take a model from a file."""
        self._start_with_session("loading the model", load_job, path=path)

    def _start_with_session(self, title: str, job: Callable[..., Job[Any]], **more: Any) -> None:
        volume, folder = self._volume(), self._folder()
        if volume is None:
            return
        assert self._layer is not None  # noqa: S101
        session, data = self.state.session, self._layer.data
        if session is not None and (
            data is not self._data
            or _place(session.volume, session.folder) != _place(volume, folder)
        ):
            session = None
        self._data = data

        def open_session() -> Any:
            from napari_hypseg.session import Session

            return Session(volume, folder)

        self.runner.start(title, job(session, open_session, **more), self._on_model)

    def discover(self, stride: int | None) -> None:
        """Map the voxels at a stride, or only cluster them (None), and show the result."""
        session = self.state.session
        if session is None:
            return
        settings = {**self.granularity.settings(), "device": self.model.device.currentData()}
        title = "clustering" if stride is None else "mapping voxels"
        job = discover_job(session, stride=stride, **settings)
        self.runner.start(title, job, self.state.show)

    def _export(self) -> None:
        if self.state.result is None:
            return
        name = f"{self.state.result.latents.name}_labels_k{self.state.k:02d}.mrc"
        endings = " ".join(f"*{suffix}" for suffix in WRITABLE_SUFFIXES)
        path, _ = QFileDialog.getSaveFileName(
            self, "Save labels", str(self._folder() / name), f"Labels ({endings})"
        )
        if path:
            self.export(Path(path))

    def export(self, path: Path) -> None:
        """Write the labels at the granularity chosen."""
        if self.state.result is not None:
            job = export_job(self.state.result, self.state.k, path)
            self.runner.start("writing labels", job, lambda p: self.progress.rest(f"wrote {p}"))

    def show_disk(self) -> None:
        """Show the Poincare disk, linked to this dock."""
        self.viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")

    # -- what comes back

    def _on_prepared(self, found: tuple[list[str], dict[str, str]]) -> None:
        self.model.fill(*found)
        self.progress.rest("")

    def _on_model(self, session: Any) -> None:
        self.state.session = session
        self.progress.rest("")

    def _on_runner(self) -> None:
        if self.runner.stopping:
            self.progress.stopping()
        elif self.runner.title:
            self.progress.begin(self.runner.title)
        self.refresh()

    def _on_progress(self, progress: Progress, left: str) -> None:
        if not self.runner.stopping:
            self.progress.advance(progress, left)
        if "total" in progress.values:
            self.model.loss.add(
                progress.values.get("step", progress.done), progress.values["total"]
            )

    def _on_failed(self, sentence: str, details: str) -> None:
        self.progress.rest(f"✗  {sentence}", details)

    def _on_result(self) -> None:
        result = self.state.result
        if result is not None:
            if self._leaves is not None:
                self._leaves.remove()
            self._leaves = LeafLayer(self.viewer, self.state)
            self.granularity.slider.setRange(2, max(2, result.most))
            self.granularity.slider.setValue(self.state.k)
            self.progress.rest("")
        self.granularity.table.refresh()
        self.refresh()

    def _on_k(self) -> None:
        if self._leaves is not None and self._leaves.is_there:
            self._leaves.recolour(self.state)
        self._rest.start()

    def _on_settled(self) -> None:
        if self._leaves is not None and self._leaves.is_there:
            self._leaves.settle(self.state)
        self.granularity.table.refresh()

    def _on_names(self) -> None:
        if self._leaves is not None and self._leaves.is_there:
            self._leaves.describe(self.state)

    def _on_class_chosen(self, label: int) -> None:
        if self._leaves is not None and self._leaves.is_there:
            self._leaves.layer.selected_label = label

    def _on_tree_chosen(self) -> None:
        if self.granularity.cluster.isEnabled():
            self.discover(None)

    # -- how the steps stand

    def refresh(self) -> None:
        """Say of each step how it stands, and let be pressed what can be."""
        volume, session, result = self._volume(), self.state.session, self.state.result
        model = None if session is None else session.model
        latents = None if session is None else session.latents
        running = self.runner.title
        wait = f"Wait until this is done, or stop it: {running}" if running else ""

        if volume is None and self._layer is not None:
            self.volume.say("next", self._no_volume)
        elif volume is None:
            sample = "File > Open Sample > Hyperbolic segmentation"
            self.volume.say("next", f"Open a tomogram, or try one of {sample}")
        else:
            self.volume.say("done", _describe(volume))

        if volume is None:
            self.model.say("waiting", "Needs a volume: step 1")
        elif running in ("training", "loading the model"):
            self.model.say("next", f"{running.capitalize()}: see below")
        elif model is None:
            self.model.say("next", "Train on this volume, or load a model")
        else:
            self.model.say("done", _describe_model(model))

        if model is None:
            self.map.say("waiting", "Needs a model: step 2")
        elif running == "mapping voxels":
            self.map.say("next", "Mapping and clustering: see below")
        elif latents is None:
            self.map.say("next", "Preview first: it shows in seconds if the model is any good")
        else:
            self.map.say("done", self._describe_map(result))

        if result is None:
            self.granularity.say("waiting", "Needs mapped voxels: step 3")
        elif latents is not result.latents:
            self.granularity.say("done", "These are classes of the model before: map voxels anew")
        else:
            self.granularity.say("done", "Drag to see more or fewer classes")

        no_volume = "" if volume is not None else self._no_volume
        no_model = "" if model is not None else "Needs a model: step 2"
        no_latents = "" if latents is not None else "Needs mapped voxels: step 3"
        no_result = "" if result is not None else "Needs mapped voxels: step 3"
        for pushed, reason in (
            (self.model.train, wait or no_volume),
            (self.model.load, wait or no_volume),
            (self.map.preview, wait or no_model),
            (self.map.all, wait or no_model),
            (self.granularity.cluster, wait or no_latents),
            (self.granularity.tree, wait),
            (self.granularity.export, wait or no_result),
            (self.granularity.slider, no_result),
            (self.granularity.table, no_result),
        ):
            _allow(pushed, reason)

    def _describe_map(self, result: Result | None) -> str:
        if result is None:
            return "Mapped, not clustered yet: press Cluster again below"
        # Points that were kept from an earlier run take no time, and say nothing about it.
        timed = result.seconds >= 0.1
        if result.stride == 1:
            return "All voxels are mapped" + (f", in {time_left(result.seconds)}" if timed else "")
        session = self.state.session
        assert session is not None  # noqa: S101
        voxels = math.prod(session.volume.shape)
        disk = f"{voxels * result.latents.dim * 4 / 1e6:,.0f} MB on disk"
        time = f"{time_left(result.seconds * result.stride**3)} and " if timed else ""
        return f"Preview of every {result.stride}th voxel. All {voxels:,} take up to {time}{disk}"


def _prepare_job() -> Job[tuple[list[str], dict[str, str]]]:
    """Load what takes seconds to load; names of presets, and devices with their descriptions."""
    yield Progress("loading PyTorch", 0, 0)
    import torch

    import napari_hypseg.session  # noqa: F401
    from napari_hypseg.model.config import PRESETS
    from napari_hypseg.training import select_device

    devices = {"auto": f"best there is ({select_device('auto').type})", "cpu": "processor (cpu)"}
    for index in range(torch.cuda.device_count()):
        free, _ = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        devices[f"cuda:{index}"] = f"{name}, {free / 1e9:.0f} GB free (cuda:{index})"
    if torch.backends.mps.is_available():
        devices["mps"] = "Apple GPU (mps)"
    return list(PRESETS), devices


def _is_volume(layer: Any) -> bool:
    return isinstance(layer, Image) and not layer.rgb and layer.ndim == 3


def _default_folder(layer: Image) -> Path:
    """Beside the layer's file where that can be written, else among temporary files."""
    path = layer.source.path
    if path and os.access(Path(path).parent, os.W_OK):
        return Path(path).with_name(f"{layer.name}_hypseg")
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in layer.name)
    return Path(tempfile.gettempdir()) / "hypseg" / safe


def _place(volume: Volume, folder: Path) -> tuple[Any, ...]:
    """What tells parts of one layer, and where their results go, from each other."""
    return volume.shape, volume.voxel_size, volume.origin, folder


def _describe(volume: Volume) -> str:
    sizes = " × ".join(str(n) for n in volume.shape)
    steps = {f"{v:.4g}" for v in volume.voxel_size}
    step = " × ".join(f"{v:.4g}" for v in volume.voxel_size) if len(steps) > 1 else steps.pop()
    if np.allclose(volume.voxel_size, 1.0):
        return f"{sizes} voxels; their size is unknown, 1 Å is taken"
    return f"{sizes} voxels of {step} Å"


def _describe_model(model: Any) -> str:
    loss = model.training.get("loss") or []
    end = f", {loss[-1]['step']} steps, loss {loss[-1]['total']:.3g}" if loss else ""
    return f"{model.preset}{end}"


def _allow(widget: QWidget, reason: str) -> None:
    """Let a widget be used, or say in its tooltip why it can't be."""
    own = widget.property("own_tip")
    if own is None:
        own = widget.toolTip()
        widget.setProperty("own_tip", own)
    widget.setEnabled(not reason)
    widget.setToolTip(reason or own)
