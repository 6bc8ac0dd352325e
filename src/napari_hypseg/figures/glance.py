"""What lies at a latent point: the patch of the nearest voxel, and what the decoder makes of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from napari_hypseg.figures.cloud import Cloud
from napari_hypseg.jobs import finish
from napari_hypseg.latents import Latents
from napari_hypseg.model import Model
from napari_hypseg.training.features import Standard, fit_features_job, read_padded
from napari_hypseg.volumes import Volume
from napari_hypseg.volumes.normalize import Normalization, fit_normalization

__all__ = ["Glance", "Glances"]

Slice = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Glance:
    """What is seen at a point.

    Attributes
    ----------
    point : array, shape (d,)
        The latent point.
    voxel : tuple of int
        The voxel (z, y, x) of the latents' lattice whose point is nearest to it.
    patch, reconstruction : array of float32, shape (m, m) or (scales, measures)
        Central slice through the patch around that voxel, as the network sees it, and through
        what the decoder makes of the point; both in normalised intensity. Of an encoder of scales
        what it sees at each scale, fine to coarse, in standard deviations.
    """

    point: npt.NDArray[np.float32]
    voxel: tuple[int, int, int]
    patch: Slice
    reconstruction: Slice


class Glances:
    """Patches and reconstructions of one volume.

    Parameters
    ----------
    volume : Volume
        Read around the voxels that are asked for, and once as a whole to normalise it.
    model : Model
    latents : Latents
        Of the volume, or of a part of it, with any stride.
    """

    def __init__(self, volume: Volume, model: Model, latents: Latents) -> None:
        self._volume, self._model, self._latents = volume, model, latents

    @cached_property
    def _normalization(self) -> Normalization:
        with warnings.catch_warnings():
            # What is odd about the volume was said when its voxels were mapped.
            warnings.simplefilter("ignore")
            return fit_normalization(self._volume)

    @cached_property
    def _standard(self) -> Standard:
        return finish(fit_features_job(self._volume, self._normalization))

    def at(self, cloud: Cloud, place: tuple[float, float]) -> Glance:
        """What lies at a place on the disk on which a cloud of these latents is seen."""
        point = cloud.point_at(place)
        (nearest,) = cloud.positions(cloud.nearest(point, 1)).tolist()
        z, y, x = nearest
        return Glance(point, (z, y, x), self.patch((z, y, x)), self.reconstruction(point))

    def patch(self, voxel: tuple[int, int, int]) -> Slice:
        """Central slice through the patch around a voxel of the latents' lattice."""
        config, latents, volume = self._model.config, self._latents, self._volume
        here = [
            round((lo + i * ls - vo) / vs)
            for i, lo, ls, vo, vs in zip(
                voxel, latents.origin, latents.voxel_size, volume.origin, volume.voxel_size,
                strict=True,
            )
        ]  # fmt: skip
        if config.encoder == "scales":
            z, y, x = (slice(i, i + 1) for i in here)
            seen = self._standard.read(volume, self._normalization, (z, y, x), torch.device("cpu"))
            return np.asarray(self._model.network.picture(seen.flatten(0, 2))[0].numpy())
        cube = read_padded(volume, self._normalization, here, here, config.patch_size // 2)
        size = (config.input_size,) * 3
        seen = interpolate(torch.from_numpy(cube)[None, None], size=size, mode="trilinear")
        return np.asarray(seen[0, 0, config.input_size // 2].numpy())

    def reconstruction(self, point: npt.NDArray[np.float32]) -> Slice:
        """Central slice through what the decoder makes of a latent point."""
        network = self._model.network
        device = next(network.parameters()).device
        with torch.inference_mode():
            made = network.decode(torch.from_numpy(point)[None].to(device))[0].cpu()
        return np.asarray(made.numpy())
