"""A `Session`: one tomogram with its models, map, proposals and classes, kept in one folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

import napari_hypseg
from napari_hypseg.classes import Classes, Source
from napari_hypseg.clustering import (
    TreeClustering,
    cluster_job,
    open_clustering,
    save_clustering_job,
)
from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents import Latents, coarse_to_fine_job, embed_job, find_latents
from napari_hypseg.model import Model, ModelError
from napari_hypseg.session.needs import Needs, needs_of
from napari_hypseg.session.places import described, keep_volume, reread_volume
from napari_hypseg.session.plan import PlanError, check, with_suffix
from napari_hypseg.session.proposals import Proposals
from napari_hypseg.session.record import (
    SESSION_FILE,
    LatentsRecord,
    ProposalsRecord,
    Record,
    Run,
    TrainingRecord,
    Tree,
    has_session,
    read_record,
    write_record,
)
from napari_hypseg.session.selection import Selection
from napari_hypseg.session.versions import Versions
from napari_hypseg.training import is_trained_so, model_so_far, train_job
from napari_hypseg.volumes import Box, Volume, VolumeError, write_labels
from napari_hypseg.volumes.atomic import BusyError, locked, remove, replacing
from napari_hypseg.volumes.limits import peak_memory

__all__ = ["FORMATS", "Session", "Trained"]

FORMATS = {"mrc": ".mrc", "tif": ".tif", "zarr": ".zarr"}
Format = Literal["mrc", "tif", "zarr"]
_SMOOTHED, _LEAVES = "smoothed.zarr", "leaves"
# What a session makes for itself, the record first: without it nothing of the rest is taken up.
_OURS = (SESSION_FILE, "models", "latents", "proposals", _SMOOTHED, "volume.zarr")


@dataclass(frozen=True)
class Trained:
    """A model and its number in the session's folder."""

    number: int
    model: Model


