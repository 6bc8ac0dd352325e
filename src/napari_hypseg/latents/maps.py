"""What the latent points say of each voxel, as volumes: how certain it is, each coordinate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.geometry import distance
from napari_hypseg.latents.store import Latents
from napari_hypseg.volumes import Volume

__all__ = ["coordinate", "distance_to_centre", "uncertainty"]


def distance_to_centre(
    points: npt.NDArray[np.floating], curvature: float | None
) -> npt.NDArray[np.float32]:
    """Distance of latent points to the centre, shape (..., d) to (...).

    Parameters
    ----------
    points : array, shape (..., d)
    curvature : float or None
        The ball has curvature ``-curvature``; None for a Euclidean space.
    """
    x = torch.from_numpy(np.asarray(points, np.float64))
    lengths = x.norm(dim=-1) if curvature is None else distance(torch.zeros_like(x), x, curvature)
    return lengths.numpy().astype(np.float32)


def uncertainty(latents: Latents) -> Volume:
    """How uncertain the network is of each voxel: 1 at the centre, towards 0 far from it.

    It is ``1 / cosh`` of the point's distance to the centre: high where the network is uncertain.

    Parameters
    ----------
    latents : Latents
        Read only where the volume is.

    Returns
    -------
    Volume
        Of float32, on the lattice of the latents.

    References
    ----------
    Khrulkov et al., "Hyperbolic image embeddings", CVPR 2020, section 5.

    Examples
    --------
    >>> from napari_hypseg.latents import open_latents
    >>> where = {"voxel_size": (1, 1, 1), "origin": (0, 0, 0), "name": "a"}
    >>> latents = open_latents(
    ...     None, (1, 1, 2, 2), {**where, "geometry": "hyperbolic", "curvature": 1.0}
    ... )
    >>> latents.array[:] = np.array([[0.0, 0.0], [0.3, 0.4]]).reshape(1, 1, 2, 2)
    >>> print(uncertainty(latents).read().round(4))  # 1 / cosh(log(3)), at half the radius
    [[[1.  0.6]]]
    """
    curvature = latents.curvature if latents.geometry == "hyperbolic" else None
    return _volume(
        latents,
        f"{latents.name} uncertainty",
        lambda points: (1 / np.cosh(distance_to_centre(points, curvature))).astype(np.float32),
    )


def coordinate(latents: Latents, index: int) -> Volume:
    """One latent coordinate of each voxel.

    Parameters
    ----------
    latents : Latents
        Read only where the volume is.
    index : int
        Counted from 0.

    Returns
    -------
    Volume
        Of float32, on the lattice of the latents.

    Raises
    ------
    ValueError
        If there is no such coordinate.
    """
    if not 0 <= index < latents.dim:
        raise ValueError(f"{latents.name}: has coordinates 0 to {latents.dim - 1}, not {index}")
    name = f"{latents.name} coordinate {index + 1}"
    return _volume(latents, name, lambda points: np.ascontiguousarray(points[..., index]))


class _Computed:
    """An array that is computed from latent points in the boxes that are asked for."""

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(
        self,
        latents: Latents,
        compute: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
    ) -> None:
        self.shape = latents.shape
        self._latents, self._compute = latents, compute

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        return self._compute(self._latents.read(key))


def _volume(
    latents: Latents,
    name: str,
    compute: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]],
) -> Volume:
    return Volume(_Computed(latents, compute), latents.voxel_size, latents.origin, name)
