"""k-means: ours beside scikit-learn's, geomstats' and a plain loop of Lou's means."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.cluster import KMeans, MiniBatchKMeans

from benchmarks.measure import Row, take_turns
from napari_hypseg.clustering import hyperbolic_kmeans
from napari_hypseg.geometry import distance, exp0

RESTARTS, CLUSTERS = 4, 8


def points(count: int) -> np.ndarray:
    """Points of the disk from eight overlapping wrapped normals."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(-0.5, 0.5, (CLUSTERS, 2))
    tangent = centres[rng.integers(0, CLUSTERS, count)] + 0.12 * rng.normal(size=(count, 2))
    return exp0(torch.from_numpy(tangent)).numpy()


def lou_round(x: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """A round in CIHS's way: assignment, then 10 of Lou's steps, each a loop over the points."""
    gap = 1 - np.square(centroids).sum(1)
    labels = [int(np.argmin(np.square(p - centroids).sum(1) / gap)) for p in x]
    means = centroids.copy()
    for cluster in range(len(centroids)):
        members = [p for p, label in zip(x, labels, strict=True) if label == cluster]
        for _ in range(10):
            mean = means[cluster]
            a, b, c = 0.0, np.zeros(2), 0.0
            for p in members:
                y = ((p - mean) ** 2).sum() / ((1 - (p**2).sum()) * (1 - (mean**2).sum()))
                v = 1 + 2 * max(y, 1e-12)
                g = 2 * math.acosh(v) / math.sqrt(v * v - 1)
                weight = g / (1 - (p**2).sum())
                a, b, c = a + weight, b + weight * p, c + weight * (p**2).sum()
            squared = (b**2).sum()
            if squared > 0:
                total = a + c
                means[cluster] = b * (total - math.sqrt(total**2 - 4 * squared)) / (2 * squared)
    return means


def run(quick: bool) -> list[Row]:
    count = 100_000 if quick else 1_000_000
    x = points(count)
    single = x.astype(np.float32)
    options = {"n_init": RESTARTS, "random_state": 0}
    table = f"k-means, {count:,} points, d = 2, k = {CLUSTERS}, {RESTARTS} restarts"
    rows = take_turns(
        table,
        {
            "scikit-learn KMeans (Euclidean)": (
                lambda: KMeans(CLUSTERS, **options).fit(single), 1,
            ),
            "scikit-learn MiniBatchKMeans (Euclidean)": (
                lambda: MiniBatchKMeans(CLUSTERS, **options).fit(single), 1,
            ),
            "ours (hyperbolic)": (
                lambda: hyperbolic_kmeans(x, CLUSTERS, n_init=RESTARTS), 1,
            ),
        },
        "fits a second",
        2 if quick else 5,
    )  # fmt: skip

    few = x[:2000]
    start = few[:CLUSTERS].copy()
    rows += take_turns(
        "one round of k-means, points",
        {
            "Lou's means in a loop, as in CIHS (2,000 points)": (
                lambda: lou_round(few, start), len(few),
            ),
            "ours (all points)": (
                lambda: hyperbolic_kmeans(x, CLUSTERS, n_init=1, max_iter=1), len(x),
            ),
        },
        "a second",
        2,
    )  # fmt: skip
    return rows + _geomstats(x[:20_000])


def _geomstats(few: np.ndarray) -> list[Row]:
    """Riemannian k-means of geomstats, where it is installed."""
    # geomstats 2.8 asks for a name that NumPy 2.4 has dropped.
    vars(np)["trapz"] = np.trapezoid
    try:
        from geomstats.geometry.poincare_ball import PoincareBall
        from geomstats.learning.kmeans import RiemannianKMeans
    except ImportError:
        return []
    rows = take_turns(
        f"Riemannian k-means, {len(few):,} points, 1 restart",
        {
            "geomstats": (
                lambda: RiemannianKMeans(PoincareBall(2), CLUSTERS, init="random").fit(few), 1,
            ),
            "ours": (lambda: hyperbolic_kmeans(few, CLUSTERS, n_init=1), 1),
        },
        "fits a second",
        2,
    )  # fmt: skip
    theirs = RiemannianKMeans(PoincareBall(2), CLUSTERS, init="random").fit(few)
    x = torch.from_numpy(few)
    apart = distance(x[:, None], torch.from_numpy(theirs.cluster_centers_)[None]).amin(1)
    mine = hyperbolic_kmeans(few, CLUSTERS, n_init=1).inertia
    excess = 100 * (mine / float(apart.square().sum()) - 1)
    return [*rows, Row(rows[0].table, "ours, inertia above geomstats'", excess, "%")]
