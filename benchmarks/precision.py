"""How often bfloat16 gives float32's label: `python -m benchmarks.precision MODEL VOLUME`.

Both map every voxel; the centroids are fitted on the points of float32.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

import numpy as np
import torch

from napari_hypseg.clustering import hyperbolic_kmeans
from napari_hypseg.clustering.kmeans import nearest
from napari_hypseg.latents import embed
from napari_hypseg.model import load_model
from napari_hypseg.volumes import read_volume


def compare(model_file: str, volume_file: str) -> None:
    model, volume = load_model(model_file), read_volume(volume_file)
    curvature = model.config.curvature if model.config.geometry == "hyperbolic" else None
    points = []
    for fast in (False, True):
        with patch.dict(embed.__globals__, has_fast_bfloat16=lambda _, fast=fast: fast):
            latents = embed(model, volume)
        points.append(latents.read_all().reshape(-1, latents.dim).astype(np.float64))
    full, short = (torch.from_numpy(p) for p in points)
    print(f"{volume.name}: {len(full):,} voxels")
    for k in (2, 8, 30):
        centroids = torch.from_numpy(hyperbolic_kmeans(full, k, curvature=curvature).centroids)
        labels = [nearest(x, centroids, curvature=curvature) for x in (full, short)]
        same = float((labels[0] == labels[1]).double().mean())
        print(f"k = {k}: {100 * same:.3f} % have the same label", flush=True)


if __name__ == "__main__":
    compare(*sys.argv[1:])
