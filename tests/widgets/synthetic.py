"""A session with proposals that nobody trained for: milliseconds instead of seconds."""

from __future__ import annotations

import numpy as np

from napari_hypseg.clustering import cluster
from napari_hypseg.latents import open_latents
from napari_hypseg.session import Proposals, Session
from napari_hypseg.volumes import Volume

SHAPE = (12, 40, 44)
VOXEL, ORIGIN = (10.0, 8.0, 9.0), (50.0, -16.0, 90.0)


def proposals_of(volume, *, stride=1, box=None, tree="kinds", seed=0):
    """Proposals of some voxels of a volume, each a block of random points."""
    box = box or tuple(slice(0, n) for n in volume.shape)
    shape = tuple(-(-(s.stop - s.start) // stride) for s in box)
    attributes = {
        "voxel_size": tuple(stride * v for v in volume.voxel_size),
        "origin": tuple(
            o + s.start * v for o, s, v in zip(volume.origin, box, volume.voxel_size, strict=True)
        ),
        "name": volume.name, "geometry": "hyperbolic", "curvature": 1.0, "stride": stride,
        "box": [[s.start, s.stop] for s in box], "model": "none",
    }  # fmt: skip
    latents = open_latents(None, (*shape, 2), attributes)
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(*(-(-n // 4) for n in shape), 2)) * 0.25
    points = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)[tuple(slice(n) for n in shape)]
    latents.array[:] = (points + rng.normal(size=points.shape) * 0.01).clip(-0.6, 0.6)
    clustering = cluster(latents, tree=tree, smoothing=0.0)
    made = Proposals(latents, clustering, 0.0, 0, 1, is_kept=False)
    made.cloud  # noqa: B018
    return made


def session_of(folder, **how):
    """A session with proposals of it."""
    voxels = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    session = Session(Volume(voxels, VOXEL, ORIGIN, "lump"), folder)
    session.take(proposals_of(session.volume, **how))
    return session
