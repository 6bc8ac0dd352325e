"""The report of labels against a truth: one row a class, and the figures of the papers."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.evaluation.overlap import (
    adjusted_rand_index,
    best_labels,
    contingency,
    dice_matrix,
    match_labels,
    variation_of_information,
    whole_numbers,
)
from napari_hypseg.evaluation.surfaces import SurfaceDistances, surface_distances

__all__ = ["ClassScore", "Evaluation", "evaluate"]

# A distance transform of 10 million voxels takes about 150 MB.
MOST_THREADS = 4


@dataclass(frozen=True)
class ClassScore:
    """How well one class of the truth was found.

    Attributes
    ----------
    truth : int
        The class.
    label : int or None
        The label that the matching gives it; None if no label was left or none overlaps it.
    dice : float
        Dice coefficient of that label, 0 without one.
    best_label, best_dice : int and float
        The label with the largest Dice, as a person would choose it, and its Dice.
    boundary_f1, boundary_f1_2 : float
        Boundary F1 of the best label within 1 and within 2 voxels.
    surface_dice : float
        Surface Dice of the best label within 1 voxel.
    hausdorff_average, hausdorff_95 : float
        Distances between the best label's surface and the true one in angstrom, as `hausdorff`
        defines them.
    """

    truth: int
    label: int | None
    dice: float
    best_label: int
    best_dice: float
    boundary_f1: float
    boundary_f1_2: float
    surface_dice: float
    hausdorff_average: float
    hausdorff_95: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of labels against a truth.

    Attributes
    ----------
    classes : tuple of ClassScore
        One row for each class that occurs in the truth, ascending.
    mean_dice : float
        Mean Dice over all classes of the truth, background included, a class without a label
        counting 0: the figure in the tables of the papers.
    mean_dice_foreground : float
        The same without class 0; nan if the truth is background only.
    adjusted_rand_index : float
        Of all labels against all classes, without matching.
    voi_split, voi_merge : float
        The two parts of the variation of information, in bits, without matching.
    """

    classes: tuple[ClassScore, ...]
    mean_dice: float
    mean_dice_foreground: float
    adjusted_rand_index: float
    voi_split: float
    voi_merge: float

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON; what is nan or infinite becomes None."""
        report: dict[str, Any] = _plain(asdict(self))
        return report


def evaluate(
    labels: npt.NDArray[Any],
    truth: npt.NDArray[Any],
    *,
    voxel_size: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Evaluation:
    """Score labels against a truth by the protocol of the papers.

    Labels are matched to the classes of the truth by the Hungarian algorithm on their Dice
    coefficients (`match_labels`), background included; the mean is over all classes of the truth.

    Parameters
    ----------
    labels, truth : ndarray, shape (z, y, x)
        Labels and truth; any whole numbers of any type, and not as many of one as of the other.
    voxel_size : tuple of float
        Size of a voxel along (z, y, x), in angstrom.

    Raises
    ------
    ValueError
        As `contingency`, or if there are not three axes.

    References
    ----------
    Hsu et al., "Capturing implicit hierarchical structure in 3D biomedical images with
    self-supervised hyperbolic representations", NeurIPS 2021, section 4.1; its ICLR 2021
    submission, appendix A.7.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.zeros((1, 2, 4), np.uint8)
    >>> truth[:, :, 2:] = 1
    >>> evaluate(truth + 4, truth).mean_dice
    1.0
    """
    labels, truth = whole_numbers(labels, "labels"), whole_numbers(truth, "truth")
    table = contingency(labels, truth)
    if labels.ndim != 3:
        raise ValueError(f"labels and truth need 3 axes (z, y, x), not shape {labels.shape}")
    matches, best, dice = match_labels(labels, truth), best_labels(table), dice_matrix(table)
    row = {int(label): index for index, label in enumerate(table.labels)}

    def distances(value: int) -> tuple[SurfaceDistances, SurfaceDistances]:
        pair = labels == best[value], truth == value
        voxels = surface_distances(*pair)
        if len(set(voxel_size)) == 1:
            size = voxel_size[0]
            return voxels, SurfaceDistances(voxels.found * size, voxels.truth * size)
        return voxels, surface_distances(*pair, voxel_size=voxel_size)

    # SciPy's distance transform lets go of the interpreter's lock.
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1)) as pool:
        surfaces = list(pool.map(distances, table.classes.tolist()))
    classes = []
    for column, (value, (voxels, angstrom)) in enumerate(
        zip(table.classes.tolist(), surfaces, strict=True)
    ):
        apart = angstrom.hausdorff()
        classes.append(
            ClassScore(
                truth=value,
                label=matches.get(value),
                dice=float(dice[row[matches[value]], column]) if value in matches else 0.0,
                best_label=best[value],
                best_dice=float(dice[row[best[value]], column]),
                boundary_f1=voxels.f1(1),
                boundary_f1_2=voxels.f1(2),
                surface_dice=voxels.dice(1),
                hausdorff_average=apart.average,
                hausdorff_95=apart.percentile_95,
            )
        )
    foreground = [score.dice for score in classes if score.truth != 0]
    split, merge = variation_of_information(table)
    return Evaluation(
        classes=tuple(classes),
        mean_dice=float(np.mean([score.dice for score in classes])),
        mean_dice_foreground=float(np.mean(foreground)) if foreground else math.nan,
        adjusted_rand_index=adjusted_rand_index(table),
        voi_split=split,
        voi_merge=merge,
    )


def _plain(value: Any) -> Any:
    """Copy nested values with tuples as lists and floats that JSON lacks as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
