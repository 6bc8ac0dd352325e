"""A `Session`: one tomogram with its models, map, proposals and classes, kept in one folder."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_hypseg.classes import Classes, Source
from napari_hypseg.clustering import open_clustering
from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents import Latents, find_latents
from napari_hypseg.session.mapped import SessionMaps
from napari_hypseg.session.models import Trained
from napari_hypseg.session.places import described, reread_volume
from napari_hypseg.session.plan import check, with_suffix
from napari_hypseg.session.proposals import Proposals
from napari_hypseg.session.record import ProposalsRecord, has_session, read_record
from napari_hypseg.session.selection import Selection
from napari_hypseg.volumes import Volume, write_labels
from napari_hypseg.volumes.atomic import remove, replacing
from napari_hypseg.volumes.limits import peak_memory

__all__ = ["FORMATS", "Session"]

FORMATS = {"mrc": ".mrc", "tif": ".tif", "zarr": ".zarr"}
Format = Literal["mrc", "tif", "zarr"]
_LEAVES = "leaves"


class Session(SessionMaps):
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
    >>> session.discover()  # map, propose  # doctest: +SKIP
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
        super().__init__(volume, folder)
        self.selection = Selection()
        self.chosen: tuple[int, ...] = ()

    def _take_up_job(self, overwrite: bool) -> Job[None]:
        """Take up what the folder holds already."""
        if has_session(self.folder):
            record = self.record
            self.record = read_record(self.folder)
            made_with = self.record.volume.fingerprint
            found = yield from self._fingerprint_job()
            if made_with != found:
                self._refuse_other(self.record.volume.name, overwrite)
                self.record, self._replaced = record, self.record
            else:
                self.record.volume = described(self.volume, self.folder, found)
                yield Progress("opening the session", 0, 0)
                self._find_model()
                yield from self._find_proposals_job()
        self.classes = Classes(self.folder / "classes", self.volume.shape)

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
            if found is not None:
                proposals = Proposals(
                    self.latents, found, clusters.smoothing, clusters.seed, how.model
                )
                self.proposals = proposals
                self.selection.reset(lambda: proposals.cloud)

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
            self.proposals = self.proposals.placed(self.volume)
        if has_session(self.folder):
            self.save("volume")
        self.proposals_changed.emit()

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
        with self._alone():
            written, before = [path.name for path in self.outputs(ks, format)], self.record.outputs
            # Noted first: what a kill leaves half of is known to be ours.
            self.record.outputs = [*before, *(name for name in written if name not in before)]
            self.save("outputs")
            with self._timed("writing"):
                for done, k in enumerate(ks):
                    yield Progress("writing labels", done, len(ks) + 1)
                    paths.append(self.folder / f"labels_k{k:02d}{suffix}")
                    write_labels(paths[-1], clustering.level(k), like)
                write_labels(self.folder / f"{_LEAVES}{suffix}", clustering.leaves, like)
                _write_json(self.folder / "tree.json", clustering.to_dict())
            for name in set(before) - set(written):
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
def _told() -> Iterator[None]:
    """Warn of what is damaged: it can be made anew, and the classes are there all the same."""
    try:
        yield
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{error}", stacklevel=2)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=1, allow_nan=False) + "\n"
    with replacing(path) as fresh:
        fresh.write_text(text)
