"""Colours of the labels: hue from the place on the disk, the same at every granularity."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from napari_hypseg.clustering import MergeTree, TreeClustering

__all__ = ["colour_difference", "distinct_colour", "label_colours", "node_colours"]

Array = npt.NDArray[np.float64]

# Linear sRGB to the responses of the cones, and their cube roots to OKLab (Ottosson 2020,
# "A perceptual color space for image processing").
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
# What is left of linear sRGB without the red or the green cones (Machado, Oliveira and Fernandes
# 2009, "A physiologically-based model for simulation of color vision deficiency", severity 1).
_PROTANOPIA = np.array(
    [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ]
)
_DEUTERANOPIA = np.array(
    [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ]
)
# Differences that a dichromat sees count double: two of three dimensions are left to them, and
# demanding as much of these as of all three would leave hue no say.
_DICHROMAT = 2.0
# OKLab difference that is told apart at a glance, in small patches too.
_CLEAR = 0.18
# Lightness that stands out on white and on black.
_LIGHTNESS = (0.48, 0.80)
# Chroma of label 1, mostly what surrounds everything else, and of all others.
_MUTED, _VIVID = 0.05, 0.16
# Turns of hue that a difference of 1 in chroma weighs as much as.
_CHROMA_WEIGHT = 2.0
# What being far from the parent's hue costs, against 1 for being far from the own direction.
_PARENT_WEIGHT = 0.5


def label_colours(clustering: TreeClustering, k: int) -> Array:
    """Colours of the labels 1 to k.

    The hue follows the direction in which the label's centroid lies, seen from the centre of the
    disk (the first two latent dimensions), and stays near the hue of the label that it was split
    from. Among such colours the one is taken that differs clearly from all lower labels', also
    for people without red or green cones; lightness and chroma vary for that. Label 1 is muted.

    A colour depends on the tree and on lower labels only. So all labels keep their colours when k
    changes; of a node that is split the larger part keeps the colour with the label.

    Parameters
    ----------
    clustering : TreeClustering
    k : int
        Number of labels.

    Returns
    -------
    array, shape (k, 3)
        sRGB, 0 to 1; row ``i - 1`` belongs to label i.

    Raises
    ------
    ValueError
        If there are no k classes.

    Notes
    -----
    Hue, lightness, chroma and differences are those of OKLab (Ottosson 2020).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_hypseg.clustering import MergeTree, TreeClustering
    >>> places = np.array([[0.3, 0.0], [-0.3, 0.1], [0.0, 0.0]])
    >>> tree = MergeTree(np.array([[0, 1]]), np.ones(1), np.array([6, 2, 8]), places)
    >>> leaves = np.zeros((2, 2, 2), np.uint8)
    >>> label_colours(TreeClustering("kinds", leaves, tree), 2).shape
    (2, 3)
    """
    clustering.tree.nodes(k)  # says what k there are
    firsts, parents, _ = _labels(clustering.tree, k)
    return _choose(_directions(clustering.tree.centroids[firsts]), parents)


def node_colours(tree: MergeTree) -> Array:
    """Colours of all nodes of a tree, shape (2 n - 1, 3).

    A node has the colour of its label (see `label_colours`) at every granularity that it is part
    of. So the classes of any cut through the tree differ in colour, and keep theirs when others
    are split or merged.
    """
    firsts, parents, labels = _labels(tree, tree.n_leaves)
    return _choose(_directions(tree.centroids[firsts]), parents)[labels]


def _labels(tree: MergeTree, k: int) -> tuple[list[int], list[int | None], npt.NDArray[np.int64]]:
    """Where the labels come from.

    Returns
    -------
    firsts : list of int
        The node at which each of the k labels appears; label 1 appears with label 2.
    parents : list of int or None
        Index of the label that it was split from.
    labels : array of int64, shape (2 n - 1,)
        Index of the label of each node down to this granularity.
    """
    n = tree.n_leaves
    labels = np.zeros(2 * n - 1, np.int64)
    firsts: list[int] = [2 * n - 2]
    parents: list[int | None] = [None]
    for merge in range(n - 2, max(n - 1 - max(k, 2), -1), -1):
        whole, (a, b) = n + merge, tree.merges[merge].tolist()
        larger, smaller = (a, b) if tree.counts[a] >= tree.counts[b] else (b, a)
        if len(firsts) == 1:
            firsts[0] = larger
        labels[larger], labels[smaller] = labels[whole], len(firsts)
        parents.append(int(labels[whole]))
        firsts.append(smaller)
    return firsts[:k], parents[:k], labels


def distinct_colour(taken: npt.ArrayLike, others: npt.ArrayLike = ()) -> Array:
    """A colour that differs as clearly as can be from some that are taken, shape (3,).

    Parameters
    ----------
    taken, others : array, shape (n, 3)
        sRGB, 0 to 1; it may be close to the others, but is none of them.
    """
    rgb, views = _candidates()
    unlike = np.asarray(others, np.float64).reshape(-1, 3)
    seen = _views(np.asarray(taken, np.float64).reshape(-1, 3))
    normal, *dichromats = (cdist(view, other) for view, other in zip(views, seen, strict=True))
    apart = np.minimum(normal, _DICHROMAT * np.minimum(*dichromats)).min(1, initial=np.inf)
    apart[cdist(rgb, unlike).min(1, initial=np.inf) == 0] = -np.inf
    colour: Array = rgb[apart.argmax()]
    return colour


def _choose(hues: Array, parents: list[int | None]) -> Array:
    """Colours near the hues, in order; each differs from those before it.

    Parameters
    ----------
    hues : array, shape (k,)
        In turns.
    parents : list of int or None
        Index of the colour to stay near to.
    """
    rgb, views = _candidates()
    _, a, b = views[0].T
    hue, chroma = np.arctan2(b, a) / (2 * np.pi), np.hypot(a, b)
    apart = np.full(len(rgb), np.inf)
    chosen: list[int] = []
    for index, parent in enumerate(parents):
        if chosen:
            apart = np.minimum(apart, _difference(views, views[:, chosen[-1:]]))
        cost = _turns(hue, hues[index]) + _CHROMA_WEIGHT * abs(
            chroma - (_VIVID if index else _MUTED)
        )
        if parent is not None:
            cost += _PARENT_WEIGHT * _turns(hue, hues[parent])
        cost[apart < min(_CLEAR, 0.85 * apart.max())] = np.inf
        chosen.append(int(cost.argmin()))
    return rgb[chosen]


def colour_difference(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """How far colours are apart, for all kinds of common colour vision.

    Parameters
    ----------
    first, second : array, shape (n, 3)
        sRGB, 0 to 1.

    Returns
    -------
    array, shape (n,)
        The least of the OKLab difference and twice that without red or without green cones.
    """
    return _difference(_views(np.asarray(first)), _views(np.asarray(second)))


def _directions(points: Array) -> Array:
    """Directions of points from the centre of the disk, in turns, shape (n,)."""
    turns: Array = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
    return turns


@functools.cache
def _candidates() -> tuple[Array, Array]:
    """Colours to choose from, in sRGB, and how they are seen (see `_views`)."""
    steps = np.linspace(0, 1, 18)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    views = _views(rgb)
    light = views[0, :, 0]
    fit = (light >= _LIGHTNESS[0]) & (light <= _LIGHTNESS[1])
    return rgb[fit], views[:, fit]


def _views(rgb: Array) -> Array:
    """OKLab of sRGB colours to all cones, without the red and without the green, (3, n, 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = [linear, linear @ _PROTANOPIA.T, linear @ _DEUTERANOPIA.T]
    return np.stack([np.cbrt(view.clip(0, 1) @ _CONES.T) @ _OKLAB.T for view in seen])


def _difference(first: Array, second: Array) -> Array:
    normal, *dichromats = np.linalg.norm(first - second, axis=-1)
    least: Array = np.minimum(normal, _DICHROMAT * np.minimum(*dichromats))
    return least


def _turns(first: Array, second: float) -> Array:
    """Angle between directions, all in turns: 0 to 0.5."""
    return abs((first - second + 0.5) % 1 - 0.5)
