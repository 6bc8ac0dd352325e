"""Figures of the classes: their size, their place in the ball, their origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from napari_hypseg.clustering import Clustering, TreeClustering
from napari_hypseg.discovery.cloud import Cloud
from napari_hypseg.discovery.partition import OwnClass, Partition
from napari_hypseg.discovery.voxels import count, count_sample
from napari_hypseg.geometry import distance

__all__ = ["ClassRow", "Figures", "Tally", "class_table", "split_from"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class at one granularity.

    Attributes
    ----------
    label : int
        Its label, from 1.
    voxels : int
        Voxels of the labels' lattice in it.
    fraction : float
        Its share of all voxels, 0 to 1.
    volume_nm3 : float
        Its volume, in cubic nanometres.
    centroid : tuple of float
        Frechet mean of its latent points, in the ball (or R^d).
    distance : float
        From the centroid to the centre of the ball, hyperbolic (Euclidean in R^d). Near the
        centre lies what is general or uncertain, farther out what is specific.
    split_from : int or None
        The label that it was part of before it got one of its own; None where it was part of no
        other (label 1, and the classes of a flat clustering).
    """

    label: int
    voxels: int
    fraction: float
    volume_nm3: float
    centroid: tuple[float, ...]
    distance: float
    split_from: int | None


def class_table(
    clustering: Clustering,
    k: int,
    voxel_size: tuple[float, float, float],
    *,
    curvature: float | None = 1.0,
) -> list[ClassRow]:
    """The classes at one granularity, in order of their labels.

    A tree knows its counts; the voxels are gone through only for a flat clustering.

    Parameters
    ----------
    clustering : TreeClustering or FlatClustering
        The clusters.
    k : int
        Number of classes.
    voxel_size : tuple of float
        Of the labels' lattice (``latents.voxel_size``), along (z, y, x), in angstrom.
    curvature : float or None
        The ball has curvature ``-curvature``; None for a Euclidean latent space.

    Raises
    ------
    ValueError
        If there are no k classes.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_hypseg.clustering import MergeTree, TreeClustering
    >>> tree = MergeTree(np.array([[0, 1]]), np.ones(1), np.array([6, 2, 8]), np.zeros((3, 2)))
    >>> leaves = np.repeat(np.uint8([0, 1]), [6, 2]).reshape(2, 2, 2)
    >>> rows = class_table(TreeClustering("disk", leaves, tree), 2, (10.0, 10.0, 20.0))
    >>> [(row.label, row.voxels, row.fraction, row.volume_nm3) for row in rows]
    [(1, 6, 0.75, 12.0), (2, 2, 0.25, 4.0)]
    """
    if isinstance(clustering, TreeClustering):
        nodes = clustering.tree.nodes(k)
        counts, centroids = clustering.tree.counts[nodes], clustering.tree.centroids[nodes]
    else:
        counts, centroids = clustering.counts(k), clustering.centroids(k)
    points = torch.from_numpy(centroids)
    if curvature is None:
        radii = points.norm(dim=1)
    else:
        radii = distance(points, torch.zeros_like(points), c=curvature)
    total, voxel = int(counts.sum()), math.prod(voxel_size) / 1e3
    return [
        ClassRow(label, count, count / total, count * voxel, tuple(centroid), radius, parent)
        for label, (count, centroid, radius, parent) in enumerate(
            zip(
                counts.tolist(),
                centroids.tolist(),
                radii.tolist(),
                split_from(clustering, k),
                strict=True,
            ),
            start=1,
        )
    ]


def split_from(clustering: Clustering, k: int) -> list[int | None]:
    """For each of the labels 1 to k the label that it was split from, or None."""
    if not isinstance(clustering, TreeClustering):
        return [None] * k
    finest = clustering.tree.nodes(k)
    levels = [*(clustering.tree.nodes(level) for level in range(1, k)), finest]
    # One label changes its node from one level to the next: it is the one that was split.
    return [None] + [
        int(np.flatnonzero(before != after[:-1])[0]) + 1 for before, after in pairwise(levels)
    ]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one class of a partition comes to.

    Attributes
    ----------
    voxels : int
        Voxels of the labels' lattice with its label.
    volume_nm3 : float
        Their volume, in cubic nanometres.
    distance : float
        Mean distance of their latent points to the centre of the ball; NaN where none of them is
        in the cloud. Near the centre lies what is general or uncertain.
    """

    voxels: int
    volume_nm3: float
    distance: float


class Tally:
    """Counts that give the figures of any partition at once.

    Parameters
    ----------
    clustering : TreeClustering
    cloud : Cloud
        The latent points of its voxels, or of a sample of them.
    """

    def __init__(self, clustering: TreeClustering, cloud: Cloud) -> None:
        self._leaves, self._tree = clustering.leaves.reshape(-1), clustering.tree
        # In the order of the voxels, where what is near lies near in memory.
        order = cloud.voxels.argsort()
        self._voxels = cloud.voxels[order]
        norms = np.linalg.norm(cloud.points[order], axis=1).astype(np.float64)
        if cloud.curvature is not None:
            root = math.sqrt(cloud.curvature)
            # Rounding may put a point of the rim on it.
            norms = 2 / root * np.arctanh(np.minimum(root * norms, 1 - 1e-7))
        self._radii = norms.astype(np.float32)
        self._sampled = self._leaves[self._voxels]
        self._own: tuple[OwnClass, ...] | None = None
        self._table: tuple[Counts, Counts, Array]

    def knows(self, partition: Partition) -> bool:
        """Whether the figures are there at once: else all voxels of the own classes are counted."""
        return not partition.own or partition.own is self._own

    def figures(
        self, partition: Partition, voxel_size: tuple[float, float, float]
    ) -> list[Figures]:
        """Figures of all classes, in order of their labels.

        Parameters
        ----------
        partition : Partition
            Of the same clustering.
        voxel_size : tuple of float
            Of the labels' lattice (``latents.voxel_size``), along (z, y, x), in angstrom.
        """
        if partition.own is not self._own:
            self._table, self._own = self._count(partition), partition.own
        lookup = partition.lookup()
        voxel = math.prod(voxel_size) / 1e3

        def summed(table: npt.NDArray[np.generic]) -> Array:
            of_tree = np.bincount(lookup, table[0], minlength=partition.k + 1)[1:]
            return np.concatenate([of_tree, table[1:].sum(1)])

        voxels, sampled, distances = map(summed, self._table)
        means = np.divide(distances, sampled, where=sampled > 0, out=np.full_like(sampled, np.nan))
        return [
            Figures(int(count), count * voxel, mean)
            for count, mean in zip(voxels.tolist(), means.tolist(), strict=True)
        ]

    def _count(self, partition: Partition) -> tuple[Counts, Counts, Array]:
        """Voxels, sampled points and the sums of their distances, each by own class and leaf.

        Row 0 is what no own class has, shape (m + 1, n) each.
        """
        rows, n = len(partition.own) + 1, self._tree.n_leaves
        if rows == 1:
            sampled: Counts = np.bincount(self._sampled, minlength=n)
            distances = np.bincount(self._sampled, self._radii, minlength=n).astype(np.float64)
            return self._tree.counts[None, :n], sampled[None], distances[None]
        owners = partition.own_values()
        owned = count(owners, self._leaves, rows - 1, n)
        voxels = np.concatenate([self._tree.counts[None, :n] - owned.sum(0), owned])
        return voxels, *count_sample(owners, self._voxels, self._sampled, self._radii, rows, n)
