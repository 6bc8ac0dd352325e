"""Which latent points are those of padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.latents.store import Latents
from napari_hypseg.volumes.normalize import Normalization
from napari_hypseg.volumes.volume import Volume

__all__ = ["outside_job"]


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
