"""Scores of overlap between labels and a truth, all from one table of counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

__all__ = [
    "Contingency",
    "adjusted_rand_index",
    "best_labels",
    "contingency",
    "dice_matrix",
    "match_labels",
    "variation_of_information",
    "whole_numbers",
]

LOOKUP_SIZE = 1 << 16
MOST_CELLS = 1 << 27


@dataclass(frozen=True, eq=False)
class Contingency:
    """How many voxels have each pair of label and truth class.

    Attributes
    ----------
    counts : ndarray of int64, shape (labels, classes)
        Voxels with label ``labels[i]`` that are of class ``classes[j]`` in the truth.
    labels : ndarray of int64, shape (labels,)
        The labels that occur, ascending.
    classes : ndarray of int64, shape (classes,)
        The truth's classes that occur, ascending.
    """

    counts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]


def whole_numbers(values: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    """The values as whole numbers, whatever type a file holds them in.

    Parameters
    ----------
    values : ndarray
        Labels; of a floating-point type, too, as some programs write masks.
    what : str
        What a refusal calls them.

    Raises
    ------
    ValueError
        If a value is not a whole number.
    """
    if values.dtype.kind in "biu":
        return values
    if values.dtype.kind != "f" or not np.array_equal(values, np.rint(values)):
        raise ValueError(
            f"the {what} must be whole numbers, one for each class, but some values are not: "
            "is this an image or a map of probabilities?"
        )
    return values.astype(np.int64)


def contingency(labels: npt.NDArray[Any], truth: npt.NDArray[Any]) -> Contingency:
    """Count the voxels of each pair of label and truth class.

    Parameters
    ----------
    labels, truth : ndarray, same shape
        Labels and truth; any whole numbers of any type, with gaps or without.

    Raises
    ------
    ValueError
        If the shapes differ, there is no voxel, a value is not a whole number, or the table would
        have more than 134 million cells.

    Examples
    --------
    >>> import numpy as np
    >>> contingency(np.array([7, 7, 2, 2]), np.array([0, 0, 0, 1])).counts
    array([[1, 1],
           [2, 0]])
    """
    if labels.shape != truth.shape:
        raise ValueError(f"the labels have shape {labels.shape}, but the truth has {truth.shape}")
    rows, label_values = _compact(labels, "labels")
    columns, classes = _compact(truth, "truth")
    cells = label_values.size * classes.size
    if cells > MOST_CELLS:
        raise ValueError(
            f"{label_values.size} labels against {classes.size} classes are too many to compare"
        )
    counts = np.bincount(rows * classes.size + columns, minlength=cells)
    return Contingency(counts.reshape(label_values.size, classes.size), label_values, classes)


def _compact(
    values: npt.NDArray[Any], what: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the values that occur 0, 1, ...: the flat array so renumbered, and the values."""
    flat = whole_numbers(values, what).ravel()
    if flat.size == 0:
        raise ValueError(f"the {what} hold no voxel")
    if flat.min() < 0 or flat.max() >= LOOKUP_SIZE:
        present, numbers = np.unique(flat, return_inverse=True)
        return numbers, present.astype(np.int64)
    # Much faster than sorting 10 million voxels, and nearly every label image comes here.
    occurs = np.bincount(flat, minlength=1) > 0
    return (np.cumsum(occurs) - 1)[flat.astype(np.intp)], np.flatnonzero(occurs)


def dice_matrix(table: Contingency) -> npt.NDArray[np.float64]:
    """Dice coefficient of every label with every truth class.

    Dice(A, B) = 2 |A and B| / (|A| + |B|) = 2 TP / (2 TP + FN + FP), between 0 and 1.

    Parameters
    ----------
    table : Contingency
        Counts of label and class.

    Returns
    -------
    ndarray of float64, shape (labels, classes)

    References
    ----------
    Hsu et al., "Learning Hyperbolic Representations for Unsupervised 3D Segmentation", ICLR 2021
    submission, equation (10).

    Examples
    --------
    >>> import numpy as np
    >>> dice_matrix(contingency(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])))
    array([[0.8       , 0.4       ],
           [0.        , 0.66666667]])
    """
    label_sizes = table.counts.sum(axis=1, keepdims=True)
    class_sizes = table.counts.sum(axis=0, keepdims=True)
    dice: npt.NDArray[np.float64] = 2 * table.counts / (label_sizes + class_sizes)
    return dice


