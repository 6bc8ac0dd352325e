"""CIHS in the configurations of its ablation tables, and what this package does by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from napari_hypseg.clustering import TreeClustering, cluster, hyperbolic_kmeans
from napari_hypseg.clustering.kmeans import nearest
from napari_hypseg.latents import Latents, embed
from napari_hypseg.model import Model, Preset, get_preset
from napari_hypseg.training.train import is_trained_so, train
from napari_hypseg.volumes import Volume
from papers.methods.base import (
    RESTARTS,
    Budget,
    Labels,
    Method,
    Predict,
    remember_last,
    sample,
)

__all__ = ["DIMENSIONS", "METHODS", "kmeans_of_points", "shortened"]

DIMENSIONS = (3, 5, 8, 16)
# The papers' 12,000 steps at a rate of 5e-5 would take days on a CPU for all rows; fewer at the
# rate that our default uses come to about the same loss.
STEPS = 1500
RATE = 1e-3
# Of the published widths, whose step takes ten times as long.
STACKED_STEPS = 200

# The last model: rows that differ in the clustering only share it.
_LAST: list[Model] = []

Fit = Callable[[Sequence[Volume], Budget], Predict]
Mapper = Callable[[Volume], Latents]


def shortened(name: str, dimension: int) -> Preset:
    """One of CIHS's configurations with a quarter of its widths and batch, trained for a while."""
    published = get_preset(name)
    model = replace(
        published.model, channels=(4, 8, 16, 32), hidden=75, planes=75, latent_dim=dimension
    )
    return Preset(model, replace(_faster(published).training, batch_size=32))


def _faster(published: Preset) -> Preset:
    training = replace(published.training, learning_rate=RATE, ball_learning_rate=RATE, decay=True)
    return replace(published, training=training)


def _latents(volumes: Sequence[Volume], budget: Budget, preset: Preset, steps: int) -> Mapper:
    count, seed = budget.steps(steps), budget.seed
    if not (_LAST and is_trained_so(_LAST[0], volumes, preset=preset, steps=count, seed=seed)):
        _LAST[:] = [train(volumes, preset=preset, steps=count, seed=seed)]
    model = _LAST[0]
    return lambda volume: embed(model, volume)


def _kmeans(preset: Preset, steps: int) -> Fit:
    def fit(volumes: Sequence[Volume], budget: Budget) -> Predict:
        return kmeans_of_points(
            remember_last(_latents(volumes, budget, preset, steps)), budget.seed
        )

    return fit


def kmeans_of_points(mapper: Mapper, seed: int) -> Predict:
    """The papers' clustering: k-means of the latent points, anew for each volume and each k."""

    def predict(volume: Volume, k: int) -> Labels:
        latents = mapper(volume)
        points = latents.read().reshape(-1, latents.dim)
        curvature = latents.curvature if latents.geometry == "hyperbolic" else None
        drawn = points[sample(len(points), seed)].astype(np.float64)
        means = hyperbolic_kmeans(
            drawn, k, seed=seed, n_init=RESTARTS, curvature=curvature
        ).centroids
        found = nearest(torch.from_numpy(points), torch.from_numpy(means), curvature=curvature)
        labels: Labels = found.numpy().astype(np.uint8).reshape(volume.shape)
        return labels

    return predict


def _tree(kind: Literal["things", "kinds"]) -> Fit:
    """What `hypseg run` does: default preset, smoothing, one of the two trees."""

    def fit(volumes: Sequence[Volume], budget: Budget) -> Predict:
        preset = get_preset("default")
        mapper = _latents(volumes, budget, preset, preset.training.steps)

        def grow(volume: Volume) -> TreeClustering:
            return cluster(mapper(volume), volume, tree=kind, seed=budget.seed)

        tree = remember_last(grow)
        return lambda volume, k: tree(volume).labels(k) - np.uint8(1)

    return fit


def _rows() -> list[Method]:
    names = {
        "cihs-euclidean-base": "Euclidean, base",
        "cihs-euclidean-triplet": "Euclidean, triplet",
        "cihs-base": "hyperbolic, base",
        "cihs-gyroconv": "hyperbolic, gyroplane",
        "cihs-triplet": "hyperbolic, triplet",
        "cihs": "hyperbolic, gyroplane and triplet",
    }
    rows = [
        Method(name, f"CIHS, {title}", _kmeans(shortened(name, 2), STEPS))
        for name, title in names.items()
    ]
    # The papers' table 8: the full model against the Euclidean one with the triplet loss.
    rows += [
        Method(
            f"{name}-d{d}",
            f"CIHS, {names[name]}, d = {d}",
            heavy=True,
            fit=_kmeans(shortened(name, d), STEPS),
        )
        for d in DIMENSIONS
        for name in ("cihs", "cihs-euclidean-triplet")
    ]
    default = get_preset("default")
    return [
        *rows,
        Method(
            "cihs-stacked", "CIHS, the published widths", heavy=True,
            fit=_kmeans(_faster(get_preset("cihs")), STACKED_STEPS),
        ),
        Method(
            "hypseg", "this package: default, tree of things", _tree("things"), model="default"
        ),
        Method(
            "hypseg-disk", "this package: default, tree of kinds", _tree("kinds"), model="default"
        ),
        Method(
            "hypseg-kmeans", "this package: default, not smoothed, k-means",
            _kmeans(default, default.training.steps), model="default",
        ),
    ]  # fmt: skip


METHODS = tuple(_rows())
