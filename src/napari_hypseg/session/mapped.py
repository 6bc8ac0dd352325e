"""The map of a session and what is proposed from it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_hypseg.clustering import cluster_job, open_clustering, save_clustering_job
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents import Latents, embed_job, find_latents
from napari_hypseg.model import GENERAL, get_preset, load_model
from napari_hypseg.session.folder import SMOOTHED
from napari_hypseg.session.models import SessionModels
from napari_hypseg.session.needs import Needs, needs_of
from napari_hypseg.session.proposals import Proposals
from napari_hypseg.session.record import LatentsRecord, ProposalsRecord, Tree
from napari_hypseg.volumes import Box, Volume, VolumeError
from napari_hypseg.volumes.atomic import BusyError, remove

__all__ = ["SessionMaps"]


class SessionMaps(SessionModels):
    """What a `Session` does with maps and proposals.

    Attributes
    ----------
    latents : Latents or None
        The map in use.
    proposals : Proposals or None
        What the machine offers now. It may change at any time.
    """

    def __init__(self, volume: Volume, folder: Path) -> None:
        super().__init__(volume, folder)
        self.latents: Latents | None = None
        self.proposals: Proposals | None = None

    def map(self, **settings: Any) -> Latents:
        """Map the voxels to latent points; `map_job` has the arguments."""
        return self._finish(self.map_job(**settings))

    def map_job(
        self, *, stride: int = 1, box: Box | None = None, device: str = "auto"
    ) -> Job[Latents]:
        """Map the voxels to latent points with the model in use.

        Every model, stride and box has a store of its own: what is on show stays as it is, and a
        preview survives the full mapping that is stopped.

        Parameters
        ----------
        stride, box, device
            As for `napari_hypseg.embed`.
        """
        trained = self._trained()
        number, model = trained.number, trained.model
        spans = _spans(box)
        with self._alone(), self._timed("mapping"):
            yield from self._keep_volume_job()
            self._clear_damaged(number)
            return (
                yield from embed_job(
                    model, self.volume, box=box, stride=stride, device=device,
                    store=self._store(number, stride, spans),
                )
            )  # fmt: skip

    def _clear_damaged(self, number: int) -> None:
        """Remove maps of a model that can't be opened: they are made anew."""
        for store in (self.folder / "latents").glob(f"{number:04d}_stride*.zarr"):
            try:
                find_latents(store)
            except VolumeError:
                remove(store)

    def needs(self, *, box: Box | None = None, stride: int = 1) -> Needs:
        """What mapping and clustering will need, and what there is; arguments as for `map_job`."""
        config = get_preset("default").model if self.model is None else self.model.model.config
        return needs_of(self.volume.shape, config.latent_dim, self.folder, box=box, stride=stride)

    def propose(self, **settings: Any) -> Proposals:
        """Cluster the map into proposals; `propose_job` has the arguments."""
        return self._finish(self.propose_job(**settings))

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
        with self._alone(), self._timed("clustering"):
            yield Progress("looking for clusters", 0, 0)
            # Damaged ones are made anew.
            with suppress(VolumeError):
                found = open_clustering(path, latents, belongs)
            if found is None:
                found = yield from cluster_job(
                    latents, self.volume, tree=tree, smoothing=smoothing, seed=seed,
                    store=self.folder / SMOOTHED,
                )  # fmt: skip
                path.parent.mkdir(exist_ok=True)
                yield from save_clustering_job(path, found, belongs)
        return Proposals(latents, found, smoothing, seed, self._model_of(latents))

    def glance_job(
        self, box: Box, *, tree: Tree = "things", smoothing: float = 1.0, seed: int = 0,
        device: str = "auto",
    ) -> Job[Proposals]:  # fmt: skip
        """Proposals of a part alone, as a quick look that the folder does not keep."""
        trained = self._trained()
        yield from self._keep_volume_job()
        latents = yield from embed_job(trained.model, self.volume, box=box, device=device)
        found = yield from cluster_job(
            latents, self.volume, tree=tree, smoothing=smoothing, seed=seed
        )
        made = Proposals(latents, found, smoothing, seed, trained.number, is_kept=False)
        yield from made.gather_job()
        return made

    def discover(self, **settings: Any) -> Proposals:
        """Map the voxels and cluster them, by the general model where the session has none."""
        if self.model is None:
            self.use(load_model(GENERAL))
        return self._finish(self.discover_job(**settings))

    def discover_job(
        self, *, stride: int = 1, box: Box | None = None, device: str = "auto",
        tree: Tree = "things", smoothing: float = 1.0, seed: int = 0,
    ) -> Job[Proposals]:  # fmt: skip
        """Map the voxels, cluster them, gather what is drawn.

        Parameters
        ----------
        stride, box, device
            As for `map_job`.
        tree, smoothing, seed
            As for `propose_job`.
        """
        latents = yield from self.map_job(stride=stride, box=box, device=device)
        proposals = yield from self.propose_job(
            latents=latents, tree=tree, smoothing=smoothing, seed=seed
        )
        yield from proposals.gather_job(self.proposals)
        return proposals

    def _model_of(self, latents: Latents) -> int:
        """Number of the model that latent points come from."""
        number = self.versions.number_of(str(latents.array.attrs["model"]))
        if number is None:
            raise ValueError(f"{latents.name}: these points are of none of the session's models")
        return number

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
        with suppress(OSError, BusyError), self._alone():
            for store in folder.glob("????_stride*.zarr"):
                if not store.name.startswith(f"{proposals.model:04d}_"):
                    remove(store)


def _spans(box: Box | None) -> Any:
    return None if box is None else tuple((s.start, s.stop) for s in box)
