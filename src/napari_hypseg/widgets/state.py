"""What the two docks share: the session, the result on show, the classes, what is picked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.session.selection import Selection
from napari_hypseg.volumes import Box, Volume

if TYPE_CHECKING:
    from napari_hypseg.clustering import TreeClustering
    from napari_hypseg.figures import Cloud, History, Partition, Tally
    from napari_hypseg.latents import Latents
    from napari_hypseg.model import Model
    from napari_hypseg.session import Session

__all__ = [
    "FINEST",
    "Result",
    "State",
    "discover_job",
    "export_job",
    "export_levels_job",
    "find_job",
    "load_job",
    "reopen_job",
    "save_job",
    "train_job",
]

#: The finest granularity of the slider.
FINEST = 30

Tree = Literal["volume", "disk"]


@dataclass(frozen=True, eq=False)
class Result:
    """A clustering with all that is drawn of it.

    Attributes
    ----------
    latents : Latents
    clustering : TreeClustering
    cloud : Cloud
    colours : array, shape (2 n - 1, 3)
        sRGB of the nodes of the tree.
    tally : Tally
        Gives the figures of the classes.
    smoothing : float
        Weight of the smoothing before clustering.
    stride : int
        Every how many voxels were mapped: more than 1 is a preview.
    seconds : float
        What the mapping took, with the clustering of its coarser passes.
    model : Model or None
        Whose points these are.
    """

    latents: Latents
    clustering: TreeClustering
    cloud: Cloud
    colours: npt.NDArray[np.float64]
    tally: Tally
    smoothing: float
    stride: int
    seconds: float
    model: Model | None = None

    @cached_property
    def leaves(self) -> npt.NDArray[np.uint8]:
        """Leaf of each point of the cloud, shape (n,)."""
        leaves: npt.NDArray[np.uint8] = self.clustering.leaves.reshape(-1)[self.cloud.voxels]
        return leaves

    @property
    def most(self) -> int:
        """The finest granularity of the slider."""
        return min(FINEST, self.clustering.most)


class State:
    """One discovery as the docks see it; every change is announced once it is complete.

    Attributes
    ----------
    session : Session or None
    result : Result or None
    selection : Selection
        The picked point and voxels.
    chosen : tuple of int
        Keys of the classes that are highlighted, in the table, the tree and the viewer.
    result_changed, partition_changed, settled, chosen_changed : psygnal.Signal
        ``partition_changed`` comes with every change of the classes and every step of the slider,
        ``settled`` when nothing has changed for a while: what takes longer waits for it.
    """

    result_changed = Signal()
    partition_changed = Signal()
    settled = Signal()
    chosen_changed = Signal()

    def __init__(self) -> None:
        self.session: Session | None = None
        self.result: Result | None = None
        self.selection = Selection()
        self.chosen: tuple[int, ...] = ()
        self._history: History | None = None
        self._kept: dict[Result, History] = {}
        # The granularity to begin with.
        self._k = 6

    @property
    def partition(self) -> Partition | None:
        """The classes as they are now; None without a result."""
        return None if self._history is None else self._history.now

    @property
    def k(self) -> int:
        """Number of classes of the tree."""
        return self._k if self.partition is None else self.partition.k

    def show(self, result: Result | None, kept: Partition | None = None) -> None:
        """Put another result on show, or none, with the classes that were kept of it.

        Results of the same latent points stay known, each with its classes; those of a person's
        own go along to the one on show.
        """
        from napari_hypseg.figures import History, Partition

        before, self._k = self.partition, self.k
        if result is None or (self.result and self.result.latents is not result.latents):
            before, self._kept = None, {}
        self.result, self._history = result, None
        if result is not None:
            if kept is not None:
                self._kept[result] = History(kept)
            elif result not in self._kept:
                k = min(self._k, result.most)
                self._kept[result] = History(Partition.of(result.clustering, k, result.colours))
            self._history = self._kept[result]
            if before is not None and before.own is not self._history.now.own:
                self._history.add(self._history.now.with_own_of(before))
        self.chosen = ()
        self.selection.reset(None if result is None else result.cloud)
        self.result_changed.emit()

    def known(self, tree: Tree, smoothing: float) -> Result | None:
        """The result of such a clustering of the session's latent points, if there was one."""
        latents = None if self.session is None else self.session.latents
        for result in self._kept:
            settings = result.clustering.kind, result.smoothing
            if result.latents is latents and settings == (tree, smoothing):
                return result
        return None

    def choose(self, k: int) -> None:
        """Choose the granularity: all such choices until `settle` are one step to undo."""
        if self._history is None or self.result is None:
            self._k = k
        elif k != self.k:
            self._history.slide(self._history.now.at(min(k, self.result.clustering.most)))
            self._changed()

    def settle(self) -> None:
        """Say that nothing has changed for a while."""
        if self._history is not None:
            self._history.rest()
            self.settled.emit()

    def change(self, partition: Partition, chosen: Iterable[int] | None = None) -> None:
        """Take other classes, as one step that can be undone.

        Parameters
        ----------
        partition : Partition
        chosen : iterable of int, optional
            Keys of classes to highlight from now on; without it those that are highlighted.
        """
        if self._history is not None:
            self._history.add(partition)
            self._changed(chosen)

    def add_own(self, mask: npt.ArrayLike, name: str | None = None) -> int:
        """Add a class of a person's own and highlight it; its key.

        Parameters
        ----------
        mask : array of bool, shape (z, y, x)
            Its voxels, on the lattice of the latents.
        name : str, optional

        Raises
        ------
        ValueError
            If there are no classes yet, or the mask can't be one (see `Partition.add_own`).
        """
        if self.partition is None:
            raise ValueError("map the voxels before adding a class of your own")
        partition = self.partition.add_own(mask, name)
        key = partition.own[-1].key
        self.change(partition, [key])
        return key

    def undo(self) -> None:
        """Take the last change of the classes back."""
        if self._history is not None and self._history.can_undo:
            self._history.undo()
            self._changed()

    def redo(self) -> None:
        """Make the change again that was undone last."""
        if self._history is not None and self._history.can_redo:
            self._history.redo()
            self._changed()

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return self._history is not None and self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return self._history is not None and self._history.can_redo

    def highlight(self, keys: Iterable[int]) -> None:
        """Highlight these classes and no others."""
        chosen = tuple(sorted(set(keys)))
        if chosen != self.chosen:
            self.chosen = chosen
            self.chosen_changed.emit()

    def _changed(self, chosen: Iterable[int] | None = None) -> None:
        """Announce other classes; those that are gone can't be highlighted."""
        assert self.partition is not None  # noqa: S101
        before, wanted = self.chosen, set(self.chosen if chosen is None else chosen)
        # Both are as they will be before either is announced: so a view draws once.
        self.chosen = tuple(sorted(wanted & set(self.partition.keys)))
        self.partition_changed.emit()
        if self.chosen != before:
            self.chosen_changed.emit()


