"""A `Session`: one volume with its model, latents and clusters, kept in one folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import napari_hypseg
from napari_hypseg.clustering import Clustering, TreeClustering, cluster_job
from napari_hypseg.discovery.report import write_report
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents import Latents, coarse_to_fine_job, embed_job
from napari_hypseg.model import Model, ModelError, load_model
from napari_hypseg.training import is_trained_so, model_so_far, train_job
from napari_hypseg.volumes import Box, Volume, write_labels
from napari_hypseg.volumes.atomic import locked, remove, replacing

__all__ = ["FORMATS", "Session"]

FORMATS = {"mrc": ".mrc", "tif": ".tif", "zarr": ".zarr"}
Format = Literal["mrc", "tif", "zarr"]
T = TypeVar("T")


class Session:
    """A discovery in a volume.

    Every step can be stopped and started again: what the folder holds already, of the same volume
    and settings, is taken from there.

    Parameters
    ----------
    volume : Volume
        The volume.
    folder : path
        Where everything is kept; made if it is missing. ``model.hypseg``, ``latents.zarr``,
        ``smoothed.zarr``, ``tree.json``, the labels, ``run.json`` and ``report.html``.

    Attributes
    ----------
    model : Model or None
    latents : Latents or None
    clustering : Clustering or None
        What the steps so far have given.
    run : dict
        How it came about: what ``run.json`` holds.
    """

    def __init__(self, volume: Volume, folder: str | os.PathLike[str]) -> None:
        self.volume = volume
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.model: Model | None = None
        self.latents: Latents | None = None
        self.clustering: Clustering | None = None
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

    def train_job(
        self, *, preset: str = "default", steps: int | None = None, seed: int = 0, device: str,
        also: Sequence[Volume] = (),
    ) -> Job[Model]:  # fmt: skip
        """Train a model on the volume, or go on where an earlier run stopped.

        The arguments are those of `napari_hypseg.train`, and ``also``: further volumes to learn
        from. A job that is closed before its end leaves the model so far in use.
        """
        path, checkpoint = self.folder / "model.hypseg", self.folder / "training.part"
        self.run["training"] = {"preset": preset, "seed": seed, "device": device}
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
        self.run["training"] |= {
            "steps": model.training["settings"]["steps"],
            "device": model.training["device"],
        }
        self.use(model)
        return model

    def use(self, model: Model) -> None:
        """Take a trained model for the next steps, and keep a copy of it in the folder."""
        path = self.folder / "model.hypseg"
        kept = _model_of(path)
        if kept is None or kept.fingerprint() != model.fingerprint():
            with locked(self.folder):
                model.save(path)
        if self.model is not None and self.model.fingerprint() != model.fingerprint():
            # Points of another model say nothing about this one's.
            self.latents = self.clustering = None
        self.model = model
        self.run["model"] = {"preset": model.preset, "fingerprint": model.fingerprint()}

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
        self.run["mapping"] = {
            "box": None if box is None else [[s.start, s.stop] for s in box],
            "stride": stride,
            "device": device,
        }
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
        return latents

    def _store(self, stride: int) -> Path:
        return self.folder / f"latents{'' if stride == 1 else f'_stride{stride}'}.zarr"

    def cluster_job(
        self, *, tree: Literal["volume", "disk", "flat"] = "volume", smoothing: float = 1.0,
        seed: int = 0,
    ) -> Job[Clustering]:  # fmt: skip
        """Cluster the latent points; the arguments are those of `napari_hypseg.cluster`."""
        if self.latents is None:
            raise ValueError("map the voxels before clustering them")
        self.run["clustering"] = {"tree": tree, "smoothing": smoothing, "seed": seed}
        with locked(self.folder), self._timed("clustering"):
            self.clustering = yield from cluster_job(
                self.latents, tree=tree, smoothing=smoothing, seed=seed,
                store=self.folder / "smoothed.zarr",
            )  # fmt: skip
        return self.clustering

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
        like, suffix, paths = self.latents.as_volume(), FORMATS[format], []
        with locked(self.folder):
            with self._timed("writing"):
                for done, k in enumerate(ks):
                    yield Progress("writing labels", done, len(ks) + 1)
                    paths.append(self.folder / f"labels_k{k:02d}{suffix}")
                    write_labels(paths[-1], self.clustering.labels(k), like)
                if isinstance(self.clustering, TreeClustering):
                    write_labels(self.folder / f"leaves{suffix}", self.clustering.leaves, like)
                _write_json(self.folder / "tree.json", self.clustering.to_dict())
            for name in self._written() - {p.name for p in paths}:
                remove(self.folder / name)
            self.run["labels"] = {"k": list(ks), "files": [p.name for p in paths]}
            self.run["peak_memory_gb"] = _peak_memory()
            yield Progress("writing the report", len(ks), len(ks) + 1)
            write_report(
                self.folder / "report.html", volume=self.volume, clustering=self.clustering,
                model=self.model, ks=ks, run=self.run, latents=self.latents,
            )  # fmt: skip
            _write_json(self.folder / "run.json", self.run)
            yield Progress("writing the report", len(ks) + 1, len(ks) + 1)
        return paths

    def _written(self) -> set[str]:
        """Label files that an earlier run of this folder wrote."""
        try:
            earlier = json.loads((self.folder / "run.json").read_text())["labels"]["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return set()
        return {name for name in earlier if name == Path(name).name}

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.run["seconds"][stage] = round(time.monotonic() - began, 2)


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


def _peak_memory() -> float | None:
    """Most memory that this process held so far, in GB; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in kilobytes, macOS in bytes.
    return round(peak / (1e9 if sys.platform == "darwin" else 1e6), 3)