def best_labels(table: Contingency) -> dict[int, int]:
    """The label with the largest Dice for each truth class, as a person would choose it.

    Unlike `match_labels`, one label may stand for several classes.

    Examples
    --------
    >>> import numpy as np
    >>> best_labels(contingency(np.array([5, 5, 5, 5]), np.array([0, 0, 0, 1])))
    {0: 5, 1: 5}
    """
    rows = dice_matrix(table).argmax(axis=0)
    return {
        int(value): int(table.labels[row]) for value, row in zip(table.classes, rows, strict=True)
    }


def match_labels(labels: npt.NDArray[Any], truth: npt.NDArray[Any]) -> dict[int, int]:
    """Give each truth class at most one label so that the sum of Dice is the largest possible.

    The Hungarian algorithm on the Dice matrix. The background is matched like any other class.
    With fewer labels than classes some classes stay without a label, with more labels some
    labels stay without a class; a label that shares no voxel with a class never stands for it.

    Parameters
    ----------
    labels, truth : ndarray, same shape
        Labels and truth; any whole numbers.

    Returns
    -------
    dict of int to int
        Label of each matched truth class, in ascending order of the classes.

    Raises
    ------
    ValueError
        As `contingency`.

    Examples
    --------
    >>> import numpy as np
    >>> match_labels(np.array([5, 5, 5, 3, 3, 9]), np.array([0, 0, 0, 1, 1, 1]))
    {0: 5, 1: 3}
    """
    table = contingency(labels, truth)
    dice = dice_matrix(table)
    rows, columns = linear_sum_assignment(dice, maximize=True)
    pairs = sorted(zip(columns, rows, strict=True))
    return {int(table.classes[c]): int(table.labels[r]) for c, r in pairs if dice[r, c] > 0}


def adjusted_rand_index(table: Contingency) -> float:
    """Agreement of two partitions over all pairs of voxels, corrected for chance.

    (Index - expected) / (maximum - expected), where the index counts the pairs that are together
    in both: 1 for equal partitions, about 0 for independent ones, at lowest -0.5.

    Parameters
    ----------
    table : Contingency
        Counts of label and class.

    References
    ----------
    Hubert and Arabie, "Comparing partitions", Journal of Classification 2 (1985), equation (5).

    Examples
    --------
    >>> import numpy as np
    >>> adjusted_rand_index(contingency(np.array([4, 4, 1, 1]), np.array([0, 0, 1, 1])))
    1.0
    """

    def pairs(counts: npt.NDArray[np.int64]) -> float:
        sizes = counts.astype(np.float64)
        return float((sizes * (sizes - 1)).sum() / 2)

    together = pairs(table.counts)
    in_labels, in_truth = pairs(table.counts.sum(axis=1)), pairs(table.counts.sum(axis=0))
    total = pairs(table.counts.sum(keepdims=True))
    expected = in_labels * in_truth / total if total else 0.0
    most = (in_labels + in_truth) / 2
    # Both are one class, or both all single voxels: the same partition.
    return 1.0 if most == expected else (together - expected) / (most - expected)


def variation_of_information(table: Contingency) -> tuple[float, float]:
    """How much labels and truth leave open about each other, in bits.

    Parameters
    ----------
    table : Contingency
        Counts of label and class.

    Returns
    -------
    split : float
        H(labels | truth): classes that the labels break apart.
    merge : float
        H(truth | labels): classes that the labels run together.
        The variation of information is ``split + merge``, 0 for equal partitions.

    References
    ----------
    Meila, "Comparing clusterings: an information based distance", Journal of Multivariate
    Analysis 98 (2007), equation (16).

    Examples
    --------
    >>> import numpy as np
    >>> variation_of_information(contingency(np.array([0, 1, 2, 2]), np.array([0, 0, 1, 1])))
    (0.5, 0.0)
    """
    label, value = np.nonzero(table.counts)
    counts = table.counts[label, value]
    shares = counts / counts.sum()
    # A quotient of 1 gives exactly 0, which a difference of entropies would not.
    split = shares @ np.log2(table.counts.sum(axis=0)[value] / counts)
    merge = shares @ np.log2(table.counts.sum(axis=1)[label] / counts)
    return float(split), float(merge)
