"""Latent points made by hand, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from napari_hypseg.latents.store import Latents, open_latents


@pytest.fixture(scope="session")
def latents_of() -> Callable[..., Latents]:
    """A function that puts points, shape (z, y, x, d), into a store in memory."""

    def make(
        points: npt.NDArray[np.floating], geometry: str = "hyperbolic", curvature: float = 1.0
    ) -> Latents:
        latents = open_latents(
            None,
            points.shape,
            {
                "voxel_size": [1.0, 1.0, 1.0],
                "origin": [0.0, 0.0, 0.0],
                "name": "lump",
                "geometry": geometry,
                "curvature": curvature,
            },
        )
        latents.array[:] = points
        return latents

    return make
