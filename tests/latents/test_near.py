"""Voxels near a latent point, against the distance of each in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_hypseg.jobs import Progress, finish
from napari_hypseg.latents import near_job, open_latents

# Several chunks, the last ones cut off.
SHAPE = (33, 66, 3)


def make_latents(dim, geometry, curvature):
    """Points out to a hair's breadth of the rim."""
    latents = open_latents(
        None,
        (*SHAPE, dim),
        {
            "voxel_size": (10.0, 8.0, 9.0), "origin": (0.0, 0.0, 0.0), "name": "lump",
            "geometry": geometry, "curvature": curvature,
        },
    )  # fmt: skip
    rng = np.random.default_rng(0)
    points = rng.normal(size=(*SHAPE, dim))
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    points *= rng.uniform(0, 0.999, (*SHAPE, 1)) / math.sqrt(curvature)
    latents.array[:] = points.astype(np.float32)
    return latents


def distance(x, p, curvature):
    gap = sum((a - b) ** 2 for a, b in zip(x, p, strict=True))
    if curvature is None:
        return math.sqrt(gap)
    below = (1 - curvature * sum(a * a for a in x)) * (1 - curvature * sum(b * b for b in p))
    return math.acosh(1 + 2 * curvature * gap / below) / math.sqrt(curvature)


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("length", [0.0, 0.5, 0.95])
@pytest.mark.parametrize(
    ("dim", "geometry", "curvature"),
    [(2, "hyperbolic", 1.0), (3, "hyperbolic", 1.0), (2, "hyperbolic", 0.5),
     (3, "hyperbolic", 0.5), (2, "euclidean", 1.0)],
)  # fmt: skip
def test_near_are_those_within_the_distance(dim, geometry, curvature, length, radius):
    latents = make_latents(dim, geometry, curvature)
    point = np.zeros(dim)
    point[:2] = np.array([0.6, -0.8]) * length / math.sqrt(curvature)
    latents.array[30, 65, 2] = point.astype(np.float32)
    mask = finish(near_job(latents, point, radius))
    assert (mask.shape, mask.dtype) == (SHAPE, bool)
    used = curvature if geometry == "hyperbolic" else None
    apart = np.array(
        [distance(x, point.tolist(), used) for x in latents.read().reshape(-1, dim).tolist()]
    ).reshape(SHAPE)
    # What rounding to single precision may put on the other side.
    clear = abs(apart - radius) > 1e-3 * radius
    assert (~clear).mean() < 0.005
    np.testing.assert_array_equal(mask[clear], (apart < radius)[clear])
    assert mask[30, 65, 2]


def test_no_radius_and_any():
    latents = make_latents(2, "hyperbolic", 1.0)
    point = latents.read((4, 5, 1))
    assert np.argwhere(finish(near_job(latents, point, 0.0))).tolist() == [[4, 5, 1]]
    assert finish(near_job(latents, point, math.inf)).all()
    for radius in (-0.1, math.nan):
        with pytest.raises(ValueError, match="a radius is a distance from 0 on"):
            finish(near_job(latents, point, radius))


def test_voxels_that_are_not_mapped_are_not_near():
    latents = make_latents(2, "hyperbolic", 1.0)
    latents.array[3:5] = np.nan
    mask = finish(near_job(latents, np.zeros(2), 100.0))
    assert not mask[3:5].any()
    assert mask[:3].all()
    assert mask[5:].all()


def test_it_tells_how_far_it_is():
    seen = []
    finish(near_job(make_latents(2, "hyperbolic", 1.0), np.zeros(2), 1.0), seen.append)
    assert all(isinstance(progress, Progress) for progress in seen)
    assert [progress.done for progress in seen] == [0, 1, 2, 3]
    assert {progress.total for progress in seen} == {4}
