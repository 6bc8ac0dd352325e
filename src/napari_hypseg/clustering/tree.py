"""`MergeTree`: clusters within clusters, and the labels of its leaves at any granularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.clustering.ward import Merges

__all__ = ["MergeTree"]


@dataclass(frozen=True)
class MergeTree:
    """A binary tree of clusters; in a file and for labels of one byte it has at most 255 leaves.

    Attributes
    ----------
    merges : array of int64, shape (n - 1, 2)
        Merge i joins these nodes to node ``n + i``, the lowest merge first; nodes below n are
        leaves.
    heights : array, shape (n - 1,)
        Cost of each merge, in squared latent distance times voxels; never decreasing.
    counts : array of int64, shape (2 n - 1,)
        Voxels of each node.
    centroids : array, shape (2 n - 1, d)
        Frechet mean of each node, in the ball (or R^d).
    """

    merges: npt.NDArray[np.int64]
    heights: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    centroids: npt.NDArray[np.float64]

    @property
    def n_leaves(self) -> int:
        """Number of leaves, the finest granularity."""
        return len(self.merges) + 1

    def nodes(self, k: int) -> npt.NDArray[np.int64]:
        """The k nodes of one granularity; entry ``i - 1`` is the node of label i.

        Starting from the root with label 1, each further level splits the node with the highest
        merge: the larger part keeps the label, the smaller one gets the next. A label therefore
        keeps its voxels, or some of them, from one level to the next.

        Raises
        ------
        ValueError
            If k is below 1 or above the number of leaves.
        """
        n = self.n_leaves
        if not 1 <= k <= n:
            raise ValueError(f"this tree has 1 to {n} clusters, not {k}")
        nodes = [2 * n - 2]
        for merge in range(n - 2, n - 1 - k, -1):
            # Merges are in order of height: the highest one left is always the next.
            label = nodes.index(n + merge)
            a, b = self.merges[merge]
            nodes[label], smaller = (a, b) if self.counts[a] >= self.counts[b] else (b, a)
            nodes.append(smaller)
        return np.array(nodes, dtype=np.int64)

    def lookup(self, k: int) -> npt.NDArray[np.uint8]:
        """Label of every leaf at one granularity, 1 to k, shape (n,)."""
        n = self.n_leaves
        labels = np.zeros(2 * n - 1, np.uint8)
        labels[self.nodes(k)] = np.arange(1, k + 1)
        for merge in range(n - 2, -1, -1):
            if labels[n + merge]:
                labels[self.merges[merge]] = labels[n + merge]
        return labels[:n]

    def pruned(self, k: int) -> tuple[npt.NDArray[np.uint8], MergeTree]:
        """The tree without what lies below one granularity.

        Parameters
        ----------
        k : int
            Leaves to leave, 1 to 255; all are left where there are no more.

        Returns
        -------
        leaf : array of uint8, shape (n,)
            Which leaf of the pruned tree each one has become.
        tree : MergeTree
        """
        n = self.n_leaves
        k = min(k, n)
        nodes, below = self.nodes(k), n - k
        kept = np.concatenate([nodes, np.arange(n + below, 2 * n - 1)])
        place = np.full(2 * n - 1, -1)
        place[kept] = np.arange(2 * k - 1)
        tree = MergeTree(
            place[self.merges[below:]], self.heights[below:], self.counts[kept],
            self.centroids[kept],
        )  # fmt: skip
        return self.lookup(k) - np.uint8(1), tree

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "merges": self.merges.tolist(),
            "heights": self.heights.tolist(),
            "counts": self.counts.tolist(),
            "centroids": self.centroids.tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MergeTree:
        """Inverse of `to_dict`.

        Raises
        ------
        ValueError
            If the values are no tree: they come from a file, which may be damaged.
        """
        try:
            tree = cls(
                np.array(values["merges"], np.int64).reshape(-1, 2),
                np.array(values["heights"], np.float64),
                np.array(values["counts"], np.int64),
                np.array(values["centroids"], np.float64),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ValueError("these values are no tree of clusters") from None
        fault = tree._fault()
        if fault:
            raise ValueError(f"these values are no tree of clusters: {fault}")
        return tree

    def _fault(self) -> str:
        """What keeps this from being a tree; empty if nothing does."""
        n, size = self.n_leaves, 2 * self.n_leaves - 1
        parts = self.merges.ravel()
        if n > 255:
            return f"it has {n} leaves, 255 is the most"
        if (
            self.heights.shape != (n - 1,)
            or self.counts.shape != (size,)
            or self.centroids.ndim != 2
            or len(self.centroids) != size
        ):
            return "its arrays don't fit each other"
        if not np.array_equal(np.sort(parts), np.arange(size - 1)) or bool(
            (self.merges >= n + np.arange(n - 1)[:, None]).any()
        ):
            return "its merges don't join every part once, parts before wholes"
        if not np.isfinite(self.heights).all() or (np.diff(self.heights) < 0).any():
            return "its heights fall"
        if (self.counts < 0).any() or (self.counts[n:] != self.counts[self.merges].sum(1)).any():
            return "its counts don't add up"
        return "" if np.isfinite(self.centroids).all() else "its centroids are not finite"

    @classmethod
    def from_merges(
        cls,
        merges: Merges,
        counts: npt.NDArray[np.floating],
        centroids: npt.NDArray[np.float64],
    ) -> MergeTree:
        """A tree of merges in any order that puts parts before wholes.

        Parameters
        ----------
        merges : Merges
            n - 1 merges of n leaves.
        counts : array, shape (n,)
            Voxels of the leaves.
        centroids : array, shape (2 n - 1, d)
            Of the leaves, then of the merges in their order.
        """
        n = len(counts)
        # Heights never fall from part to whole, and the sort is stable: parts stay before wholes.
        order = np.argsort(merges.heights, kind="stable")
        place = np.concatenate([np.arange(n), np.empty(n - 1, np.int64)])
        place[n + order] = n + np.arange(n - 1)
        pairs = place[merges.pairs[order]]
        sizes = np.concatenate([np.asarray(counts), np.zeros(n - 1)])
        for index, (a, b) in enumerate(pairs):
            sizes[n + index] = sizes[a] + sizes[b]
        return cls(
            pairs,
            merges.heights[order],
            sizes.round().astype(np.int64),
            np.concatenate([centroids[:n], centroids[n:][order]]),
        )
