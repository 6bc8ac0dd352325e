"""Claims of the kind "this is better than that", asked of the cells of the papers' tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from papers.methods.hyperbolic import DIMENSIONS

__all__ = ["CLAIMS", "Answer", "answer"]

# The papers' ablation and table 8, then what they did not ask: title, lesser and better method.
CLAIMS = (
    ("Euclidean base < hyperbolic base", "cihs-euclidean-base", "cihs-base"),
    ("Euclidean triplet < hyperbolic triplet", "cihs-euclidean-triplet", "cihs-triplet"),
    ("base < gyroplane", "cihs-base", "cihs-gyroconv"),
    ("base < triplet", "cihs-base", "cihs-triplet"),
    ("gyroplane < gyroplane and triplet", "cihs-gyroconv", "cihs"),
    ("base < gyroplane and triplet", "cihs-base", "cihs"),
    ("Euclidean triplet < gyroplane and triplet", "cihs-euclidean-triplet", "cihs"),
    *(
        (
            f"Euclidean triplet < gyroplane and triplet, d = {d}",
            f"cihs-euclidean-triplet-d{d}",
            f"cihs-d{d}",
        )
        for d in DIMENSIONS
    ),
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
        Half the width of the difference's 95 % confidence interval over volumes (paired t test).
    seed_margin : float or None
        The same over seeds, of the means over the volumes (Welch's t test); a method without
        training that was run once counts as a constant. None if a trained one was run once.
    volumes : int
        Volumes that both methods segmented.
    seeds : tuple of int
        Fewest seeds of the lesser and of the better method.
    """

    difference: float
    margin: float
    seed_margin: float | None
    volumes: int
    seeds: tuple[int, int]

    @property
    def verdict(self) -> Literal["holds", "is reversed", "open"]:
        """Whether both intervals lie above 0, both below it, or one holds it."""
        if abs(self.difference) <= max(self.margin, self.seed_margin or 0.0):
            return "open"
        return "holds" if self.difference > 0 else "is reversed"


def answer(
    cells: Sequence[dict[str, Any]], lesser: str, better: str, question: str, score: str
) -> Answer | None:
    """Compare two methods on the volumes that both segmented.

    Over volumes, each counts once, with its mean over the seeds, and the differences are paired:
    this interval tells how far the volumes agree. Over seeds, each counts once, with its mean over
    the volumes: this one tells how far trainings agree.

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
    found = [_scores(cells, method, question, score) for method in (lesser, better)]
    common = sorted(set.intersection(*({volume for volume, _ in scores} for scores in found)))
    if len(common) < 2:
        return None
    of_volumes, of_seeds = [], []
    for scores in found:
        every = {seed for _, seed in scores}
        whole = [seed for seed in sorted(every) if all((v, seed) in scores for v in common)]
        of_volumes.append([np.mean([s for (v, _), s in scores.items() if v == w]) for w in common])
        of_seeds.append([float(np.mean([scores[v, seed] for v in common])) for seed in whole])
    gaps = np.subtract(of_volumes[1], of_volumes[0])
    unknown = any(
        len(means) < 2 and _is_trained(cells, method)
        for means, method in zip(of_seeds, (lesser, better), strict=True)
    )
    return Answer(
        difference=float(gaps.mean()),
        margin=_half_width(gaps),
        seed_margin=None if unknown else _half_width(*of_seeds),
        volumes=len(common),
        seeds=(len(of_seeds[0]), len(of_seeds[1])),
    )


def _scores(
    cells: Sequence[dict[str, Any]], method: str, question: str, score: str
) -> dict[tuple[str, int], float]:
    """Scores of a method by volume and seed."""
    return {
        (cell["volume"], cell["seed"]): cell["scores"][question][score]
        for cell in cells
        if cell["method"] == method and cell["mode"] != "transductive" and "scores" in cell
    }


def _is_trained(cells: Sequence[dict[str, Any]], method: str) -> bool:
    return any(cell["method"] == method and cell["mode"] == "inductive" for cell in cells)


def _half_width(*samples: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Half of the 95 % interval of a mean, or of a difference of means (Welch's t).

    A sample of one value is a constant.
    """
    many = [sample for sample in samples if len(sample) > 1]
    errors = np.array([np.var(sample, ddof=1) / len(sample) for sample in many])
    if not errors.sum():
        return 0.0
    freedom = errors.sum() ** 2 / sum(
        e**2 / (len(s) - 1) for e, s in zip(errors, many, strict=True)
    )
    return float(stats.t.ppf(0.975, freedom) * np.sqrt(errors.sum()))
