"""Methods that look at intensities only: k-means and Ward's tree after smoothing, no learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_tv_chambolle
from sklearn.cluster import ward_tree
from sklearn.feature_extraction.image import grid_to_graph

from napari_hypseg.clustering import MergeTree
from napari_hypseg.clustering.regions import regions_job
from napari_hypseg.clustering.ward import Merges, merge_regions_job
from napari_hypseg.jobs import finish
from napari_hypseg.volumes import Volume
from papers.methods.base import (
    Budget,
    Features,
    Labels,
    Method,
    Predict,
    cluster_features,
    normalised,
    remember_last,
)

__all__ = ["METHODS", "ward"]

# Weights are for intensities of unit variance; 0.3 is 0.2 in the toy volumes' own units. The strong
# ones are for tomograms, whose noise is as large as their contrast.
SIGMA, STRONG_SIGMA = 1.0, 2.0
WEIGHT, STRONG_WEIGHT = 0.3, 2.0
# Beyond, scikit-learn's tree takes too long (12 s for 125,000 voxels), and ours stands for it.
MOST_VOXELS = 300_000


Smooth = Callable[[Volume], Features]
Fit = Callable[[Sequence[Volume], Budget], Predict]


def _gaussian(sigma: float) -> Smooth:
    def smooth(volume: Volume) -> Features:
        smoothed: Features = gaussian_filter(normalised(volume), sigma)
        return smoothed

    return smooth


def _total_variation(weight: float) -> Smooth:
    def smooth(volume: Volume) -> Features:
        smoothed: Features = denoise_tv_chambolle(normalised(volume), weight)  # type: ignore[no-untyped-call]
        return smoothed

    return smooth


def _kmeans(smooth: Smooth) -> Fit:
    def fit(_volumes: Sequence[Volume], budget: Budget) -> Predict:
        return cluster_features(lambda volume: smooth(volume)[..., None], budget.seed)

    return fit


def _ward(smooth: Smooth) -> Fit:
    def fit(_volumes: Sequence[Volume], _budget: Budget) -> Predict:
        tree = remember_last(lambda volume: ward(smooth(volume)))
        return lambda volume, k: tree(volume)(k)

    return fit


def ward(voxels: Features) -> Callable[[int], Labels]:
    """Labels, 0 to k - 1, for each k of Ward's tree on the graph of the voxels' six neighbours."""
    points = voxels[..., None].astype(np.float64)
    leaves: npt.NDArray[np.integer] = np.arange(voxels.size).reshape(voxels.shape)
    if voxels.size <= MOST_VOXELS:
        graph = grid_to_graph(*voxels.shape)
        pairs = ward_tree(points.reshape(-1, 1), connectivity=graph)[0]
        # In their order: with a graph, heights may fall from part to whole.
        merges, counts = Merges(pairs, np.arange(len(pairs), dtype=float)), np.ones(voxels.size)
    else:
        job = regions_job(voxels.shape, lambda box: points[box], leaves=255, curved=0)
        labels, regions = finish(job)
        leaves = np.concatenate(list(labels.slabs()))
        counts = regions.weights.copy()
        merges = finish(merge_regions_job(regions, 1, curved=0))[1]
    tree = MergeTree.from_merges(merges, counts, np.zeros((2 * len(counts) - 1, 1)))
    return lambda k: tree.lookup(k)[leaves] - np.uint8(1)


METHODS = (
    Method("kmeans-raw", "k-means, raw intensity", _kmeans(normalised), learns=False),
    Method("kmeans-gaussian", "k-means after a Gaussian", _kmeans(_gaussian(SIGMA)), learns=False),
    Method(
        "kmeans-gaussian-strong", "k-means after a strong Gaussian",
        _kmeans(_gaussian(STRONG_SIGMA)), learns=False,
    ),
    Method(
        "kmeans-tv", "k-means after total variation", _kmeans(_total_variation(WEIGHT)),
        learns=False,
    ),
    Method(
        "kmeans-tv-strong", "k-means after strong total variation",
        _kmeans(_total_variation(STRONG_WEIGHT)), learns=False,
    ),
    Method(
        "ward-tv", "Ward on the voxel graph after total variation",
        _ward(_total_variation(WEIGHT)), learns=False, seeded=False,
    ),
    Method(
        "ward-tv-strong", "Ward on the voxel graph after strong total variation",
        _ward(_total_variation(STRONG_WEIGHT)), learns=False, seeded=False,
    ),
)  # fmt: skip
