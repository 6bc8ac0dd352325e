"""The finest scale: a voxel's own intensity, as a coordinate beside its latent point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.spread import spread_job
from napari_hypseg.latents.store import Latents
from napari_hypseg.volumes.normalize import Normalization
from napari_hypseg.volumes.volume import Box, Volume

__all__ = ["Intensity", "intensity_job", "outside_job"]

# In a volume without noise the latent points would count for nothing; they keep a say.
_MOST = 3.0
# Signal to noise from which on a voxel's own intensity tells more than the patch around it.
_CLEAR = 1.5
# What texture is multiplied by, at most; and the ratios at which it begins to
# count, counts in full, and counts no more.
_TEXTURE = 16.0
_FROM, _FULL, _UNTIL = 0.75, 1.0, 2.25


@dataclass(frozen=True)
class Intensity:
    """Intensities of the voxels that have latent points, in units of their tangent vectors.

    Attributes
    ----------
    volume : Volume
    normalization : Normalization
        Of the volume.
    corner, stride : tuple of int and int
        Voxel of the first point, and voxels from one to the next.
    unit : float
        What both are measured in, in lengths of tangent vectors: the standard deviation of the
        latent points (see `spread_job`), more of it the clearer the volume.
    ratio : float
        Signal to noise: as many times the unit as the normalised intensities are multiplied by.
    texture : float
        What the intensities' texture (see `texture`) is multiplied by; 0 in a clear volume and in
        one that is mostly noise.
    outside : array of bool, shape (z, y, x), or None
        Which of them lie outside (see `Normalization.look`); None where all lie inside.
    """

    volume: Volume
    normalization: Normalization
    corner: tuple[int, int, int]
    stride: int
    unit: float
    ratio: float
    texture: float
    outside: npt.NDArray[np.bool_] | None = None

    def read(self, box: Box) -> npt.NDArray[np.float32]:
        """Intensities of a box of points, shape (z, y, x)."""
        n = self.stride
        z, y, x = (
            slice(first + s.start * n, first + (s.stop - 1) * n + 1)
            for first, s in zip(self.corner, box, strict=True)
        )
        values = self.normalization.read(self.volume, (z, y, x))[::n, ::n, ::n]
        return values * np.float32(self.ratio * self.unit)


def intensity_job(volume: Volume, latents: Latents) -> Job[Intensity]:
    """The intensities beside latent points, weighed by how far they stand above the noise.

    A patch blurs what is smaller than itself, and the edges of what is larger; a single voxel does
    not, but is noisy. In a common unit the intensities' standard deviation is their ratio of
    signal to noise, at most 3, so that the noise in them is at most 1, whatever the volume. The
    latent points' tangent vectors have a standard deviation of 1 in each direction; in a clear
    volume, of a ratio above 1.5, less: 1.5 divided by the ratio. So where there is little but
    noise the patches decide, and in a clear volume the voxels.

    What smoothing takes away of the intensities is noise, but also texture, which tells things
    apart that are alike in the mean. In a clear volume it is mostly what smoothing did to edges,
    in a very noisy one it is noise: its weight is 16 from a ratio of 1 to one of 1.5, and falls to
    0 at 0.75 and at 2.25.

    Parameters
    ----------
    volume : Volume
        The volume that was mapped.
    latents : Latents
        Its latent points. Their store knows how the volume was normalised and how noisy it is.

    Raises
    ------
    ValueError
        If the points are another volume's.
    """
    outside = yield from outside_job(volume, latents)
    made: dict[str, Any] = dict(latents.array.attrs)
    normalization = Normalization.from_dict(made["normalization"])
    noise = min(1.0, made["noise"])
    # Of the variance of 1 the noise takes its share.
    signal = math.sqrt(1 - noise**2)
    ratio = signal / noise if signal < _MOST * noise else _MOST
    unit = (yield from spread_job(latents, outside)) * max(1.0, ratio / _CLEAR)
    rises, falls = (ratio - _FROM) / (_FULL - _FROM), (_UNTIL - ratio) / (_UNTIL - _CLEAR)
    texture = _TEXTURE * max(0.0, min(1.0, rises, falls))
    z, y, x = (start for start, _ in made["box"])
    return Intensity(
        volume, normalization, (z, y, x), int(made["stride"]), unit, ratio, texture, outside
    )


def outside_job(volume: Volume, latents: Latents) -> Job[npt.NDArray[np.bool_] | None]:
    """Whether each voxel that has a latent point lies outside; None where all do, or none.

    Raises
    ------
    ValueError
        If the points are another volume's.
    """
    made: dict[str, Any] = dict(latents.array.attrs)
    if made.get("volume") != (yield from volume.fingerprint_job()):
        raise ValueError(f"{volume.name}: is not the volume of these latent points")
    normalization = Normalization.from_dict(made["normalization"])
    if normalization.padding is None and not normalization.holes:
        return None
    n = int(made["stride"])
    outside = np.empty(latents.shape, np.bool_)
    (first, _), *across = made["box"]
    y, x = (slice(start, stop) for start, stop in across)
    for plane in range(len(outside)):
        yield Progress("finding the padding", plane, len(outside))
        z = first + plane * n
        _, found = normalization.look(volume, (slice(z, z + 1), y, x))
        outside[plane] = found[0, ::n, ::n]
    return outside if outside.any() and not outside.all() else None
