"""Features and clusters learned in turns, after Moriya et al. 2018 (JULE of Yang et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.cluster import AgglomerativeClustering, KMeans
from torch import Tensor, nn
from torch.nn.functional import normalize

from napari_hypseg.volumes import Volume
from papers.methods.base import Budget, Method, Predict, cluster_features
from papers.methods.networks import crops, dense, seeded

__all__ = ["METHODS"]

PATCH = 5
PATCHES = 4000
FEATURES = 16
# Clusters in the first and in the last turn; between, they fall geometrically.
FIRST, LAST = 100, 10
TURNS = 5
STEPS = 1500
BATCH = 128
MARGIN = 0.2


class _Unit(nn.Module):
    """Features of length 1."""

    def forward(self, features: Tensor) -> Tensor:
        """The features, shape (batch, n, z, y, x), divided by their norm."""
        return normalize(features, dim=1)


def _fit(volumes: Sequence[Volume], budget: Budget) -> Predict:
    """Merge clusters of patches, then train so that they are apart; k-means at the end.

    Each turn clusters the features of 4,000 patches (k-means of 100 clusters at first, later
    Ward merging to fewer), then trains the network by a triplet loss on these clusters.

    References
    ----------
    Moriya et al., "Unsupervised segmentation of 3D medical images based on clustering and deep
    representation learning", SPIE Medical Imaging 2018; Yang, Parikh and Batra, "Joint
    unsupervised learning of deep representations and image clusters", CVPR 2016.
    """
    generator = seeded(budget.seed)
    network = nn.Sequential(
        nn.Conv3d(1, 32, 3), nn.ReLU(), nn.Conv3d(32, 64, 3), nn.ReLU(),
        nn.Conv3d(64, FEATURES, 1), _Unit(),
    )  # fmt: skip
    patches = next(crops(volumes, (PATCH,) * 3, PATCHES, generator))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    counts = np.geomspace(FIRST, LAST, TURNS).round().astype(int)
    for count in counts:
        with torch.inference_mode():
            found = network(patches).flatten(1).numpy()
        clusters = torch.from_numpy(_clusters(found, int(count), budget.seed))
        for _ in range(max(1, budget.steps(STEPS) // TURNS)):
            anchors = torch.randint(PATCHES, (BATCH,), generator=generator)
            features = network(patches[anchors]).flatten(1)
            loss = _triplet(features, clusters[anchors])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return cluster_features(lambda volume: dense(network, volume, PATCH // 2), budget.seed)


def _clusters(features: npt.NDArray[np.float32], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Clusters of features: k-means makes the finest, Ward's criterion merges them."""
    fine = KMeans(FIRST, n_init=1, random_state=seed).fit(features)
    if count >= FIRST:
        return np.asarray(fine.labels_, np.int64)
    merged = AgglomerativeClustering(count).fit(fine.cluster_centers_).labels_
    return np.asarray(merged[fine.labels_], np.int64)


def _triplet(features: Tensor, clusters: Tensor) -> Tensor:
    """Mean over all triplets of a batch that violate the margin."""
    square = torch.cdist(features, features).square()
    same = clusters[:, None] == clusters[None]
    positive = same & ~torch.eye(len(clusters), dtype=torch.bool)
    gap = (square[:, :, None] - square[:, None, :] + MARGIN).clamp_min(0)
    gap = gap * (positive[:, :, None] & ~same[:, None, :])
    return gap.sum() / (gap > 0).sum().clamp_min(1)


METHODS = (Method("moriya", "Moriya 2018, features and clusters in turns", _fit),)