def train_job(
    session: Session | None, open_session: Callable[[], Session], **settings: Any
) -> Job[Session]:
    """Train, in a session that is opened first where there is none."""
    if session is None:
        yield Progress("reading the volume", 0, 0)
        session = open_session()
    yield from session.train_job(**settings)
    return session


def load_job(
    session: Session | None, open_session: Callable[[], Session], path: Path
) -> Job[Session]:
    """Take a model from a file, in a session that is opened first where there is none."""
    from napari_hypseg.model import load_model

    yield Progress("loading the model", 0, 0)
    model = load_model(path)
    if session is None:
        yield Progress("reading the volume", 0, 0)
        session = open_session()
    session.use(model)
    return session


def save_job(model: Any, path: Path) -> Job[Path]:
    """Write a model to a file."""
    yield Progress("saving the model", 0, 0)
    model.save(path)
    return path


def reopen_job(
    folder: Path, volume: Volume
) -> Job[tuple[Session, Result | None, Partition | None]]:
    """Open the session of a folder, and gather what is drawn of it."""
    from napari_hypseg.clustering import TreeClustering
    from napari_hypseg.session import Session, kept_partition

    session = yield from Session.open_job(folder, volume)
    # The papers' flat clusters have no tree to walk.
    if not isinstance(session.clustering, TreeClustering):
        return session, None, None
    result = yield from _result_job(session)
    kept = kept_partition(session)
    return session, result, None if kept is None else replace(kept, colours=result.colours)


