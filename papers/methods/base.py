"""What a method of the papers' tables is, and k-means with the same rules for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from napari_hypseg.volumes import Volume, fit_normalization

__all__ = [
    "RESTARTS", "Budget", "Features", "Labels", "Method", "Predict", "cluster_features",
    "normalised", "remember_last", "sample",
]  # fmt: skip

# Equal footing: every k-means starts as often and is fitted on as many voxels, drawn from the
# volume that it labels.
RESTARTS = 4
SAMPLE = 20_000

T = TypeVar("T")
Labels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]
Predict = Callable[[Volume, int], Labels]


@dataclass(frozen=True)
class Budget:
    """How much a method may do.

    Attributes
    ----------
    seed : int
        The same seed gives the same labels.
    quick : bool
        Train for a fifth of the steps.
    ks : tuple of int
        The numbers of clusters that will be asked for.
    """

    seed: int = 0
    quick: bool = False
    ks: tuple[int, ...] = (2, 4, 8)

    def steps(self, full: int) -> int:
        """Optimiser steps for a method that takes ``full`` of them in a full run."""
        return max(1, full // 5) if self.quick else full


@dataclass(frozen=True)
class Method:
    """A row of the papers' tables.

    Attributes
    ----------
    name : str
        What ``--methods`` calls it.
    title : str
        What the tables call it.
    fit : callable
        ``fit(volumes, budget)`` gives ``predict(volume, k)``: labels 0 to k - 1, shape (z, y, x).
        ``predict`` is called for all k of one volume before the next.
    learns : bool
        Whether ``fit`` learns anything from the volumes.
    seeded : bool
        Whether the seed makes a difference; if not, one run is all runs.
    heavy : bool
        Of the toy data it segments one volume only in a quick run, and one only after training on
        the volume itself, since each takes minutes.
    model : str
        Methods that name the same model here learn the same and differ in what they make of it.
    """

    name: str
    title: str
    fit: Callable[[Sequence[Volume], Budget], Predict]
    learns: bool = True
    seeded: bool = True
    heavy: bool = False
    model: str = ""


def normalised(volume: Volume) -> Features:
    """All voxels, clipped and with zero mean and unit variance, shape (z, y, x)."""
    return fit_normalization(volume).read(volume)


def sample(count: int, seed: int) -> npt.NDArray[np.int64]:
    """Which of ``count`` voxels k-means is fitted on."""
    return np.random.default_rng(seed).choice(count, min(SAMPLE, count), replace=False)


def remember_last(make: Callable[[Volume], T]) -> Callable[[Volume], T]:
    """Remember what was made of the last volume, for its other numbers of clusters."""
    last: list[tuple[Volume, T]] = []

    def remembered(volume: Volume) -> T:
        if not last or last[0][0] is not volume:
            last[:] = [(volume, make(volume))]
        return last[0][1]

    return remembered


def cluster_features(features: Callable[[Volume], npt.NDArray[Any]], seed: int) -> Predict:
    """k-means of the features of a volume's voxels, fitted for each volume and each k anew.

    Parameters
    ----------
    features : callable
        Features of a volume's voxels, shape (z, y, x, n).
    seed : int
        Seed of the sample and of k-means.
    """
    remembered = remember_last(features)

    def predict(volume: Volume, k: int) -> Labels:
        found = remembered(volume)
        points = found.reshape(-1, found.shape[-1])
        means = KMeans(k, n_init=RESTARTS, random_state=seed)
        means.fit(points[sample(len(points), seed)])
        labels: Labels = means.predict(points).astype(np.uint8).reshape(volume.shape)
        return labels

    return predict
