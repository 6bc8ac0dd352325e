"""Rows of the table of a granularity: size of each class, its place in the ball, its origin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from napari_hypseg.clustering import TreeClustering
from napari_hypseg.geometry import distance

__all__ = ["ClassRow", "class_table", "split_from"]


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
        The label that it was part of before it got one of its own; None of label 1.
    """

    label: int
    voxels: int
    fraction: float
    volume_nm3: float
    centroid: tuple[float, ...]
    distance: float
    split_from: int | None


def class_table(
    clustering: TreeClustering,
    k: int,
    voxel_size: tuple[float, float, float],
    *,
    curvature: float | None = 1.0,
) -> list[ClassRow]:
    """The classes at one granularity, in order of their labels.

    Parameters
    ----------
    clustering : TreeClustering
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
    >>> rows = class_table(TreeClustering("kinds", leaves, tree), 2, (10.0, 10.0, 20.0))
    >>> [(row.label, row.voxels, row.fraction, row.volume_nm3) for row in rows]
    [(1, 6, 0.75, 12.0), (2, 2, 0.25, 4.0)]
    """
    nodes = clustering.tree.nodes(k)
    counts, centroids = clustering.tree.counts[nodes], clustering.tree.centroids[nodes]
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


def split_from(clustering: TreeClustering, k: int) -> list[int | None]:
    """For each of the labels 1 to k the label that it was split from, or None."""
    finest = clustering.tree.nodes(k)
    levels = [*(clustering.tree.nodes(level) for level in range(1, k)), finest]
    # One label changes its node from one level to the next: it is the one that was split.
    return [None] + [
        int(np.flatnonzero(before != after[:-1])[0]) + 1 for before, after in pairwise(levels)
    ]
