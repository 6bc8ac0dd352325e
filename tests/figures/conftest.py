"""A tree over regions of a small volume, and the points it could come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.latents import Latents, open_latents
from napari_hypseg.model import VAE, Model, ModelConfig
from napari_hypseg.volumes import Volume


def random_tree(n: int, seed: int, dim: int = 2) -> MergeTree:
    """A tree of random merges and places; its counts and centroids add up."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 1000, n).tolist()
    centroids = list(rng.normal(size=(n, dim)) * 0.2 / np.sqrt(dim))
    alive, merges = list(range(n)), []
    while len(alive) > 1:
        a, b = (int(i) for i in rng.choice(alive, 2, replace=False))
        merges.append((a, b))
        alive = [i for i in alive if i not in (a, b)] + [len(counts)]
        counts.append(counts[a] + counts[b])
        centroids.append((counts[a] * centroids[a] + counts[b] * centroids[b]) / counts[-1])
    return MergeTree(np.array(merges), np.arange(n - 1.0), np.array(counts), np.array(centroids))


def tree_clustering(kind: str, shape: tuple[int, int, int], dim: int = 2) -> TreeClustering:
    """A random tree whose counts are those of random leaves."""
    n = 16
    leaves = np.random.default_rng(1).integers(0, n, shape).astype(np.uint8)
    tree = random_tree(n, 3, dim)
    counts = np.bincount(leaves.ravel(), minlength=n).tolist()
    for a, b in tree.merges.tolist():
        counts.append(counts[a] + counts[b])
    tree = MergeTree(tree.merges, tree.heights, np.array(counts), tree.centroids)
    return TreeClustering(kind, leaves, tree)


def make_latents(
    shape: tuple[int, int, int],
    *,
    dim: int = 2,
    geometry: str = "hyperbolic",
    voxel_size: tuple[float, float, float] = (10.0, 8.0, 9.0),
    origin: tuple[float, float, float] = (5.0, -7.0, 0.5),
) -> Latents:
    """Random points on a lattice."""
    latents = open_latents(
        None,
        (*shape, dim),
        {
            "voxel_size": voxel_size,
            "origin": origin,
            "name": "lump",
            "geometry": geometry,
            "curvature": 1.0,
        },
    )
    points = np.random.default_rng(2).normal(size=(*shape, dim)) * 0.15
    latents.array[:] = points.astype(np.float32)
    return latents


def make_model(**changes: object) -> Model:
    torch.manual_seed(0)
    patches = ModelConfig(
        latent_dim=2, encoder="stacked", grid=2, hidden=0, channels=(2, 2, 2, 2), planes=2
    )
    network = VAE(replace(patches, **changes)).eval()
    loss = [
        {"step": 20 * i, "total": 9.0 / i, "reconstruction": 8.0 / i, "kl": 0.1 * i, "triplet": 0.0}
        for i in range(1, 6)
    ]
    return Model(network, "custom", {"seed": 0, "seconds": 1.5, "loss": loss})


@pytest.fixture(scope="session")
def lump() -> Volume:
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=(13, 11, 17)).astype(np.float32)
    voxels[3, 4, 5] = np.nan
    return Volume(voxels, (10.0, 8.0, 9.0), (5.0, -7.0, 0.5), "lump")


@pytest.fixture(scope="session")
def model() -> Model:
    return make_model()


@pytest.fixture(scope="session")
def latents() -> Latents:
    return make_latents((13, 11, 17))


@pytest.fixture(scope="session", params=["things", "kinds"])
def clustering(request: pytest.FixtureRequest, latents: Latents) -> TreeClustering:
    """Each of the two kinds of clustering of the lump."""
    return tree_clustering(request.param, latents.shape)
