"""The models of a session: trained, gone on with, loaded; none is ever overwritten."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents import Latents
from napari_hypseg.model import Model, ModelError
from napari_hypseg.session.folder import SessionFolder
from napari_hypseg.session.places import described, reread_volume
from napari_hypseg.session.proposals import Proposals
from napari_hypseg.session.record import TrainingRecord
from napari_hypseg.session.versions import Versions
from napari_hypseg.training import is_trained_so, model_so_far, train_job
from napari_hypseg.volumes import Volume

__all__ = ["SessionModels", "Trained"]


@dataclass(frozen=True)
class Trained:
    """A model and its number in the session's folder."""

    number: int
    model: Model


Made = TypeVar("Made", Trained, Latents, Proposals)


class SessionModels(SessionFolder, ABC):
    """What a `Session` does with models.

    Attributes
    ----------
    model : Trained or None
        The model for the next map.
    versions : Versions
        All finished models.
    """

    def __init__(self, volume: Volume, folder: Path) -> None:
        super().__init__(volume, folder)
        self.model: Trained | None = None
        self.versions = Versions(folder / "models")

    @abstractmethod
    def take(self, result: Trained | Latents | Proposals) -> None:
        """Put the result of a job to use."""

    def _finish(self, job: Job[Made]) -> Made:
        """Run a job to its end and put its result to use."""
        made = finish(job)
        self.take(made)
        return made

    def train(self, **settings: Any) -> Model:
        """Train a model and take it for the next map; `train_job` has the arguments."""
        return self._finish(self.train_job(**settings)).model

    def train_job(
        self, *, preset: str = "default", steps: int | None = None, seed: int = 0,
        device: str = "auto", also: Sequence[Volume] = (), start: int | None = None,
    ) -> Job[Trained]:  # fmt: skip
        """Train a model on the volume, or go on where a training of these settings stopped.

        A finished model is never overwritten: each training makes the next one, unless one of
        the same settings is there already.

        Parameters
        ----------
        preset, steps, seed, device
            As for `napari_hypseg.train`.
        also : sequence of Volume
            Further volumes to learn from.
        start : int, optional
            Number of a finished model to go on from; its preset counts.

        Returns
        -------
        Trained
        """
        how: dict[str, Any] = {"preset": preset, "steps": steps, "seed": seed}
        first = None if start is None else self.versions.load(start)
        volumes = [self.volume, *also]
        with self._alone(), self._timed("training"):
            yield from self._keep_volume_job()
            for number in reversed(self.versions.numbers):
                with suppress(ModelError):
                    model = self.versions.load(number)
                    if is_trained_so(model, volumes, start=first, **how):
                        return Trained(number, model)
            number = self._training_number(how, start)
            self.record.training = TrainingRecord(
                number, preset, steps, seed, device, start,
                [described(volume, self.folder) for volume in also],
            )  # fmt: skip
            self.save("training")
            self.versions.folder.mkdir(exist_ok=True)
            checkpoint = self.versions.checkpoint(number)
            model = yield from train_job(
                volumes, device=device, checkpoint=checkpoint, start=first, **how
            )
            model.save(self.versions.path(number))
            checkpoint.unlink(missing_ok=True)
            self.record.training = None
            self.save("training")
        return Trained(number, model)

    def _training_number(self, how: Mapping[str, Any], start: int | None) -> int:
        """Number of the model that a training gives: of the one that stopped, if it is the same."""
        stopped = self.stopped
        if stopped is not None:
            same = (stopped.preset, stopped.steps, stopped.seed, stopped.start)
            if same == (how["preset"], how["steps"], how["seed"], start):
                return stopped.number
            self.versions.checkpoint(stopped.number).unlink(missing_ok=True)
        return self.versions.next

    @property
    def stopped(self) -> TrainingRecord | None:
        """The training that was stopped before its end, if there is one to go on with."""
        how = self.record.training
        if how is None or not self.versions.checkpoint(how.number).exists():
            return None
        return how

    def _to_go_on_with(self) -> TrainingRecord:
        how = self.stopped
        if how is None:
            raise ValueError("no training was stopped here")
        return how

    def resume(self) -> Model:
        """Go on with the training that was stopped, and take its model for the next map."""
        return self._finish(self.resume_job()).model

    def resume_job(self) -> Job[Trained]:
        """The generator twin of `resume`.

        Raises
        ------
        ValueError
            If no training was stopped.
        """
        how = self._to_go_on_with()
        also = [reread_volume(self.folder, known) for known in how.also]
        return (
            yield from self.train_job(
                preset=how.preset, steps=how.steps, seed=how.seed, device=how.device,
                also=also, start=how.start,
            )
        )  # fmt: skip

    def use_stopped(self) -> Model:
        """Make a model of the training that was stopped, as far as it came, and take it.

        Raises
        ------
        ValueError
            If no training was stopped.
        """
        how = self._to_go_on_with()
        with self._alone():
            checkpoint = self.versions.checkpoint(how.number)
            model = model_so_far(checkpoint)
            model.save(self.versions.path(how.number))
            checkpoint.unlink()
        self.record.training = None
        self.save("training")
        self.take(Trained(how.number, model))
        return model

    def _trained(self) -> Trained:
        if self.model is None:
            raise ValueError("train or load a model before mapping the voxels")
        return self.model

    def use(self, model: Model | int) -> None:
        """Take a model for the next map: one of the session's by its number, or one from elsewhere.

        What is on show keeps its own.
        """
        self._finish(self.use_job(model))

    def use_job(self, model: Model | int) -> Job[Trained]:
        """The generator twin of `use`."""
        yield Progress("loading the model", 0, 0)
        if isinstance(model, int):
            return Trained(model, self.versions.load(model))
        with self._alone():
            yield from self._keep_volume_job()
            return Trained(self.versions.keep(model), model)
