"""Step 2 of the dock, the model: train one, go on with one, or load it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, Container, Select, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.session.plan import with_suffix
from napari_hypseg.widgets.desk import Desk, is_volume
from napari_hypseg.widgets.glimpses import Glimpses
from napari_hypseg.widgets.layers import shown_volume
from napari_hypseg.widgets.loading import LOADING
from napari_hypseg.widgets.parts import LossLine, Step, allow, ask, button, combo, folded, narrow

if TYPE_CHECKING:
    from napari_hypseg.model import Model
    from napari_hypseg.session import Session, Trained

__all__ = ["ModelStep", "load_job"]

_TRAINING = "training"
_ENDING = ".hypseg"

_PRESETS = {
    "default": "The general model, made from simulated volumes: with 0 steps as it comes, at "
    "once; with more trained further on this volume",
    "cihs": "The published system (Hsu et al., NeurIPS 2021): many times slower",
}


class ModelStep(Step):
    """Train a model on the volume, or load one: each is a version, and none is overwritten.

    Attributes
    ----------
    form : magicgui Container
        ``preset``, ``steps``, ``seed``, ``device``, ``also``.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__("2  Model")
        self._desk = desk
        self.train = button(
            "Train", "Train a model on this volume, in the background; the one in use stays until "
            "the new one is finished", self._train,
        )  # fmt: skip
        self.more = button(
            "Continue", "Train the model in use further, as many steps as the options say: it "
            "makes the next version", self._continue,
        )  # fmt: skip
        self.load_file = button(
            "Load…", "Take a model trained before, on this or other tomograms", self._load
        )
        self.save_file = button("Save…", "Write the model in use to a file", self._save)
        self.row(self.train, self.more, self.load_file, self.save_file)
        self.resume = button("Resume", "Go on with the training that was stopped", self._resume)
        self.use_stopped = button(
            "Use as it is", "Make a model of the training that was stopped, as far as it came",
            self._use_stopped,
        )  # fmt: skip
        self.row(self.resume, self.use_stopped)
        self.versions = combo("The model to map with: each training has made one")
        self.versions.activated.connect(lambda _index: self._use(self.versions.currentData()))
        self.row(self.versions)
        self.loss, self.glimpses = LossLine(), Glimpses()
        self.row(self.loss, self.glimpses)
        self.form = Container(widgets=[
            ComboBox(name="preset", label="Preset", choices=["default"], tooltip="What to train: "
                     "the default, or the published system and its ablations"),
            SpinBox(name="steps", label="Steps", min=0, max=1_000_000, step=100, tooltip="Training "
                    "steps: more take longer and may show finer things; none take the general "
                    "model as it comes"),
            SpinBox(name="seed", label="Seed", max=2**31 - 1, tooltip="The same seed gives the "
                    "same result on the same machine"),
            ComboBox(name="device", label="Device", choices=[("best there is", "auto")],
                     tooltip="Where to compute, training and mapping alike"),
            Select(name="also", label="Learn also from", choices=[], allow_multiple=True,
                   tooltip="Further tomograms of the same kind and voxel size: one model for all"),
        ])  # fmt: skip
        self.form["also"].native.setMaximumHeight(60)
        self.form["preset"].changed.connect(self._on_preset)
        self.form["device"].changed.connect(lambda device: setattr(desk, "device", device))
        for name in ("preset", "device"):
            narrow(self.form[name].native)
        self.column.addWidget(folded(self.form))
        self.follow(
            (desk.session_changed, self._on_session), (desk.model_changed, self._on_model),
            (desk.proposals_changed, self.refresh), (desk.layers_changed, self._list_others),
            (desk.runner.progressed, self._on_progress), (desk.loader.changed, self._on_choices),
        )  # fmt: skip
        desk.loader.begin()
        self._list_others()
        self._on_choices()
        self._on_session()

    # -- the form

    def _on_choices(self) -> None:
        choices = self._desk.loader.choices
        if choices is not None:
            preset, device = self.form["preset"], self._desk.device
            preset.choices = list(choices.steps)
            self._on_preset(preset.value)
            for index, name in enumerate(choices.steps):
                tip = _PRESETS.get(name, "An ablation of the published system")
                preset.native.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
            self.form["device"].choices = [(text, name) for name, text in choices.devices.items()]
            self.form["device"].value = choices.device if device == "auto" else device
            self._show_settings()
        self.refresh()

    @property
    def is_ready(self) -> bool:
        """Whether PyTorch is loaded and the form complete."""
        return self._desk.loader.choices is not None

    def settings(self) -> dict[str, Any]:
        """Arguments of a training."""
        given: dict[str, Any] = self.form.asdict()
        return given | {"also": [shown_volume(layer) for layer in given["also"]]}

    def _on_preset(self, name: str) -> None:
        """Suggest as many steps as the preset was tried with."""
        choices = self._desk.loader.choices
        if choices is not None and name in choices.steps:
            self.form["steps"].value = choices.steps[name]

    def _list_others(self) -> None:
        """Offer the volumes that are open beside the one of step 1."""
        also, chosen = self.form["also"], self.form["also"].value
        others = [e for e in self._desk.viewer.layers if is_volume(e) and e != self._desk.layer]
        also.choices = [(layer.name, layer) for layer in others]
        also.value = [layer for layer in chosen if layer in others]
        also.native.setEnabled(bool(others))

    def _show_settings(self) -> None:
        """Put into the form what the session's last training was begun with."""
        session = self._desk.session
        if session is None or not self.is_ready:
            return
        stopped, model = session.stopped, session.model
        if stopped is not None:
            found = {"preset": stopped.preset, "steps": stopped.steps, "seed": stopped.seed}
        elif model is not None:
            training = model.model.training
            steps = training.get("settings", {}).get("steps")
            found = {"preset": model.model.preset, "steps": steps, "seed": training.get("seed")}
        else:
            return
        presets = self.form["preset"].choices
        for name, value in found.items():
            if value is not None and (name != "preset" or value in presets):
                self.form[name].value = value

    # -- what is on show

    def _on_session(self) -> None:
        self._list_others()
        self._show_settings()
        self._on_model()

    def _on_model(self) -> None:
        """Show the loss of the model in use; the one in training adds to its own."""
        self.glimpses.clear()
        self.loss.clear()
        session = self._desk.session
        if session is not None and session.model is not None:
            for row in session.model.model.training.get("loss", []):
                self.loss.add(row["step"], row["total"])
        self.refresh()

    def _on_progress(self, progress: Progress, _left: str) -> None:
        if "total" in progress.values:
            self.loss.add(progress.values.get("step", progress.done), progress.values["total"])
        seen: Any = progress.partial
        # Of all jobs only a training hands out something of this kind.
        if hasattr(seen, "reconstructions"):
            self.glimpses.show_them(seen.patches, seen.reconstructions)

    # -- training

    def _begin(self, job: Job[Trained]) -> None:
        session = self._desk.session
        assert session is not None  # noqa: S101
        before = session.versions.numbers

        def take(trained: Trained) -> None:
            session.take(trained)
            if trained.number in before:
                self._desk.said.emit(
                    f"Model {trained.number} was trained so already: other steps or another seed "
                    "make another one"
                )
            else:
                self._desk.said.emit("")

        self.glimpses.clear()
        self.loss.clear()
        self._desk.start(_TRAINING, job, take)

    def _train(self) -> None:
        session = self._desk.session
        if session is not None and self._gives_up_stopped(session, None):
            self._begin(session.train_job(**self.settings()))

    def _continue(self) -> None:
        session = self._desk.session
        if session is None or session.model is None:
            return
        number = session.model.number
        if self._gives_up_stopped(session, number):
            settings = self.settings() | {"preset": session.model.model.preset}
            self._begin(session.train_job(**settings, start=number))

    def _gives_up_stopped(self, session: Session, start: int | None) -> bool:
        """Whether there is no stopped training that another one would replace, or it may."""
        stopped, asked = session.stopped, self.form.asdict()
        if stopped is None:
            return True
        known = (stopped.preset, stopped.steps, stopped.seed, stopped.start)
        if known == (asked["preset"], asked["steps"], asked["seed"], start):
            return True
        return ask(
            self, "This gives up the training that was stopped: begin another one?", "Begin"
        )  # fmt: skip

    def _resume(self) -> None:
        session = self._desk.session
        if session is not None:
            self._begin(session.resume_job())

    def _use_stopped(self) -> None:
        session = self._desk.session
        if session is not None:
            with self._desk.telling():
                session.use_stopped()

    def _use(self, number: int) -> None:
        session = self._desk.session
        if session is None or (session.model is not None and session.model.number == number):
            return
        with self._desk.telling():
            session.use(number)
        self.refresh()

    # -- files

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Load a model", "", f"Models (*{_ENDING});;All files (*)"
        )
        if path:
            self.load(Path(path))

    def load(self, path: Path) -> None:
        """Take a model from a file."""
        session = self._desk.session
        if session is not None:
            self._desk.start("loading the model", load_job(session, path), session.take)

    def _save(self) -> None:
        desk = self._desk
        if desk.session is None:
            return
        path, _ = QFileDialog.getSaveFileName(
            self, "Save the model", str(desk.session.folder.parent / f"model{_ENDING}"),
            f"Models (*{_ENDING})",
        )  # fmt: skip
        if path:
            with desk.telling():
                named = with_suffix(path, _ENDING, (_ENDING,))
                # The system's dialog has asked about the name as it was typed.
                other = named != Path(path) and named.exists()
                if not other or ask(self, f"{named} is there already: replace it?", "Replace"):
                    self.save(named)

    def save(self, path: Path) -> None:
        """Write the model in use to a file."""
        session = self._desk.session
        if session is not None and session.model is not None:
            job = _save_job(session.model.model, path)
            self._desk.start("saving the model", job, lambda p: self._desk.said.emit(f"wrote {p}"))

    # -- how it stands

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        desk, session, running = self._desk, self._desk.session, self._desk.runner.title
        model = None if session is None else session.model
        stopped = None if session is None or running == _TRAINING else session.stopped
        numbers = [] if session is None else session.versions.numbers
        self._list_versions(numbers, model)
        for pushed in (self.resume, self.use_stopped):
            pushed.setVisible(stopped is not None)
        if session is None:
            self.say("waiting", desk.lacks_session)
        elif desk.loader.problem:
            self.say("next", desk.loader.problem)
        elif not self.is_ready:
            self.say("next", LOADING)
        elif running == _TRAINING:
            stays = "" if model is None else f"; model {model.number} stays in use until it is done"
            self.say("next", f"Training: see below{stays}")
        elif model is None:
            before = "A training was stopped: resume it, or use it as it is"
            begin = "The general model is used, unless you train or load one: go on to step 3"
            self.say("done" if stopped is None else "next", begin if stopped is None else before)
        else:
            self.say("done", self._describe(session, model, stopped))
        no_model = "" if model is not None else "Needs a model: train or load one"
        not_ready = desk.lacks_session or ("" if self.is_ready else desk.loader.problem or LOADING)
        for pushed, reason in (
            (self.train, not_ready), (self.more, not_ready or no_model), (self.resume, not_ready),
            (self.use_stopped, not_ready), (self.load_file, not_ready), (self.save_file, no_model),
            (self.versions, ""),
        ):  # fmt: skip
            allow(pushed, desk.lacks_session or desk.runner.wait or reason)

    def _list_versions(self, numbers: list[int], model: Trained | None) -> None:
        self.versions.clear()
        for number in numbers:
            self.versions.addItem(f"Model {number}", number)
        found = -1 if model is None else self.versions.findData(model.number)
        self.versions.setCurrentIndex(found)
        self.versions.setVisible(len(numbers) > 1 or (bool(numbers) and model is None))

    def _describe(self, session: Session, model: Trained, stopped: Any) -> str:
        parts = [f"Model {model.number}: {_describe(model.model)}"]
        shown = session.proposals
        if shown is not None and shown.model != model.number:
            parts.append(f"on show is model {shown.model}: map again to see this one")
        if stopped is not None:
            parts.append("a later training was stopped: resume it, or use it as it is")
        return "; ".join(parts)


def load_job(session: Session, path: Path) -> Job[Trained]:
    """Take a model from a file for the next map."""
    from napari_hypseg.model import load_model

    yield Progress("loading the model", 0, 0)
    return (yield from session.use_job(load_model(path)))


def _save_job(model: Model, path: Path) -> Job[Path]:
    yield Progress("saving the model", 0, 0)
    model.save(path)
    return path


def _describe(model: Model) -> str:
    loss = model.training.get("loss") or []
    end = f", {loss[-1]['step']:,} steps, loss {loss[-1]['total']:.3g}" if loss else ""
    early = ", stopped before its end" if "stopped" in model.training else ""
    return f"{model.preset}{end}{early}"
