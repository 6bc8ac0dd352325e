"""What it costs to fit clusters on cells or on a sample: `python -m benchmarks.bins STORE ...`.

For stores of latent points (``latents.zarr`` in a folder that hypseg has left) it compares the
labels of centroids fitted on the reduced points with those of centroids fitted on all, both from
the same starts, and labels looked up in the grid with the nearest of the same centroids.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch

from napari_hypseg.clustering.kmeans import _lloyd_job, hyperbolic_kmeans, nearest
from napari_hypseg.clustering.lookup import Lookup
from napari_hypseg.clustering.reduce import reduce_job
from napari_hypseg.jobs import finish
from napari_hypseg.latents import find_latents

ROUNDS = 300


def fit(
    points: np.ndarray, weights: np.ndarray, start: np.ndarray, curvature: float | None
) -> torch.Tensor:
    """Centroids after rounds of k-means from a start."""
    x, w = torch.from_numpy(points), torch.from_numpy(weights)
    job = _lloyd_job(x, w, torch.from_numpy(start)[None], range(ROUNDS), ROUNDS, curvature)
    return finish(job)[1][0]


def compare(store: str) -> None:
    latents = find_latents(store)
    curvature = latents.curvature if latents.geometry == "hyperbolic" else None
    every = latents.read_all().reshape(-1, latents.dim).astype(np.float64)
    x = torch.from_numpy(every)
    few, weights = finish(reduce_job(latents))
    print(f"{store}: {len(every):,} points, d = {latents.dim}, reduced to {len(few):,}")
    for k in (2, 8, 30):
        start = hyperbolic_kmeans(few, k, weights=weights, curvature=curvature).centroids
        reduced = fit(few, weights, start, curvature)
        plain = fit(every, np.ones(len(every)), start, curvature)
        labels = [nearest(x, c, curvature=curvature) for c in (reduced, plain)]
        agree = float((labels[0] == labels[1]).double().mean())
        line = f"k = {k}: fitted on the reduced and on all points {100 * agree:.3f} % agree"
        if latents.dim == 2:
            grid = Lookup([reduced.numpy()], np.abs(few).max(), math.prod(latents.shape), curvature)
            found, _ = grid.labels(every)
            same = float((found[0] == labels[0].numpy()).mean())
            line += f"; looked up {100 * same:.3f} %"
        print(line, flush=True)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        compare(path)
