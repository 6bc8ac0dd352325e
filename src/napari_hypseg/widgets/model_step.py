"""Step 2 of the dock, the model: train one, or load it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magicgui.widgets import ComboBox, Container, Select, SpinBox
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFileDialog
from superqt.utils import create_worker

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.widgets.glimpses import Glimpses
from napari_hypseg.widgets.loading import Choices, find_choices
from napari_hypseg.widgets.parts import LossLine, Step, allow, button, folded, narrow
from napari_hypseg.widgets.runner import JobRunner
from napari_hypseg.widgets.state import State, load_job, save_job, train_job
from napari_hypseg.widgets.volume_step import VolumeStep

__all__ = ["ModelStep"]

# Milliseconds until PyTorch is loaded: the dock is drawn before.
_SOON = 100
_LOADING = "Loading PyTorch: it takes a few seconds"

_PRESETS = {
    "default": "Ours: quick, and the one to begin with",
    "cihs": "The published system (Hsu et al., NeurIPS 2021): many times slower",
}


class ModelStep(Step):
    """Train a model on the volume of step 1, or load one.

    Attributes
    ----------
    form : magicgui Container
        ``preset``, ``steps``, ``seed``, ``device``, ``also``.
    """

    def __init__(self, state: State, runner: JobRunner, volume: VolumeStep) -> None:
        super().__init__("2  Model")
        self._state, self._runner, self._volume = state, runner, volume
        # The voxels that the session was opened for.
        self._voxels: Any = None
        # The session of the job under way, once it is open.
        self._opened: Any = None
        self._choices: Choices | None = None
        self._has_left = False
        self.train = button("Train", "Train on this volume, in the background", self._train)
        self.load_file = button(
            "Load…", "Take a model trained before, on this or other tomograms", self._load
        )
        self.save_file = button("Save…", "Write the model to a file of your choice", self._save)
        self.row(self.train, self.load_file, self.save_file)
        self.loss, self.glimpses = LossLine(), Glimpses()
        self.row(self.loss, self.glimpses)
        self.form = Container(widgets=[
            ComboBox(name="preset", label="Preset", choices=["default"], tooltip="What to train: "
                     "the default, or the published system and its ablations"),
            SpinBox(name="steps", label="Steps", min=1, max=1_000_000, step=100, tooltip="Training "
                    "steps: more take longer and may show finer things"),
            SpinBox(name="seed", label="Seed", max=2**31 - 1, tooltip="The same seed gives the "
                    "same result on the same machine"),
            ComboBox(name="device", label="Device", choices=[("best there is", "auto")],
                     tooltip="Where to compute, training and mapping alike"),
            Select(name="also", label="Learn also from", choices=[], allow_multiple=True,
                   tooltip="Further tomograms of the same kind and voxel size: one model for all"),
        ])  # fmt: skip
        self.form["also"].native.setMaximumHeight(60)
        self.form["preset"].changed.connect(self._on_preset)
        self.form.changed.connect(self.refresh)
        for name in ("preset", "device"):
            narrow(self.form[name].native)
        self.column.addWidget(folded(self.form))
        runner.progressed.connect(self._on_progress)
        runner.stopped.connect(self._on_stopped)
        volume.edited.connect(self._list_others)
        state.result_changed.connect(self._on_result)
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.timeout.connect(self._look_up)
        timer.start(_SOON)

    def _look_up(self) -> None:
        """Find out in a thread what can be chosen."""
        worker = create_worker(find_choices, _start_thread=False, _ignore_errors=True)
        worker.returned.connect(self._on_choices)
        worker.errored.connect(self._on_error)
        worker.start()

    def leave(self) -> None:
        """Wait for nothing any more: the widgets may be gone already."""
        self._has_left = True
        # `find_choices` has frozen what was there.
        gc.unfreeze()

    def _on_error(self, error: Exception) -> None:
        if not self._has_left:
            self.said.emit(f"✗  PyTorch can't be loaded: {error}")

    def _on_choices(self, choices: Choices) -> None:
        if self._has_left:
            # Frozen after `leave`.
            gc.unfreeze()
            return
        self._choices = choices
        preset = self.form["preset"]
        preset.choices = list(choices.steps)
        self._on_preset(preset.value)
        for index, name in enumerate(choices.steps):
            tip = _PRESETS.get(name, "An ablation of the published system")
            preset.native.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.form["device"].choices = [(text, name) for name, text in choices.devices.items()]
        self.form["device"].value = choices.device
        self._show_settings()
        self.refresh()

    @property
    def is_ready(self) -> bool:
        """Whether PyTorch is loaded and the form complete."""
        return self._choices is not None

    def settings(self) -> dict[str, Any]:
        """Arguments of a training."""
        given: dict[str, Any] = self.form.asdict()
        return given | {"also": [self._volume.of(layer) for layer in given["also"]]}

    def _on_preset(self, name: str) -> None:
        """Suggest as many steps as the preset was tried with."""
        if self._choices is not None and name in self._choices.steps:
            self.form["steps"].value = self._choices.steps[name]

    def _list_others(self) -> None:
        """Offer the volumes that are open beside the one of step 1."""
        chosen = self.form["also"].value
        others = self._volume.others()
        self.form["also"].choices = [(layer.name, layer) for layer in others]
        self.form["also"].value = [layer for layer in chosen if layer in others]
        self.form["also"].native.setEnabled(bool(others))

    def forget(self) -> None:
        """Drop what belongs to another volume."""
        self._voxels = self._opened = None
        self.clear()

    def clear(self) -> None:
        """Show nothing of an earlier training."""
        self.loss.clear()
        self.glimpses.clear()

    def take(self, session: Any) -> None:
        """Go on with a session that was opened, and the settings of its training."""
        self._voxels, self._opened = self._volume.voxels(), session
        self._show_settings()
        for row in session.model.training.get("loss", []) if session.model else []:
            self.loss.add(row["step"], row["total"])

    def _show_settings(self) -> None:
        """Put into the form what the session was trained with, once it can be chosen."""
        if self.is_ready and self._opened is not None:
            for name in ("preset", "steps", "seed"):
                if name in self._opened.run.get("training", {}):
                    self.form[name].value = self._opened.run["training"][name]

    def _train(self) -> None:
        if not self._can_resume():
            self.clear()
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

    def _save(self) -> None:
        model = self._model()
        if model is None:
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the model", str(self._volume.folder().parent / "model.hypseg"),
            "Models (*.hypseg)",
        )  # fmt: skip
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        model = self._model()
        if model is not None:
            job = save_job(model, path.with_suffix(path.suffix or ".hypseg"))
            self._runner.start("saving the model", job, lambda p: self.said.emit(f"wrote {p}"))

    def _model(self) -> Any:
        return None if self._state.session is None else self._state.session.model

    def _can_resume(self) -> bool:
        """Whether the training that the form describes was stopped on its way."""
        session, model = self._state.session, self._model()
        if session is None or model is None or "stopped" not in model.training:
            return False
        done, asked = model.training, self.settings()
        volumes = [session.volume, *asked["also"]]
        # To compare all voxels would take too long here: the training itself does.
        return bool(
            model.preset == asked["preset"]
            and done["seed"] == asked["seed"]
            and done["settings"]["steps"] == asked["steps"]
            and done["volumes"][0]["fingerprint"] == session.run["volume"]["fingerprint"]
            and [(v["name"], tuple(v["shape"])) for v in done["volumes"]]
            == [(v.name, v.shape) for v in volumes]
        )

    def _start(self, title: str, job: Callable[..., Job[Any]], **more: Any) -> None:
        volume, folder = self._volume.volume(), self._volume.folder()
        if volume is None:
            return
        session, voxels = self._state.session, self._volume.voxels()
        if voxels is not self._voxels:
            session = None
        self._voxels, self._opened = voxels, session

        def open_session() -> Any:
            from napari_hypseg.session import Session

            self._opened = Session(volume, folder)
            return self._opened

        self._runner.start(title, job(session, open_session, **more), self._on_model)

    def _on_model(self, session: Any) -> None:
        self._state.session = session
        self.said.emit("")

    def _on_stopped(self, title: str) -> None:
        # A training that was stopped has left the model so far in its session.
        if title == "training" and self._opened is not None and self._opened.model is not None:
            self._on_model(self._opened)

    def _on_result(self) -> None:
        # Room for the classes.
        self.clear()

    def _on_progress(self, progress: Progress, _left: str) -> None:
        if "total" in progress.values:
            self.loss.add(progress.values.get("step", progress.done), progress.values["total"])
        seen: Any = progress.partial
        # Of all jobs only a training hands out something of this kind.
        if hasattr(seen, "reconstructions"):
            self.glimpses.show_them(seen.patches, seen.reconstructions)

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        running, model = self._runner.title, self._model()
        no_volume = "" if self._volume.volume() is not None else self._volume.reason
        resumes = self._can_resume()
        if no_volume:
            self.say("waiting", "Needs a volume: step 1")
        elif running in ("training", "loading the model"):
            self.say("next", f"{running.capitalize()}: see below")
        elif not self.is_ready:
            self.say("next", _LOADING)
        elif model is None:
            self.say("next", "Train on this volume, or load a model")
        elif "stopped" in model.training:
            more = "; Resume goes on" if resumes else ""
            self.say("done", f"{_describe(model)}, stopped before its end{more}")
        else:
            self.say("done", _describe(model))
        self.train.setText("Resume" if resumes else "Train")
        no_model = "" if model is not None else "Needs a model: train or load one"
        not_ready = "" if self.is_ready else _LOADING
        for pushed, reason in (
            (self.train, no_volume or not_ready), (self.load_file, no_volume),
            (self.save_file, no_model),
        ):  # fmt: skip
            allow(pushed, self._runner.wait or reason)


def _describe(model: Any) -> str:
    loss = model.training.get("loss") or []
    end = f", {loss[-1]['step']:,} steps, loss {loss[-1]['total']:.3g}" if loss else ""
    return f"{model.preset}{end}"
