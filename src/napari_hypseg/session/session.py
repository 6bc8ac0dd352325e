"""A `Session`: one volume with its model, latents and clusters, kept in one folder."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import napari_hypseg
from napari_hypseg.clustering import (
    Clustering,
    FlatClustering,
    Kind,
    TreeClustering,
    cluster_job,
    open_clustering,
    save_clustering_job,
)
from napari_hypseg.discovery.report import write_report
from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents import Latents, coarse_to_fine_job, embed_job, find_latents
from napari_hypseg.model import Model, ModelError, load_model
from napari_hypseg.session.files import (
    SESSION_FILE,
    keep_volume,
    place_of,
    read_session,
    reread_volume,
    write_session,
)
from napari_hypseg.session.needs import Needs, needs_of
from napari_hypseg.training import is_trained_so, model_so_far, train_job
from napari_hypseg.volumes import Box, Volume, VolumeError, write_labels
from napari_hypseg.volumes.atomic import locked, remove, replacing
from napari_hypseg.volumes.limits import peak_memory
from napari_hypseg.volumes.volume import ArrayLike3D

__all__ = ["FORMATS", "Session"]

FORMATS = {"mrc": ".mrc", "tif": ".tif", "zarr": ".zarr"}
Format = Literal["mrc", "tif", "zarr"]
_MODEL, _SMOOTHED = "model.hypseg", "smoothed.zarr"


class Session:
    """A discovery in a volume.

    Every step can be stopped and started again: what the folder holds already, of the same volume
    and settings, is taken from there.

    Parameters
    ----------
    volume : Volume
        The volume.
    folder : path
        Where everything is kept; made if it is missing. ``session.json``, ``model.hypseg``,
        ``latents.zarr``, ``smoothed.zarr``, ``clusters_volume.zarr``, and what `write_job`
        writes. `open` opens it again.

    Attributes
    ----------
    model : Model or None
    latents : Latents or None
    clustering : Clustering or None
        What the steps so far have given.
    run : dict
        How it came about: parameters, seeds, versions, times; JSON values.
    view : dict
        What a person made of it: classes, names and the like; JSON values. See
        `napari_hypseg.session.keep_partition`.
    views : dict of str to dict
        The same of other clusterings of these latent points, to which a person may come back.
    masks : dict of int to array of bool
        Voxels of a person's own classes that the folder holds, by key.
    """

    def __init__(self, volume: Volume, folder: str | os.PathLike[str]) -> None:
        self.volume = volume
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model: Model | None = None
        self.latents: Latents | None = None
        self.clustering: Clustering | None = None
        self.view: dict[str, Any] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.masks: dict[int, npt.NDArray[np.bool_]] = {}
        self._place: dict[str, Any] | None = None
        # Label files in the folder, of this run or an earlier one.
        self._written: list[str] = []
        with suppress(ValueError):
            self._written = read_session(self.folder)["labels"]
        self.run: dict[str, Any] = {
            "volume": {
                "name": volume.name,
                "shape": list(volume.shape),
                "voxel_size_angstrom": list(volume.voxel_size),
                "origin_angstrom": list(volume.origin),
                "fingerprint": volume.fingerprint(),
            },
            "versions": _versions(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
            "seconds": {},
        }

    @classmethod
    def open(cls, folder: str | os.PathLike[str], volume: Volume | None = None) -> Session:
        """Open the session of a folder as it was left.

        Parameters
        ----------
        folder : path
            The folder of a session, or what ``hypseg run`` wrote.
        volume : Volume, optional
            The session's volume, where it is at hand or has moved; read from its file without.

        Raises
        ------
        ValueError
            If there is no session, it is damaged or of a newer version, or its volume has moved
            or is another one now.

        Examples
        --------
        >>> import napari_hypseg as hs
        >>> session = hs.Session.open("result")  # doctest: +SKIP
        >>> session.clustering.labels(6)  # doctest: +SKIP
        """
        return finish(cls.open_job(folder, volume))

    @classmethod
    def open_job(cls, folder: str | os.PathLike[str], volume: Volume | None = None) -> Job[Session]:
        """The generator twin of `open`."""
        yield Progress("opening the session", 0, 3)
        folder = Path(folder)
        values = read_session(folder)
        run = values["run"]
        session = cls(reread_volume(folder, values) if volume is None else volume, folder)
        try:
            if session.run["volume"]["fingerprint"] != run["volume"]["fingerprint"]:
                where = session.volume.source.path if session.volume.source else session.volume.name
                raise ValueError(
                    f"{folder}: its volume {where} is not the one that it was made with: "
                    "its voxels are others"
                )
            session.run, session.view = run, values["view"]
            session.views = values["views"]
            source = session.volume.source
            session._place = values["volume"] if source is None else place_of(source, folder)
            yield Progress("opening the session", 1, 3)
            session._find_model()
            yield Progress("opening the session", 2, 3)
            session._find_clustering()
        except (KeyError, TypeError):
            raise ValueError(f"{folder / SESSION_FILE}: is damaged") from None
        return session

    def _find_model(self) -> None:
        """Take up the model of the folder."""
        path = self.folder / _MODEL
        if "model" not in self.run or not path.exists():
            return
        model = load_model(path)
        if model.fingerprint() != self.run["model"]["fingerprint"]:
            raise ValueError(f"{path}: is not the model of this session, it has been replaced")
        self.model = model

    def _find_clustering(self) -> None:
        """Take up the latents and the clusters of the folder, as far as they are this model's."""
        if self.model is None or "mapping" not in self.run:
            return
        path = self._store(int(self.run["mapping"]["stride"]))
        if not path.exists():
            return
        latents = find_latents(path)
        made = dict(latents.array.attrs)
        known = self.run["volume"]["fingerprint"], self.run["model"]["fingerprint"]
        if (made.get("volume"), made.get("model")) != known:
            return
        self.latents = latents
        if "clustering" in self.run:
            how = self.run["clustering"]
            if how["tree"] == "flat" and how["smoothing"]:
                latents = find_latents(self.folder / _SMOOTHED)
                wanted = {**made, "smoothing": how["smoothing"], "beside": latents.beside}
                if dict(latents.array.attrs) != wanted:
                    return
            self.clustering = open_clustering(
                self._clusters_path(how["tree"]), latents, self._belongs(how)
            )

    def _clusters_path(self, tree: Kind) -> Path:
        return self.folder / f"clusters_{tree}.zarr"

    def _belongs(self, how: dict[str, Any]) -> dict[str, Any]:
        """What clusters are made of, and how."""
        assert self.latents is not None  # noqa: S101
        settings = {name: how[name] for name in ("tree", "smoothing", "seed")}
        return {"latents": self.latents.array.attrs.asdict(), **settings}

    def save(self) -> None:
        """Keep how the session stands in its folder; each step does so at its end."""
        if self._place is None:
            fingerprint = self.run["volume"]["fingerprint"]
            self.volume = keep_volume(self.volume, self.folder, fingerprint)
            assert self.volume.source is not None  # noqa: S101
            self._place = place_of(self.volume.source, self.folder)
        write_session(
            self.folder,
            {
                "volume": self._place,
                "run": self.run,
                "labels": self._written,
                "view": self.view,
                "views": self.views,
            },
        )

    def train_job(
        self, *, preset: str = "default", steps: int | None = None, seed: int = 0, device: str,
        also: Sequence[Volume] = (),
    ) -> Job[Model]:  # fmt: skip
        """Train a model on the volume, or go on where an earlier run stopped.

        The arguments are those of `napari_hypseg.train`, and ``also``: further volumes to learn
        from. A job that is closed before its end leaves the model so far in use.
        """
        path, checkpoint = self.folder / _MODEL, self.folder / "training.part"
        volumes, earlier = [self.volume, *also], _changed(checkpoint)
        try:
            with locked(self.folder), self._timed("training"):
                model = _model_of(path)
                if model is None or not is_trained_so(
                    model, volumes, preset=preset, steps=steps, seed=seed
                ):
                    model = yield from train_job(
                        volumes, preset=preset, steps=steps, seed=seed, device=device,
                        checkpoint=checkpoint,
                    )  # fmt: skip
                    model.save(path)
                checkpoint.unlink(missing_ok=True)
        except GeneratorExit:
            if _changed(checkpoint) not in (None, earlier):
                self.use(model_so_far(checkpoint))
            raise
        self.use(model)
        if also:
            # Which volumes, the model knows; they are needed to make it again.
            self.save()
            return model
        self.run["training"] = {
            "preset": preset,
            "seed": seed,
            "steps": model.training["settings"]["steps"],
            "device": model.training["device"],
        }
        self.save()
        return model

    def use(self, model: Model) -> None:
        """Take a trained model for the next steps, and keep a copy of it in the folder."""
        path = self.folder / _MODEL
        kept = _model_of(path)
        if kept is None or kept.fingerprint() != model.fingerprint():
            with locked(self.folder):
                model.save(path)
        if self.model is not None and self.model.fingerprint() != model.fingerprint():
            # Points of another model say nothing about this one's.
            self.latents = self.clustering = None
            self.run = {k: v for k, v in self.run.items() if k not in ("mapping", "clustering")}
        self.model = model
        self.run.pop("training", None)
        self.run["model"] = {"preset": model.preset, "fingerprint": model.fingerprint()}
        self.save()

    def map_job(
        self, *, box: Box | None = None, stride: int = 1, device: str = "auto",
        coarse_to_fine: bool = False,
    ) -> Job[Latents]:  # fmt: skip
        """Map the voxels to latent points; the arguments are those of `napari_hypseg.embed`.

        Each stride has a store of its own: a preview survives the full mapping that is stopped.

        Parameters
        ----------
        coarse_to_fine : bool
            In passes, each computing what the last has left: the latents of coarser strides come
            as the ``partial`` of a `Progress`, for little more time in all.
        """
        if self.model is None:
            raise ValueError("train or load a model before mapping the voxels")
        with locked(self.folder), self._timed("mapping"):
            if coarse_to_fine:
                job = coarse_to_fine_job(
                    self.model, self.volume, box=box, stride=stride, device=device,
                    store=self._store,
                )  # fmt: skip
            else:
                job = embed_job(
                    self.model, self.volume, box=box, stride=stride, device=device,
                    store=self._store(stride),
                )  # fmt: skip
            latents = yield from job
        self.latents, self.clustering = latents, None
        self.view, self.views = {}, {}
        self.run.pop("clustering", None)
        self.run["mapping"] = {
            "box": None if box is None else [[s.start, s.stop] for s in box],
            "stride": stride,
            "device": device,
        }
        self.save()
        return latents

    def needs(self, *, box: Box | None = None, stride: int = 1) -> Needs:
        """What mapping and clustering will need, and what there is; arguments as for `map_job`."""
        dim = 2 if self.model is None else self.model.config.latent_dim
        return needs_of(self.volume.shape, dim, self.folder, box=box, stride=stride)

    def _store(self, stride: int) -> Path:
        return self.folder / f"latents{'' if stride == 1 else f'_stride{stride}'}.zarr"

    def cluster_job(
        self, *, tree: Kind = "volume", smoothing: float = 1.0,
        seed: int = 0,
    ) -> Job[Clustering]:  # fmt: skip
        """Cluster the latent points; the arguments are those of `napari_hypseg.cluster`.

        Clusters that the folder holds already are taken from there.
        """
        if self.latents is None:
            raise ValueError("map the voxels before clustering them")
        how = {"tree": tree, "smoothing": smoothing, "seed": seed}
        path, belongs = self._clusters_path(tree), self._belongs(how)
        found = None
        with locked(self.folder), self._timed("clustering"):
            yield Progress("looking for clusters", 0, 0)
            # Damaged ones are made anew, those of a flat clustering are soon fitted.
            with suppress(VolumeError):
                found = open_clustering(path, self.latents, belongs) if tree != "flat" else None
            if found is None:
                found = yield from cluster_job(
                    self.latents, self.volume, tree=tree, smoothing=smoothing, seed=seed,
                    store=self.folder / _SMOOTHED,
                )  # fmt: skip
                yield from save_clustering_job(path, found, belongs)
        self.use_clustering(found, tree=tree, smoothing=smoothing, seed=seed)
        return found

    def use_clustering(
        self, clustering: Clustering, *, tree: Kind, smoothing: float, seed: int = 0
    ) -> None:
        """Take up clusters that `cluster_job` found before, of the same latent points."""
        how = {"tree": tree, "smoothing": smoothing, "seed": seed}
        self.clustering = clustering
        before = self.run.get("clustering")
        if before != how:
            window = {name: value for name, value in self.view.items() if name == "window"}
            if before is not None:
                self.views[_named(before)] = _of_tree(self.view)
            self.view = self.views.pop(_named(how), {}) | window
        self.run["clustering"] = how
        self.save()

    def write_job(self, ks: Sequence[int], *, format: Format = "mrc") -> Job[list[Path]]:  # noqa: A002
        """Write the labels at some granularities, the tree, the record and the report.

        Parameters
        ----------
        ks : sequence of int
            Numbers of clusters; those that the clustering can't give are left out.
        format : {"mrc", "tif", "zarr"}
            Of the label files.

        Returns
        -------
        list of path
            The label files.
        """
        if self.model is None or self.latents is None or self.clustering is None:
            raise ValueError("cluster the latents before writing labels")
        ks = sorted({k for k in ks if k <= self.clustering.most})
        if not ks:
            raise ValueError(
                f"{self.volume.name}: there are only {self.clustering.most} clusters to find here"
            )
        like, suffix = self.latents.as_volume(), FORMATS[format]
        paths: list[Path] = []
        with locked(self.folder):
            with self._timed("writing"):
                clustering = self.clustering
                # A pass over the points serves as many levels as fit into a gigabyte.
                several = max(1, (1 << 30) // math.prod(like.shape))
                for first in range(0, len(ks), several):
                    some = ks[first : first + several]
                    levels: Mapping[int, ArrayLike3D]
                    if isinstance(clustering, FlatClustering):
                        levels = yield from clustering.labels_job(some)
                    else:
                        levels = {k: clustering.level(k) for k in some}
                    for k, labels in levels.items():
                        yield Progress("writing labels", len(paths), len(ks) + 1)
                        paths.append(self.folder / f"labels_k{k:02d}{suffix}")
                        write_labels(paths[-1], labels, like)
                    # Not beside the next.
                    del levels, labels
                if isinstance(clustering, TreeClustering):
                    write_labels(self.folder / f"leaves{suffix}", clustering.leaves, like)
                _write_json(self.folder / "tree.json", clustering.to_dict())
            for name in {Path(name).name for name in self._written} - {p.name for p in paths}:
                remove(self.folder / name)
            self._written = [p.name for p in paths]
            self.run["labels"] = {"k": list(ks), "files": [p.name for p in paths]}
            self.run["peak_memory_gb"] = peak_memory()
            yield Progress("writing the report", len(ks), len(ks) + 1)
            write_report(
                self.folder / "report.html", volume=self.volume, clustering=self.clustering,
                model=self.model, ks=ks, run=self.run, latents=self.latents,
            )  # fmt: skip
            self.save()
            yield Progress("writing the report", len(ks) + 1, len(ks) + 1)
        return paths

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.run["seconds"][stage] = round(time.monotonic() - began, 2)


def _named(how: dict[str, Any]) -> str:
    """A clustering in a word, by its settings."""
    return " ".join(f"{name}={how[name]}" for name in ("tree", "smoothing", "seed"))


def _of_tree(view: dict[str, Any]) -> dict[str, Any]:
    """A view without a person's own classes: those go along to other clusterings."""
    try:
        classes = view["classes"]
        names = {key: name for key, name in classes["names"].items() if int(key) >= 0}
        hidden = [key for key in classes["hidden"] if key >= 0]
    # Nothing was kept, or what was is damaged, which is told where it is opened.
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return {"classes": {**classes, "names": names, "hidden": hidden, "own": []}}


def _changed(path: Path) -> int | None:
    """When a file was last written; None if there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def _model_of(path: Path) -> Model | None:
    """The model of a file, if it holds one."""
    try:
        return load_model(path)
    except ModelError:
        return None


def _write_json(path: Path, values: dict[str, Any]) -> None:
    text = json.dumps(values, indent=1, allow_nan=False) + "\n"
    with replacing(path) as fresh:
        fresh.write_text(text)


def _versions() -> dict[str, str]:
    names = ("torch", "geoopt", "numpy", "scipy", "scikit-image", "zarr", "mrcfile", "numba")
    found = {name: importlib.metadata.version(name) for name in names}
    return {
        "napari-hypseg": napari_hypseg.__version__,
        "python": platform.python_version(),
        **found,
    }