def find_job(
    folder: Path, volume: Volume
) -> Job[tuple[Session, Result | None, Partition | None] | None]:
    """As `reopen_job`; None if the folder holds the session of another volume."""
    try:
        return (yield from reopen_job(folder, volume))
    except ValueError:
        return None


def discover_job(
    session: Session, *, stride: int | None, tree: Tree, smoothing: float, device: str,
    box: Box | None = None, shown: int | None = None,
) -> Job[Result]:  # fmt: skip
    """Map the voxels at a stride (None: they are mapped), cluster them, gather what is drawn.

    Parameters
    ----------
    box : tuple of slice, optional
        Only this part, as a quick look that the session does not keep.
    shown : int, optional
        Stride of what is on show already: of the coarser passes of a full mapping only those
        that are finer come as the ``partial`` of a `Progress`, each a `Result`.
    """
    from napari_hypseg.clustering import cluster_job
    from napari_hypseg.latents import embed_job

    model = session.model
    assert model is not None  # noqa: S101
    if box is not None:
        began = time.monotonic()
        latents = yield from embed_job(model, session.volume, box=box, device=device)
        seconds = time.monotonic() - began
        clustering = yield from cluster_job(latents, session.volume, tree=tree, smoothing=smoothing)
        return (yield from _gather_job(model, latents, clustering, smoothing, 1, seconds))
    if stride is not None:
        job = session.map_job(stride=stride, device=device, coarse_to_fine=stride == 1)
        yield from _show_passes_job(session, job, shown, tree, smoothing)
    yield from session.cluster_job(tree=tree, smoothing=smoothing)
    return (yield from _result_job(session))


def _result_job(session: Session) -> Job[Result]:
    latents, run = session.latents, session.run
    assert latents is not None  # noqa: S101
    stride, seconds = run["mapping"]["stride"], run["seconds"]["mapping"]
    smoothing, clustering = run["clustering"]["smoothing"], session.clustering
    job = _gather_job(session.model, latents, clustering, smoothing, stride, seconds)
    return (yield from job)


def _show_passes_job(
    session: Session, mapping: Job[Latents], shown: int | None, tree: Tree, smoothing: float
) -> Job[Latents]:
    """A mapping, with a result made of each of its coarser passes."""
    from napari_hypseg.clustering import cluster_job

    began = time.monotonic()
    with closing(mapping):
        while True:
            try:
                progress = next(mapping)
            except StopIteration as end:
                latents: Latents = end.value
                return latents
            coarse: Any = progress.partial
            yield replace(progress, partial=None)
            if coarse is None:
                continue
            stride = round(coarse.voxel_size[0] / session.volume.voxel_size[0])
            if shown is None or stride < shown:
                seconds = time.monotonic() - began
                clustering = yield from cluster_job(
                    coarse, session.volume, tree=tree, smoothing=smoothing
                )
                job = _gather_job(session.model, coarse, clustering, smoothing, stride, seconds)
                yield replace(progress, partial=(yield from job))


def _gather_job(
    model: Model | None,
    latents: Latents,
    clustering: Any,
    smoothing: float,
    stride: int,
    seconds: float,
) -> Job[Result]:
    """All that is drawn of a clustering."""
    from napari_hypseg.clustering import TreeClustering
    from napari_hypseg.figures import Tally, cloud_job, node_colours

    assert isinstance(clustering, TreeClustering)  # noqa: S101
    cloud = yield from cloud_job(latents)
    yield Progress("choosing colours", 0, 0)
    colours = node_colours(clustering.tree)
    tally = Tally(clustering, cloud)
    return Result(latents, clustering, cloud, colours, tally, smoothing, stride, seconds, model)


def export_job(result: Result, partition: Partition, path: Path) -> Job[Path]:
    """Write the labels of the classes as they are."""
    from napari_hypseg.figures import write_partition

    yield Progress("writing labels", 0, 0)
    write_partition(path, partition, result.latents.as_volume())
    return path


def export_levels_job(
    result: Result, partition: Partition, ks: Iterable[int], folder: Path, suffix: str
) -> Job[list[Path]]:
    """Write the labels at several granularities."""
    from napari_hypseg.figures import write_levels_job

    like = result.latents.as_volume()
    return (yield from write_levels_job(folder, partition, like, list(ks), suffix))
