"""Step 2 of the dock, the model: train one, or load it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, Container, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.widgets.parts import LossLine, Step, allow, button, folded, narrow
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.state import State, load_job, train_job
from napari_hypseg.widgets.volume_step import VolumeStep

__all__ = ["ModelStep"]

_PRESETS = {
    "default": "Ours: quick, and the one to begin with",
    "cihs": "The published system (Hsu et al., NeurIPS 2021): many times slower",
}


class ModelStep(Step):
    """Train a model on the volume of step 1, or load one.

    Attributes
    ----------
    form : magicgui Container
        ``preset``, ``steps``, ``seed``, ``device``.
    """

    def __init__(self, state: State, runner: JobRunner, volume: VolumeStep) -> None:
        super().__init__("2  Model")
        self._state, self._runner, self._volume = state, runner, volume
        # The voxels that the session was opened for.
        self._voxels: Any = None
        self.train = button("Train", "Train on this volume, in the background", self._train)
        self.load_file = button(
            "Load…", "Take a model trained before, on this or other tomograms", self._load
        )
        self.row(self.train, self.load_file)
        self.loss = LossLine()
        self.column.addWidget(self.loss)
        self.form = Container(widgets=[
            ComboBox(name="preset", choices=["default"], tooltip="What to train: the default, or "
                     "the published system and its ablations"),
            SpinBox(name="steps", max=1_000_000, step=100, tooltip="Training steps: more take "
                    "longer and may show finer things"),
            SpinBox(name="seed", max=2**31 - 1, tooltip="The same seed gives the same result on "
                    "the same machine"),
            ComboBox(name="device", choices=[("best there is", "auto")], tooltip="Where to "
                     "compute, training and mapping alike"),
        ])  # fmt: skip
        self.form["steps"].native.setSpecialValueText("as the preset says")
        for name in ("preset", "device"):
            narrow(self.form[name].native)
        self.column.addWidget(folded(self.form))
        runner.progressed.connect(self._on_progress)
        self._runner.start("loading PyTorch", _prepare_job(), self._on_prepared)

    def _on_prepared(self, found: tuple[list[str], dict[str, str]]) -> None:
        presets, devices = found
        self.form["preset"].choices = presets
        for index, name in enumerate(presets):
            tip = _PRESETS.get(name, "An ablation of the published system")
            self.form["preset"].native.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.form["device"].choices = [(text, name) for name, text in devices.items()]
        self.said.emit("")

    def settings(self) -> dict[str, Any]:
        """Arguments of a training."""
        given: dict[str, Any] = self.form.asdict()
        return given | {"steps": given["steps"] or None}

    def _train(self) -> None:
        self.loss.clear()
        self._start("training", train_job, **self.settings())

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Load a model", "", "Models (*.hypseg);;All files (*)"
        )
        if path:
            self.load(Path(path))

    def load(self, path: Path) -> None:
        """Take a model from a file."""
        self._start("loading the model", load_job, path=path)

    def _start(self, title: str, job: Callable[..., Job[Any]], **more: Any) -> None:
        volume, folder = self._volume.volume(), self._volume.folder()
        if volume is None:
            return
        session, voxels = self._state.session, self._volume.voxels()
        if voxels is not self._voxels:
            session = None
        self._voxels = voxels

        def open_session() -> Any:
            from napari_hypseg.session import Session

            return Session(volume, folder)

        self._runner.start(title, job(session, open_session, **more), self._on_model)

    def _on_model(self, session: Any) -> None:
        self._state.session = session
        self.said.emit("")

    def _on_progress(self, progress: Progress, _left: str) -> None:
        if "total" in progress.values:
            self.loss.add(progress.values.get("step", progress.done), progress.values["total"])

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        running, session = self._runner.title, self._state.session
        no_volume = "" if self._volume.volume() is not None else self._volume.reason
        model = None if session is None else session.model
        if no_volume:
            self.say("waiting", "Needs a volume: step 1")
        elif running in ("training", "loading the model"):
            self.say("next", f"{running.capitalize()}: see below")
        elif model is None:
            self.say("next", "Train on this volume, or load a model")
        else:
            self.say("done", _describe(model))
        for pushed in (self.train, self.load_file):
            allow(pushed, self._runner.wait or no_volume)


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


def _describe(model: Any) -> str:
    loss = model.training.get("loss") or []
    end = f", {loss[-1]['step']} steps, loss {loss[-1]['total']:.3g}" if loss else ""
    return f"{model.preset}{end}"
