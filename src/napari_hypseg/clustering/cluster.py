"""Clusters of a volume at every granularity: the tree of things, and the tree of kinds."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse.csgraph import connected_components

from napari_hypseg.clustering.agglomerate import Counts, contacts_job, merge_borders_job
from napari_hypseg.clustering.kinds import kinds_job
from napari_hypseg.clustering.regions import regions_job
from napari_hypseg.clustering.tree import MergeTree
from napari_hypseg.clustering.ward import Merges, Regions, merge_regions_job, to_hyperboloid
from napari_hypseg.geometry import geodesic
from napari_hypseg.jobs import Job, Progress, finish
from napari_hypseg.latents.outside import outside_job
from napari_hypseg.latents.smooth import smooth_job
from napari_hypseg.latents.store import Latents
from napari_hypseg.volumes.volume import Box, Volume

__all__ = [
    "OUTSIDE",
    "Kind",
    "Level",
    "TreeClustering",
    "cluster",
    "cluster_job",
]

Kind = Literal["things", "kinds"]
Points = npt.NDArray[np.float64]

# Regions that merge by what their borders are worth, ...
_REGIONS = 500
# ... down to the leaves of the tree of the volume: one byte tells these and 15 classes of a
# person's own apart.
_MOST_LEAVES = 240
# Leaves of the tree of kinds: the largest granularity that a person may ask for, doubled.
_LEAVES = 60
# The leaf of what lies outside.
OUTSIDE = 255
# So far, in standard deviations, what lies outside is from all else: no region holds both.
_FAR = 1e4


@dataclass(frozen=True)
class Level:
    """Labels of a level of a tree as an array that looks them up where it is read.

    Attributes
    ----------
    leaves : array of uint8, shape (z, y, x)
        Leaf of each voxel.
    lookup : array of uint8, shape (256,)
        Label of each leaf, 0 where there is none.
    """

    leaves: npt.NDArray[np.uint8]
    lookup: npt.NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along (z, y, x)."""
        return self.leaves.shape

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Type of a label."""
        return self.lookup.dtype

    def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
        """Labels of a part, as indexing a NumPy array gives them."""
        labels: npt.NDArray[np.uint8] = self.lookup[self.leaves[key]]
        return labels


@dataclass(frozen=True)
class TreeClustering:
    """A tree over the leaves of a volume.

    Attributes
    ----------
    kind : {"things", "kinds"}
        The tree of things (leaves are regions; those merge that touch or lie in the same one) or
        of kinds (leaves are clusters of latent points, wherever they lie).
    leaves : array of uint8, shape (z, y, x)
        Leaf of each voxel, 0 to n - 1; 255 outside, where there is only padding.
    tree : MergeTree
        How the leaves join.
    """

    kind: Kind
    leaves: npt.NDArray[np.uint8]
    tree: MergeTree

    @property
    def most(self) -> int:
        """The finest granularity."""
        return self.tree.n_leaves

    def labels(self, k: int) -> npt.NDArray[np.uint8]:
        """Labels 1 to k of the voxels, 0 outside; each level subdivides the one before."""
        return self.level(k)[:]

    def level(self, k: int) -> Level:
        """`labels`, looked up where they are read: no byte a voxel for each k."""
        lookup = np.zeros(OUTSIDE + 1, np.uint8)
        lookup[: self.tree.n_leaves] = self.tree.lookup(k)
        return Level(self.leaves, lookup)

    def to_dict(self) -> dict[str, Any]:
        """The tree in plain values, for JSON; the leaves are a volume of their own."""
        return {"kind": self.kind, **self.tree.to_dict()}


def cluster(
    latents: Latents,
    volume: Volume | None = None,
    *,
    tree: Kind = "things",
    smoothing: float = 1.0,
    seed: int = 0,
) -> TreeClustering:
    """Cluster the latent points of a volume, at every granularity at once.

    Parameters
    ----------
    latents : Latents
        The points.
    volume : Volume, optional
        The volume that was mapped: what of it is padding stays outside.
    tree : {"things", "kinds"}
        The tree of things: which things contain which (regions merge that touch, or that lie
        in the same one). The tree of kinds: what kinds of thing are there (clusters merge
        wherever they lie).
    smoothing : float
        Weight of the total-variation smoothing before clustering; 0 for none.
    seed : int
        Seed of k-means.

    Returns
    -------
    TreeClustering

    Examples
    --------
    >>> import napari_hypseg as hs
    >>> toy = hs.make_toy("regular").volume
    >>> clusters = hs.cluster(hs.embed(hs.train(toy, steps=2), toy, stride=5), toy)
    >>> sorted(set(clusters.labels(3).ravel().tolist()))
    [1, 2, 3]
    """
    return finish(cluster_job(latents, volume, tree=tree, smoothing=smoothing, seed=seed))


def cluster_job(
    latents: Latents,
    volume: Volume | None = None,
    *,
    tree: Kind = "things",
    smoothing: float = 1.0,
    seed: int = 0,
    store: str | os.PathLike[str] | None = None,
) -> Job[TreeClustering]:
    """The generator twin of `cluster`.

    Parameters
    ----------
    store : path, optional
        Folder of the Zarr store for the smoothed points, which a later run then finds; in memory
        without it.

    Raises
    ------
    VolumeError
        If the latents are not complete.
    ValueError
        If there is no such tree, the smoothing is negative, or the points are another volume's.
    """
    if tree not in get_args(Kind):
        raise ValueError(f"there is no tree {tree!r}: things or kinds")
    outside = None if volume is None else (yield from outside_job(volume, latents))
    if smoothing:
        latents = yield from smooth_job(latents, smoothing, store=store)
    if tree == "things":
        return (yield from _things_job(latents, outside))
    return (yield from _kinds_job(latents, outside, seed))


def _curvature(latents: Latents) -> float | None:
    return latents.curvature if latents.geometry == "hyperbolic" else None


def _things_job(latents: Latents, outside: npt.NDArray[np.bool_] | None) -> Job[TreeClustering]:
    """The tree of regions that touch, or lie in the same one."""
    curvature, d = _curvature(latents), latents.dim

    def read(box: Box) -> Points:
        points: Points = latents.read_all(box).astype(np.float64)
        if curvature is not None:
            points = to_hyperboloid(points, curvature)
        if outside is not None:
            away = outside[box][..., None]
            points = np.concatenate([np.where(away, 0, points), away * _FAR], -1)
        return points

    count, curved = min(_REGIONS, math.prod(latents.shape)), d if curvature else 0
    labels, regions = yield from regions_job(latents.shape, read, leaves=count, curved=curved)
    contacts = yield from contacts_job(labels.slabs(), latents.shape[0], count)
    inside = np.ones(count, np.bool_)
    if outside is not None:
        inside = regions.points[:, -1] < _FAR / 2
        regions, contacts = _without(regions, contacts, inside)
    tree = yield from _tree_job(regions, curvature, d, contacts)
    leaf, tree = tree.pruned(_MOST_LEAVES)
    table = np.full(count, OUTSIDE, np.uint8)
    table[inside] = leaf
    leaves, done = np.empty(latents.shape, np.uint8), 0
    for slab in labels.slabs():
        yield Progress("labelling voxels", done, len(leaves))
        leaves[done : done + len(slab)] = table[slab]
        done += len(slab)
    return TreeClustering("things", leaves, tree)


def _without(
    regions: Regions, contacts: Counts, inside: npt.NDArray[np.bool_]
) -> tuple[Regions, Counts]:
    """The regions that lie inside: where they touched others, the volume ends."""
    kept = contacts[np.ix_(inside, inside)]
    kept[np.diag_indices(len(kept))] += contacts[np.ix_(inside, ~inside)].sum(1)
    # Parts that only what lies outside holds together have to join at last, too: as by one voxel.
    _, part = connected_components(kept, directed=False)
    for first in np.unique(part, return_index=True)[1][1:]:
        kept[0, first] = kept[first, 0] = 1
    none = np.empty((0, 2), np.int32)  # Of these only the contacts are looked at.
    return (
        Regions(
            np.ascontiguousarray(regions.points[inside, :-1]), regions.weights[inside], none,
            regions.heights[inside],
        ),
        kept,
    )  # fmt: skip


def _kinds_job(
    latents: Latents, outside: npt.NDArray[np.bool_] | None, seed: int
) -> Job[TreeClustering]:
    """The tree of clusters of points, wherever they lie."""
    curvature = _curvature(latents)
    labels, regions = yield from kinds_job(
        _rows(latents), latents.shape, latents.read_all,
        leaves=_LEAVES, curvature=curvature, seed=seed, outside=outside,
    )  # fmt: skip
    return TreeClustering("kinds", labels, (yield from _tree_job(regions, curvature, latents.dim)))


def _rows(latents: Latents) -> list[Box]:
    """Chunks in a row along x, as one box: long rows are copied faster."""
    end = latents.shape[2]
    return [(z, y, slice(0, end)) for z, y, x in latents.chunk_boxes() if not x.start]


def _tree_job(
    regions: Regions, curvature: float | None, d: int, contacts: Counts | None = None
) -> Job[MergeTree]:
    """The tree of leaves that are given as regions; d of their coordinates are latent.

    By what their borders are worth where these have an area, else by Ward's criterion.
    """
    counts = regions.weights.copy()
    centroids = regions.points[:, :d].copy()
    if curvature:
        # Back from the hyperboloid to the ball.
        time = np.sqrt(1 + np.square(centroids).sum(1, keepdims=True))
        centroids = centroids / ((1 + time) * np.sqrt(curvature))
    curved = d if curvature else 0
    if contacts is None:
        _, merges, _ = yield from merge_regions_job(regions, 1, curved=curved)
    else:
        merges = yield from merge_borders_job(regions, contacts, curved=curved)
    return MergeTree.from_merges(merges, counts, _means(merges, counts, centroids, curvature))


def _means(merges: Merges, counts: Points, leaves: Points, curvature: float | None) -> Points:
    """Means of all nodes: of the leaves, then of the merges, each on its parts' geodesic."""
    means, weights = [torch.from_numpy(m) for m in leaves], counts.tolist()
    for a, b in merges.pairs.tolist():
        share = weights[b] / (weights[a] + weights[b])
        if curvature:
            t = torch.tensor(share, dtype=torch.float64)
            means.append(geodesic(means[a], means[b], t, c=curvature))
        else:
            means.append((1 - share) * means[a] + share * means[b])
        weights.append(weights[a] + weights[b])
    return torch.stack(means).numpy()
