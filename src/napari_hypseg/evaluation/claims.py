"""Claims of the kind "this is better than that", asked of the cells of the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

__all__ = ["CLAIMS", "Answer", "answer"]

# The papers' ablation, then the question that they did not ask: title, lesser and better method.
CLAIMS = (
    ("Euclidean base < hyperbolic base", "cihs-euclidean-base", "cihs-base"),
    ("Euclidean triplet < hyperbolic triplet", "cihs-euclidean-triplet", "cihs-triplet"),
    ("base < gyroplane", "cihs-base", "cihs-gyroconv"),
    ("base < triplet", "cihs-base", "cihs-triplet"),
    ("gyroplane < gyroplane and triplet", "cihs-gyroconv", "cihs"),
    ("k-means of smoothed intensity < CIHS", "kmeans-gaussian", "cihs"),
    ("k-means after total variation < CIHS", "kmeans-tv", "cihs"),
    ("Ward after total variation < CIHS", "ward-tv", "cihs"),
    ("CIHS < this package's tree of the volume", "cihs", "hypseg"),
    ("Ward after total variation < this package's tree", "ward-tv", "hypseg"),
)


@dataclass(frozen=True)
class Answer:
    """What the cells say about one claim.

    Attributes
    ----------
    difference : float
        Mean over the volumes of the better method's score less that of the lesser.
    margin : float
        Half the width of the difference's 95 % confidence interval.
    volumes : int
        Volumes that both methods segmented.
    seeds : tuple of int
        Fewest seeds of the lesser and of the better method.
    """

    difference: float
    margin: float
    volumes: int
    seeds: tuple[int, int]

    @property
    def verdict(self) -> Literal["holds", "is reversed", "open"]:
        """Whether the interval lies above 0, below it, or holds it."""
        if abs(self.difference) <= self.margin:
            return "open"
        return "holds" if self.difference > 0 else "is reversed"


def answer(
    cells: Sequence[dict[str, Any]], lesser: str, better: str, question: str, score: str
) -> Answer | None:
    """Compare two methods on the volumes that both segmented.

    A volume counts once, with its mean over the seeds; the interval is that of Student's t over
    the paired differences. It tells how far the volumes agree. How far trainings agree it tells
    only as far as there are seeds.

    Parameters
    ----------
    cells : sequence of dict
        Of one kind of data; transductive cells are left out.
    lesser, better : str
        Names of the methods.
    question, score : str
        Such as "level 2" and "dice".

    Returns
    -------
    Answer or None
        None with fewer than two volumes in common.
    """
    found: list[dict[str, list[float]]] = []
    for method in (lesser, better):
        volumes: dict[str, list[float]] = {}
        for cell in cells:
            if cell["method"] == method and cell["mode"] != "transductive" and "scores" in cell:
                volumes.setdefault(cell["volume"], []).append(cell["scores"][question][score])
        found.append(volumes)
    common = sorted(set(found[0]) & set(found[1]))
    if len(common) < 2:
        return None
    gaps = np.array([np.mean(found[1][v]) - np.mean(found[0][v]) for v in common])
    margin = stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    seeds = tuple(min(len(volumes[v]) for v in common) for volumes in found)
    return Answer(float(gaps.mean()), float(margin), len(gaps), (seeds[0], seeds[1]))
