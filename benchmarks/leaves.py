"""Where a class is lost: in the choice of k, in the tree, or in what its leaves are.

Run `python -m benchmarks.leaves MODEL VOLUME TRUTH CLASS`. The Dice of the class with the best
label, the best node of the tree of the volume, and the best set of its leaves, all chosen with the
truth: no way of merging these leaves could do better than the last.
"""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

from napari_hypseg.clustering import TreeClustering, cluster
from napari_hypseg.latents import embed
from napari_hypseg.model import load_model
from napari_hypseg.volumes import read_volume


def overlaps(found: TreeClustering, truth: npt.NDArray[np.bool_]) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of each node, and how many of them are the class, shape (2 n - 1,) each."""
    n = found.tree.n_leaves
    inside = np.zeros(2 * n - 1, np.int64)
    inside[:n] = np.bincount(found.leaves[truth], minlength=n)
    for merge, (a, b) in enumerate(found.tree.merges):
        inside[n + merge] = inside[a] + inside[b]
    return found.tree.counts, inside


def best_set(sizes: np.ndarray, inside: np.ndarray, wanted: int) -> float:
    """Highest Dice of any set of leaves: it is those of which the largest shares are the class."""
    order = np.argsort(-inside / sizes)
    return float(np.max(2 * np.cumsum(inside[order]) / (np.cumsum(sizes[order]) + wanted)))


def main() -> None:
    """Print a line for each."""
    model, file, labels, number = sys.argv[1:]
    volume = read_volume(file)
    truth = read_volume(labels).read() == int(number)
    found = cluster(embed(load_model(model), volume), volume)
    assert isinstance(found, TreeClustering)
    sizes, inside = overlaps(found, truth)
    dice = 2 * inside / (sizes + truth.sum())
    best = max(dice[found.tree.nodes(k)].max() for k in range(2, 13))
    print(f"best label, k = 2 to 12: {best:.3f}")
    print(f"best node of the tree, whatever k shows it: {dice.max():.3f}")
    n = found.most
    print(f"best set of its {n} leaves: {best_set(sizes[:n], inside[:n], truth.sum()):.3f}")


if __name__ == "__main__":
    main()
