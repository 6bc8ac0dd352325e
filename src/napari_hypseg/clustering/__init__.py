"""Hyperbolic k-means, the two merge trees, and labels at any granularity."""

from napari_hypseg.clustering.cluster import (
    Kind,
    TreeClustering,
    cluster,
    cluster_job,
)
from napari_hypseg.clustering.kmeans import KMeans, hyperbolic_kmeans, hyperbolic_kmeans_job
from napari_hypseg.clustering.store import open_clustering, save_clustering_job
from napari_hypseg.clustering.tree import MergeTree

__all__ = [
    "KMeans",
    "Kind",
    "MergeTree",
    "TreeClustering",
    "cluster",
    "cluster_job",
    "hyperbolic_kmeans",
    "hyperbolic_kmeans_job",
    "open_clustering",
    "save_clustering_job",
]