class Session:
    """A discovery in one tomogram: everything that is known of it, and where it is kept.

    It is the one state that scripts, the command line and the docks read and change. Long steps
    have a ``_job`` twin, a generator of `Progress` that may run in another thread and changes
    nothing here: `take` puts its result to use. Every step can be stopped and started again: what
    the folder holds already, of the same volume and settings, is taken from there.

    Parameters
    ----------
    volume : Volume
        The tomogram.
    folder : path
        Where everything is kept. What it holds already of this volume is taken up; it is made
        when there is something to keep.
    overwrite : bool
        Whether the work on another volume that is there may be replaced.

    Attributes
    ----------
    volume : Volume
    folder : Path
    model : Trained or None
        The model for the next map.
    latents : Latents or None
        The map in use.
    proposals : Proposals or None
        What the machine offers now. It may change at any time.
    classes : Classes
        What a person kept. Nothing but an edit of a person changes them.
    k : int
        Number of proposals.
    chosen : tuple of int
        Branches of the tree that are chosen.
    selection : Selection
        The point picked on the disk or in the volume.
    record : Record
        What ``session.json`` holds.
    model_changed, proposals_changed, k_changed, chosen_changed : psygnal.Signal
        Emitted once the change is complete; of classes and selection see there.

    Raises
    ------
    ValueError
        If the folder holds the work on another volume, or a damaged session.

    Examples
    --------
    >>> import napari_hypseg as hs
    >>> session = hs.Session(hs.read_volume("tomogram.mrc"), "result")  # doctest: +SKIP
    >>> session.discover()  # train, map, propose  # doctest: +SKIP
    >>> session.k = 8  # doctest: +SKIP
    >>> session.keep(session.proposals.nodes(8)[2], name="membrane")  # doctest: +SKIP
    """

    model_changed = Signal()
    proposals_changed = Signal()
    k_changed = Signal()
    chosen_changed = Signal()

    def __init__(
        self, volume: Volume, folder: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        self._begin(volume, Path(folder).expanduser())
        finish(self._take_up_job(overwrite))

    @classmethod
    def open(
        cls, folder: str | os.PathLike[str], volume: Volume | None = None, *, online: bool = False
    ) -> Session:
        """Open the session of a folder as it was left.

        Parameters
        ----------
        folder : path
            The folder of a session, or what ``hypseg run`` wrote.
        volume : Volume, optional
            The session's volume, where it is at hand or has moved; read from its file without.
        online : bool
            Whether a URL that the session names for its volume may be contacted.

        Raises
        ------
        ValueError
            If there is no session, it is damaged or of another version, or its volume has moved
            or is another one now.
        """
        return finish(cls.open_job(folder, volume, online=online))

    @classmethod
    def open_job(
        cls, folder: str | os.PathLike[str], volume: Volume | None = None, *, online: bool = False
    ) -> Job[Session]:
        """The generator twin of `open`; with a volume it may begin in an empty folder."""
        yield Progress("opening the session", 0, 0)
        folder = Path(folder).expanduser()
        if volume is None:
            volume = reread_volume(folder, read_record(folder).volume, online=online)
        session = cls.__new__(cls)
        session._begin(volume, folder)
        yield from session._take_up_job(overwrite=False)
        return session

    def _begin(self, volume: Volume, folder: Path) -> None:
        self.volume, self.folder = volume, folder
        self.model: Trained | None = None
        self.latents: Latents | None = None
        self.proposals: Proposals | None = None
        self.selection = Selection()
        self.chosen: tuple[int, ...] = ()
        self.versions = Versions(folder / "models")
        self.record = Record(described(volume, folder), run=Run(_versions(), _machine()))

    def _take_up_job(self, overwrite: bool) -> Job[None]:
        """Take up what the folder holds already."""
        if has_session(self.folder):
            record = self.record
            self.record = read_record(self.folder)
            made_with = self.record.volume.fingerprint
            found = yield from self._fingerprint_job()
            if made_with != found:
                self._refuse_other(overwrite)
                self.record, self._replaced = record, self.record
            else:
                self.record.volume = described(self.volume, self.folder, found)
                yield Progress("opening the session", 0, 0)
                self._find_model()
                yield from self._find_proposals_job()
        self.classes = Classes(self.folder / "classes", self.volume.shape)

    def _refuse_other(self, overwrite: bool) -> None:
        name = self.record.volume.name
        if not overwrite:
            raise PlanError(
                f"{self.folder}: holds the work on another volume, {name}, whose voxels are not "
                f"those of {self.volume.name}: choose another folder"
            )
        if (self.folder / "classes" / "state.json").exists():
            raise PlanError(
                f"{self.folder}: holds classes that were kept of another volume, {name}: choose "
                "another folder, or remove this one yourself"
            )

    def _fingerprint_job(self) -> Job[str]:
        """Hash of the volume's voxels, computed once."""
        known = self.record.volume
        if not self._fingerprint:
            self._fingerprint = yield from self.volume.fingerprint_job()
        known.fingerprint = self._fingerprint
        return self._fingerprint

    _fingerprint = ""
    # The record of the work on another volume, which is replaced once there is something to keep.
    _replaced: Record | None = None

    def _find_model(self) -> None:
        """Take up the model in use."""
        number = self.record.model
        if number is not None:
            with _told():
                self.model = Trained(number, self.versions.load(number))

    def _find_proposals_job(self) -> Job[None]:
        """Take up the map and its clusters, as far as they are there and whole."""
        how, clusters = self.record.latents, self.record.proposals
        if how is None or not (path := self._store(how.model, how.stride, how.box)).exists():
            return
        with _told():
            latents = find_latents(path)
            made: Any = dict(latents.array.attrs)
            if made["volume"] != self._fingerprint or self._model_of(latents) != how.model:
                return
            spans = [range(start, stop, made["stride"]) for start, stop in made["box"]]
            if tuple(map(len, spans)) != latents.shape:
                raise ValueError(f"{path}: is damaged, its points are not those of its part")
            self.latents = latents.placed(self.volume)
        if self.latents is None or clusters is None:
            return
        yield Progress("opening the session", 0, 0)
        with _told():
            found = open_clustering(
                self._clusters_path(clusters.tree), self.latents, self._belongs(clusters)
            )
            if isinstance(found, TreeClustering):
                proposals = Proposals(
                    self.latents, found, clusters.smoothing, clusters.seed, how.model
                )
                self.proposals = proposals
                self.selection.reset(lambda: proposals.cloud)

    # -- what is kept

    def save(self, *parts: str) -> None:
        """Keep how the session stands in its folder.

        Parameters
        ----------
        *parts : str
            Attributes of the `record` that have changed: of the others, what another program has
            written meanwhile stays. All of them without any.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder, SESSION_FILE, wait=_WAIT):
            record = self.record
            if parts and has_session(self.folder):
                record = read_record(self.folder)
                for part in parts:
                    setattr(record, part, getattr(self.record, part))
            write_record(self.folder, record)

    def _keep_volume_job(self) -> Job[None]:
        """Make sure that the session can be opened again."""
        fingerprint = yield from self._fingerprint_job()
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._replaced is not None:
            for name in (*_OURS, *self._replaced.outputs):
                remove(self.folder / name)
            self._replaced = None
        if not has_session(self.folder):
            yield Progress("keeping the volume", 0, 0)
            self.volume = keep_volume(self.volume, self.folder, fingerprint)
            self.record.volume = described(self.volume, self.folder, fingerprint)
            self.save()
        elif read_record(self.folder).volume.fingerprint != fingerprint:
            self._refuse_other(overwrite=False)

    def _store(self, model: int, stride: int, box: Any) -> Path:
        """Where the latent points of a model are, at a stride, of all voxels or a part."""
        part = "" if box is None else "_" + "_".join(f"{start}-{stop}" for start, stop in box)
        return self.folder / "latents" / f"{model:04d}_stride{stride}{part}.zarr"

    def _clusters_path(self, tree: str) -> Path:
        return self.folder / "proposals" / f"{tree}.zarr"

    def _belongs(self, how: ProposalsRecord, latents: Latents | None = None) -> dict[str, Any]:
        """What clusters are made of, and how."""
        latents = self.latents if latents is None else latents
        assert latents is not None  # noqa: S101
        return {"latents": latents.identity, **asdict(how)}

    def use_volume(self, volume: Volume) -> None:
        """Take the same voxels with another name, voxel size or origin: nothing is mapped anew.

        Raises
        ------
        ValueError
            If it has another shape.
        """
        if volume.shape != self.volume.shape:
            raise ValueError(f"{volume.name}: has {volume.shape} voxels, not {self.volume.shape}")
        self.volume = replace(volume, source=volume.source or self.volume.source)
        self.record.volume = described(self.volume, self.folder, self._fingerprint)
        if self.latents is not None:
            self.latents = self.latents.placed(self.volume)
        if self.proposals is not None:
            self.proposals = replace(
                self.proposals, latents=self.proposals.latents.placed(self.volume)
            )
        if has_session(self.folder):
            self.save("volume")
        self.proposals_changed.emit()

    # -- models

    def train(self, **settings: Any) -> Model:
        """Train a model and take it for the next map; `train_job` has the arguments."""
        trained = finish(self.train_job(**settings))
        self.take(trained)
        return trained.model

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
        with locked(self.folder), self._timed("training"):
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

    def resume(self) -> Model:
        """Go on with the training that was stopped, and take its model for the next map."""
        trained = finish(self.resume_job())
        self.take(trained)
        return trained.model

    def resume_job(self) -> Job[Trained]:
        """The generator twin of `resume`.

        Raises
        ------
        ValueError
            If no training was stopped.
        """
        how = self.stopped
        if how is None:
            raise ValueError("no training was stopped here")
        also = [reread_volume(self.folder, known) for known in how.also]
        return (
            yield from self.train_job(
                preset=how.preset,
                steps=how.steps,
                seed=how.seed,
                device=how.device,
                also=also,
                start=how.start,
            )
        )

    def use_stopped(self) -> Model:
        """Make a model of the training that was stopped, as far as it came, and take it.

        Raises
        ------
        ValueError
            If no training was stopped.
        """
        how = self.stopped
        if how is None:
            raise ValueError("no training was stopped here")
        with locked(self.folder):
            checkpoint = self.versions.checkpoint(how.number)
            model = model_so_far(checkpoint)
            model.save(self.versions.path(how.number))
            checkpoint.unlink()
        self.record.training = None
        self.save("training")
        self.take(Trained(how.number, model))
        return model

    def use(self, model: Model | int) -> None:
        """Take a model for the next map: one of the session's by its number, or one from elsewhere.

        What is on show keeps its own.
        """
        if isinstance(model, int):
            self.take(Trained(model, self.versions.load(model)))
            return
        finish(self._keep_volume_job())
        with locked(self.folder):
            number = self.versions.keep(model)
        self.take(Trained(number, model))

    # -- map and proposals

    def map(self, **settings: Any) -> Latents:
        """Map the voxels to latent points; `map_job` has the arguments."""
        latents = finish(self.map_job(**settings))
        self.take(latents)
        return latents

    def map_job(
        self, *, stride: int = 1, box: Box | None = None, device: str = "auto",
        coarse_to_fine: bool = False,
    ) -> Job[Latents]:  # fmt: skip
        """Map the voxels to latent points with the model in use.

        Every model, stride and box has a store of its own: what is on show stays as it is, and a
        preview survives the full mapping that is stopped.

        Parameters
        ----------
        stride, box, device
            As for `napari_hypseg.embed`.
        coarse_to_fine : bool
            In passes, each computing what the last has left: the latents of coarser strides come
            as the ``partial`` of a `Progress`, for little more time in all.
        """
        if self.model is None:
            raise ValueError("train or load a model before mapping the voxels")
        number, model = self.model.number, self.model.model
        spans = _spans(box)
        with locked(self.folder), self._timed("mapping"):
            yield from self._keep_volume_job()
            self._clear_damaged(number)
            job = (
                coarse_to_fine_job(
                    model, self.volume, box=box, stride=stride, device=device,
                    store=lambda each: self._store(number, each, spans),
                )
                if coarse_to_fine
                else embed_job(
                    model, self.volume, box=box, stride=stride, device=device,
                    store=self._store(number, stride, spans),
                )
            )  # fmt: skip
            return (yield from job)

    def _clear_damaged(self, number: int) -> None:
        """Remove maps of a model that can't be opened: they are made anew."""
        for store in (self.folder / "latents").glob(f"{number:04d}_stride*.zarr"):
            try:
                find_latents(store)
            except VolumeError:
                remove(store)

    def needs(self, *, box: Box | None = None, stride: int = 1) -> Needs:
        """What mapping and clustering will need, and what there is; arguments as for `map_job`."""
        dim = 2 if self.model is None else self.model.model.config.latent_dim
        return needs_of(self.volume.shape, dim, self.folder, box=box, stride=stride)

    def propose(self, **settings: Any) -> Proposals:
        """Cluster the map into proposals; `propose_job` has the arguments."""
        proposals = finish(self.propose_job(**settings))
        self.take(proposals)
        return proposals

    def propose_job(
        self, *, tree: Tree = "things", smoothing: float = 1.0, seed: int = 0,
        latents: Latents | None = None,
    ) -> Job[Proposals]:  # fmt: skip
        """Cluster latent points at every granularity at once.

        Parameters
        ----------
        tree, smoothing, seed
            As for `napari_hypseg.cluster`. Clusters that the folder holds already are taken from
            there.
        latents : Latents, optional
            A map of this volume; the one in use without it.
        """
        latents = self.latents if latents is None else latents
        if latents is None:
            raise ValueError("map the voxels before clustering them")
        how = ProposalsRecord(tree, smoothing, seed)
        path, belongs, found = self._clusters_path(tree), self._belongs(how, latents), None
        with locked(self.folder), self._timed("clustering"):
            yield Progress("looking for clusters", 0, 0)
            # Damaged ones are made anew.
            with suppress(VolumeError):
                found = open_clustering(path, latents, belongs)
            if not isinstance(found, TreeClustering):
                found = yield from cluster_job(
                    latents, self.volume, tree=tree, smoothing=smoothing, seed=seed,
                    store=self.folder / _SMOOTHED,
                )  # fmt: skip
                assert isinstance(found, TreeClustering)  # noqa: S101
                path.parent.mkdir(exist_ok=True)
                yield from save_clustering_job(path, found, belongs)
        return Proposals(latents, found, smoothing, seed, self._model_of(latents))

    def glance_job(
        self, box: Box, *, tree: Tree = "things", smoothing: float = 1.0, seed: int = 0,
        device: str = "auto",
    ) -> Job[Proposals]:  # fmt: skip
        """Proposals of a part alone, as a quick look that the folder does not keep."""
        if self.model is None:
            raise ValueError("train or load a model before mapping the voxels")
        yield from self._keep_volume_job()
        latents = yield from embed_job(self.model.model, self.volume, box=box, device=device)
        found = yield from cluster_job(
            latents, self.volume, tree=tree, smoothing=smoothing, seed=seed
        )
        assert isinstance(found, TreeClustering)  # noqa: S101
        made = Proposals(latents, found, smoothing, seed, self.model.number, is_kept=False)
        yield from made.gather_job()
        return made

    def discover(self, **settings: Any) -> Proposals:
        """Map the voxels and cluster them, training first where there is no model."""
        if self.model is None:
            self.train(seed=settings.get("seed", 0), device=settings.get("device", "auto"))
        proposals = finish(self.discover_job(**settings))
        self.take(proposals)
        return proposals

    def discover_job(
        self, *, stride: int = 1, box: Box | None = None, device: str = "auto",
        tree: Tree = "things", smoothing: float = 1.0, seed: int = 0, shown: int | None = None,
    ) -> Job[Proposals]:  # fmt: skip
        """Map the voxels, cluster them, gather what is drawn; coarse first.

        Parameters
        ----------
        stride, box, device
            As for `map_job`.
        tree, smoothing, seed
            As for `propose_job`.
        shown : int, optional
            Stride of what is on show already: of the coarser passes only those that are finer
            come as the ``partial`` of a `Progress`, each as `Proposals`.
        """
        mapping = self.map_job(stride=stride, box=box, device=device, coarse_to_fine=stride == 1)
        how: dict[str, Any] = {"tree": tree, "smoothing": smoothing, "seed": seed}
        while True:
            try:
                progress = next(mapping)
            except StopIteration as end:
                latents: Latents = end.value
                break
            except BaseException:
                mapping.close()
                raise
            coarse: Any = progress.partial
            yield replace(progress, partial=None)
            if coarse is None:
                continue
            if shown is None or int(coarse.array.attrs["stride"]) < shown:
                found = yield from cluster_job(coarse, self.volume, **how)
                number = self._model_of(coarse)
                early = Proposals(coarse, found, smoothing, seed, number, is_kept=False)
                yield from early.gather_job()
                yield replace(progress, partial=early)
        proposals = yield from self.propose_job(latents=latents, **how)
        yield from proposals.gather_job(self.proposals)
        return proposals

    def _model_of(self, latents: Latents) -> int:
        """Number of the model that latent points come from."""
        number = self.versions.number_of(str(latents.array.attrs["model"]))
        if number is None:
            raise ValueError(f"{latents.name}: these points are of none of the session's models")
        return number

    # -- what is in use

    def take(self, result: Trained | Latents | Proposals) -> None:
        """Put the result of a job to use, and keep in the folder that it is.

        It is quick, and belongs to the thread that draws.
        """
        if isinstance(result, Trained):
            self.model = result
            self.record.model = result.number
            self.save("model")
            self.model_changed.emit()
            return
        if isinstance(result, Latents):
            self.latents = result
            self._note_latents(result)
            self.save("latents", "run")
            return
        self.latents = result.latents
        same_map = self.proposals is not None and self.proposals.latents is result.latents
        self.proposals, self.chosen = result, ()
        self.record.view.k = result.clip(self.record.view.k)
        if result.is_kept:
            self._note_latents(result.latents)
            self.record.proposals = ProposalsRecord(result.kind, result.smoothing, result.seed)
            self.save("latents", "proposals", "view", "run")
            self._sweep_maps(result)
        if not same_map:
            self.selection.reset(lambda: result.cloud)
        self.proposals_changed.emit()

    def _note_latents(self, latents: Latents) -> None:
        attributes: Any = latents.array.attrs
        whole = [[0, n] for n in self.volume.shape]
        box = attributes["box"]
        spans: Any = None if list(map(list, box)) == whole else tuple(tuple(s) for s in box)
        self.record.latents = LatentsRecord(self._model_of(latents), attributes["stride"], spans)

    def _sweep_maps(self, proposals: Proposals) -> None:
        """Remove maps of models that are no longer on show: they can be made again."""
        folder = self.folder / "latents"
        if proposals.stride > 1 or not folder.is_dir():
            return
        with suppress(OSError, BusyError), locked(self.folder):
            for store in folder.glob("????_stride*.zarr"):
                if not store.name.startswith(f"{proposals.model:04d}_"):
                    remove(store)

    @property
    def k(self) -> int:
        """Number of proposals; any number is clipped to what there is."""
        return self.record.view.k

    @k.setter
    def k(self, k: int) -> None:
        k = max(1, int(k)) if self.proposals is None else self.proposals.clip(int(k))
        if k != self.record.view.k:
            self.record.view.k = k
            self.k_changed.emit()

    def choose(self, nodes: Iterable[int]) -> None:
        """Choose branches of the tree, and no others."""
        chosen = tuple(sorted(set(nodes)))
        if chosen != self.chosen:
            self.chosen = chosen
            self.chosen_changed.emit()

    def save_view(self, window: Mapping[str, Any] | None = None) -> None:
        """Keep where a person looks: the granularity, and what a window shows (JSON values)."""
        if window is not None:
            self.record.view.window = dict(window)
        if has_session(self.folder):
            self.save("view")

    # -- classes

    def keep(
        self, nodes: int | Collection[int] | None = None, *, name: str | None = None,
        into: int | None = None,
    ) -> int:  # fmt: skip
        """Keep proposals as a class, or add their voxels to one; its number.

        Parameters
        ----------
        nodes : int or collection of int, optional
            Branches of the tree, several of them together; those that are chosen without it.
        name : str, optional
            Of a new class.
        into : int, optional
            Number of the class to fill.

        Raises
        ------
        ValueError
            If nothing is proposed or chosen, or the class is locked.
        """
        proposals = self._proposals()
        wanted = self.chosen if nodes is None else ([nodes] if isinstance(nodes, int) else nodes)
        mask, box = proposals.mask(wanted)
        if into is not None:
            self.classes.fill(into, mask, box=box)
            return into
        colour = proposals.colour(min(wanted)) if len(set(wanted)) == 1 else None
        what = f"{proposals.kind}, k = {self.k}, branch {', '.join(map(str, sorted(wanted)))}"
        source = Source("proposal", what)
        return self.classes.add(mask, name=name, colour=colour, source=source, box=box)

    def keep_all(self) -> list[int]:
        """Keep all proposals at this granularity, where there is no class yet; their numbers."""
        proposals = self._proposals()
        labels = proposals.on_volume(proposals.labels(self.k))
        colours = [proposals.colour(node) for node in proposals.nodes(self.k)]
        source = Source("proposal", f"{proposals.kind}, k = {self.k}")
        return self.classes.fill_rest(labels, colours=colours, source=source, box=proposals.box)

    def subtract(self, number: int, nodes: Collection[int] | None = None) -> None:
        """Take the voxels of proposals out of a class."""
        proposals = self._proposals()
        mask, box = proposals.mask(self.chosen if nodes is None else nodes)
        self.classes.subtract(number, mask, box=box)

    def _proposals(self) -> Proposals:
        if self.proposals is None:
            raise ValueError("nothing is proposed yet: map the voxels first")
        return self.proposals

    def keep_voxels(
        self, mask: npt.NDArray[np.bool_], source: Source, *, name: str | None = None
    ) -> int:
        """Keep, as a class, voxels of the map's lattice; its number.

        Parameters
        ----------
        mask : array of bool, shape (z, y, x)
            On the lattice of the proposals' map, as the lasso and `near_job` give it.
        source : Source
            Where it comes from.
        name : str, optional
        """
        proposals = self._proposals()
        found = proposals.on_volume(mask)
        return self.classes.add(found, name=name, source=source, box=proposals.box)

    def undo(self) -> None:
        """Take the last edit of the classes back."""
        self.classes.undo()

    def redo(self) -> None:
        """Make the edit again that was taken back last."""
        self.classes.redo()

    # -- files for other programs

    def outputs(self, ks: Sequence[int], format: Format = "mrc") -> list[Path]:  # noqa: A002
        """Every file that `write_job` writes."""
        suffix = FORMATS[format]
        names = [f"labels_k{k:02d}{suffix}" for k in sorted(set(ks))]
        return [self.folder / n for n in (*names, _LEAVES + suffix, "tree.json", "report.html")]

    def check_outputs(
        self, ks: Sequence[int], format: Format = "mrc", *, overwrite: bool = False,  # noqa: A002
    ) -> None:  # fmt: skip
        """Refuse, before anything long begins, what would overwrite a file of somebody else's.

        Raises
        ------
        PlanError
        """
        ours = [self.folder / name for name in self.record.outputs]
        check(self.outputs(ks, format), inputs=[self.volume], ours=ours, overwrite=overwrite)

    def write(self, ks: Sequence[int] = range(2, 13), **settings: Any) -> list[Path]:
        """Write labels, tree and report for other programs; `write_job` has the arguments."""
        return finish(self.write_job(ks, **settings))

    def write_job(
        self, ks: Sequence[int], *, format: Format = "mrc", overwrite: bool = False,  # noqa: A002
    ) -> Job[list[Path]]:  # fmt: skip
        """Write the labels of the proposals at some granularities, the tree and the report.

        Parameters
        ----------
        ks : sequence of int
            Numbers of classes; those that the tree can't give are left out.
        format : {"mrc", "tif", "zarr"}
            Of the label files.
        overwrite : bool
            Whether files of these names may be overwritten that this session has not written.

        Returns
        -------
        list of path
            The label files.
        """
        if self.model is None or self.proposals is None:
            raise ValueError("cluster the latents before writing labels")
        proposals, clustering = self.proposals, self.proposals.clustering
        most = proposals.tree.n_leaves
        ks = sorted({k for k in ks if 1 <= k <= most})
        if not ks:
            raise ValueError(f"{self.volume.name}: there are only {most} clusters to find here")
        self.check_outputs(ks, format, overwrite=overwrite)
        from napari_hypseg.figures.report import write_report

        like, suffix = proposals.latents.as_volume(), FORMATS[format]
        paths = []
        with locked(self.folder):
            with self._timed("writing"):
                for done, k in enumerate(ks):
                    yield Progress("writing labels", done, len(ks) + 1)
                    paths.append(self.folder / f"labels_k{k:02d}{suffix}")
                    write_labels(paths[-1], clustering.level(k), like)
                write_labels(self.folder / f"{_LEAVES}{suffix}", clustering.leaves, like)
                _write_json(self.folder / "tree.json", clustering.to_dict())
            written = [path.name for path in self.outputs(ks, format)]
            for name in set(self.record.outputs) - set(written):
                # Of an earlier run, and only what carries a name that we give.
                remove(self.folder / name)
            self.record.outputs = written
            self.record.run.ks = list(ks)
            self.record.run.peak_memory_gb = peak_memory()
            yield Progress("writing the report", len(ks), len(ks) + 1)
            model = self.versions.load(proposals.model)
            write_report(
                self.folder / "report.html", volume=self.volume, clustering=clustering,
                model=model, ks=ks, run=self.summary(), latents=proposals.latents,
            )  # fmt: skip
            self.save("outputs", "run")
            yield Progress("writing the report", len(ks) + 1, len(ks) + 1)
        return paths

    def write_classes(
        self, path: str | os.PathLike[str], *, only: Collection[str | int] | None = None,
        overwrite: bool = False,
    ) -> list[Path]:  # fmt: skip
        """Write the classes as a label volume, and their table as CSV beside it.

        Parameters
        ----------
        path : path
            Its ending decides the format: ``.mrc`` (added where there is none), ``.tif`` or
            ``.zarr``.
        only : collection of str or int, optional
            Names or numbers of the classes to write; all of them without it.
        overwrite : bool
            Whether files that are there may be overwritten.

        Returns
        -------
        list of path

        Raises
        ------
        ValueError
            If there is no such class, none at all, or a file is in the way.
        """
        numbers = None if only is None else [self.classes.number(each) for each in only]
        if not self.classes.table:
            raise ValueError(f"{self.folder}: no class has been kept here yet")
        labels = with_suffix(path, ".mrc")
        table = labels.with_suffix(".csv")
        written = [labels, table]
        if labels.suffix.lower() != ".zarr":
            # Names and colours, which OME-Zarr has a place for.
            written.append(labels.with_suffix(".json"))
        check(written, inputs=[self.volume], overwrite=overwrite)
        self.classes.write(labels, self.volume, numbers)
        self.classes.write_table(table, self.volume.voxel_size, numbers)
        return written

    def summary(self) -> dict[str, Any]:
        """How everything came about, in JSON values: for the report and for programs."""
        values = asdict(self.record)
        run = values.pop("run")
        for name in ("view", "outputs", "training"):
            del values[name]
        return {**values, **run}

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.record.run.seconds[stage] = round(time.monotonic() - began, 2)


@contextmanager
def _told() -> Iterator[None]:
    """Warn of what is damaged: it can be made anew, and the classes are there all the same."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{error}", stacklevel=2)


# Seconds that a short write waits for another program's.
_WAIT = 10.0


def _spans(box: Box | None) -> Any:
    return None if box is None else tuple((s.start, s.stop) for s in box)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=1, allow_nan=False) + "\n"
    with replacing(path) as fresh:
        fresh.write_text(text)


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"


def _versions() -> dict[str, str]:
    names = ("torch", "geoopt", "numpy", "scipy", "scikit-image", "zarr", "mrcfile", "numba")
    found = {name: importlib.metadata.version(name) for name in names}
    return {
        "napari-hypseg": napari_hypseg.__version__,
        "python": platform.python_version(),
        **found,
    }
