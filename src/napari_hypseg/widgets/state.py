"""What the two docks share: the session, the result on show, the granularity, the names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_hypseg.discovery.selection import Selection
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes import Volume, write_labels

if TYPE_CHECKING:
    from napari_hypseg.clustering import TreeClustering
    from napari_hypseg.discovery import ClassRow, Cloud
    from napari_hypseg.latents import Latents
    from napari_hypseg.session import Session

__all__ = [
    "FINEST",
    "Result",
    "State",
    "discover_job",
    "export_job",
    "load_job",
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
    colours : array, shape (k, 3)
        sRGB of the labels 1 to k, k being the finest granularity; the same at every coarser one.
    stride : int
        Every how many voxels were mapped: more than 1 is a preview.
    seconds : float
        What the mapping took.
    """

    latents: Latents
    clustering: TreeClustering
    cloud: Cloud
    colours: npt.NDArray[np.float64]
    stride: int
    seconds: float
    _rows: dict[int, list[ClassRow]] = field(default_factory=dict)

    @property
    def most(self) -> int:
        """The finest granularity to show."""
        return len(self.colours)

    def rows(self, k: int) -> list[ClassRow]:
        """The classes at one granularity."""
        from napari_hypseg.discovery import class_table

        if k not in self._rows:
            self._rows[k] = class_table(
                self.clustering, k, self.latents.voxel_size, curvature=self.cloud.curvature
            )
        return self._rows[k]

    def node(self, k: int, label: int) -> int:
        """The tree's node that a label stands for at one granularity."""
        return int(self.clustering.tree.nodes(k)[label - 1])


class State:
    """One discovery as the docks see it; every change is announced once it is complete.

    Attributes
    ----------
    session : Session or None
    result : Result or None
    k : int
        The granularity.
    selection : Selection
    result_changed, k_changed, settled, names_changed : psygnal.Signal
        ``k_changed`` comes with every step of the slider, ``settled`` when it rests.
    """

    result_changed = Signal()
    k_changed = Signal()
    settled = Signal()
    names_changed = Signal()

    def __init__(self) -> None:
        self.session: Session | None = None
        self.result: Result | None = None
        self.k = 6
        self.selection = Selection()
        self._names: dict[int, str] = {}

    def show(self, result: Result | None) -> None:
        """Put another result on show, or none."""
        self.result = result
        self._names = {}
        if result is not None:
            self.k = min(self.k, result.most)
        self.selection.reset(None if result is None else result.cloud)
        self.result_changed.emit()

    def choose(self, k: int) -> None:
        """Choose the granularity."""
        if self.result is not None:
            k = min(k, self.result.most)
        if k != self.k:
            self.k = k
            self.k_changed.emit()

    def name(self, label: int) -> str:
        """What a person calls a class at this granularity."""
        if self.result is None:
            return f"class {label}"
        return self._names.get(self.result.node(self.k, label), f"class {label}")

    def rename(self, label: int, name: str) -> None:
        """Name a class; the name stays with its branch of the tree when k changes."""
        if self.result is not None and name.strip() and name.strip() != self.name(label):
            self._names[self.result.node(self.k, label)] = name.strip()
            self.names_changed.emit()


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


def discover_job(
    session: Session, *, stride: int | None, tree: Tree, smoothing: float, device: str
) -> Job[Result]:
    """Map the voxels at a stride (None: they are mapped), cluster them, gather what is drawn."""
    from napari_hypseg.clustering import TreeClustering
    from napari_hypseg.discovery import cloud_job, label_colours

    if stride is not None:
        yield from session.map_job(stride=stride, device=device)
    clustering = yield from session.cluster_job(tree=tree, smoothing=smoothing)
    latents = session.latents
    assert latents is not None  # noqa: S101
    assert isinstance(clustering, TreeClustering)  # noqa: S101
    cloud = yield from cloud_job(latents)
    yield Progress("choosing colours", 0, 0)
    colours = label_colours(clustering, min(FINEST, clustering.most))
    run = session.run
    return Result(
        latents, clustering, cloud, colours, run["mapping"]["stride"], run["seconds"]["mapping"]
    )


def export_job(result: Result, k: int, path: Path) -> Job[Path]:
    """Write the labels at one granularity."""
    yield Progress("writing labels", 0, 0)
    like: Volume = result.latents.as_volume()
    write_labels(path, result.clustering.labels(k), like)
    return path
