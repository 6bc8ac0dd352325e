"""The figures of the papers' tables: one flat dictionary for each segmentation and its truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_hypseg.evaluation.evaluate import evaluate
from napari_hypseg.evaluation.overlap import (
    adjusted_rand_index,
    contingency,
    dice_matrix,
    match_labels,
    variation_of_information,
)
from napari_hypseg.evaluation.surfaces import hausdorff

__all__ = ["binary_dice", "class_scores", "level_scores"]

Labels = npt.NDArray[Any]
Triple = tuple[float, float, float]


def level_scores(labels: Labels, truth: Labels, *, voxel_size: Triple) -> dict[str, float | None]:
    """Scores of labels against all classes of a truth.

    Parameters
    ----------
    labels, truth : ndarray of int, shape (z, y, x)
        Whole numbers from 0 up. Class 0 of the truth is the background and 1 what holds the
        objects, which are all others; with two classes, class 1 is the object.
    voxel_size : tuple of float
        Along (z, y, x), in angstrom.

    Returns
    -------
    dict
        ``dice``: mean Dice over all classes, background included, after Hungarian matching, a
        class without a label counting 0: the protocol of CIHS. ``dice_foreground``: of the same
        matching, without the background. ``dice_objects``: the objects only.
        ``rand``: adjusted Rand index. ``voi_split``, ``voi_merge``: the variation of information,
        in bits, is their sum. ``hausdorff_average``, ``hausdorff_95``: mean over the classes but
        the background that got a label, in nm; None if none did. ``unmatched``: how many did not.
    """
    result = evaluate(labels, truth, voxel_size=voxel_size)
    foreground = [row for row in result.classes if row.truth != 0]
    objects = [row for row in foreground if row.truth != 1] or foreground
    found = [row for row in foreground if row.label is not None]
    apart = [
        hausdorff(labels == row.label, truth == row.truth, voxel_size=voxel_size) for row in found
    ]
    return {
        "dice": result.mean_dice,
        "dice_foreground": result.mean_dice_foreground,
        "dice_objects": _mean([row.dice for row in objects]),
        "rand": result.adjusted_rand_index,
        "voi_split": result.voi_split,
        "voi_merge": result.voi_merge,
        "hausdorff_average": _mean([each.average / 10 for each in apart]),
        "hausdorff_95": _mean([each.percentile_95 / 10 for each in apart]),
        "unmatched": len(foreground) - len(found),
    }


def class_scores(
    labels: Labels, truth: Labels, target: int, *, voxel_size: Triple
) -> dict[str, float | None]:
    """Scores of labels against one class of a truth.

    Returns
    -------
    dict
        ``dice``: Dice of the label that fits the class best, as a person would choose it.
        ``dice_matched``: Dice of the label that the Hungarian matching of all classes gives it,
        as CIHS reports the whole tumour of BraTS with k = 3 against background, brain and tumour.
        ``rand``, ``voi_split``, ``voi_merge``: as in `level_scores`.
        ``hausdorff_average``, ``hausdorff_95``: of the best label, in nm.
    """
    table = contingency(labels, truth)
    column = int(np.flatnonzero(table.classes == target)[0])
    row = int(np.argmax(dice_matrix(table)[:, column]))
    wanted, best = truth == target, labels == table.labels[row]
    matched = match_labels(labels, truth).get(target)
    surface = hausdorff(best, wanted, voxel_size=voxel_size)
    split, merge = variation_of_information(table)
    return {
        "dice": binary_dice(best, wanted),
        "dice_matched": 0.0 if matched is None else binary_dice(labels == matched, wanted),
        "rand": adjusted_rand_index(table),
        "voi_split": split,
        "voi_merge": merge,
        "hausdorff_average": surface.average / 10,
        "hausdorff_95": surface.percentile_95 / 10,
    }


def binary_dice(found: Labels, wanted: Labels) -> float:
    """Dice coefficient of two sets of voxels; 1 if both are empty, 0 if one is, as in BraTS.

    Examples
    --------
    >>> import numpy as np
    >>> binary_dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    size = int(np.count_nonzero(found)) + int(np.count_nonzero(wanted))
    return 2 * int(np.count_nonzero(found & wanted)) / size if size else 1.0


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values and all(map(math.isfinite, values)) else None
