"""Scores of filaments by their centre lines, which do not ask how thick a filament was drawn."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from skimage.morphology import skeletonize

__all__ = ["CentrelineScore", "centrelines"]


class CentrelineScore(NamedTuple):
    """Precision, recall and F1 of centre lines; the last is called clDice."""

    precision: float
    recall: float
    f1: float


def centrelines(found: npt.NDArray[Any], truth: npt.NDArray[Any]) -> CentrelineScore:
    """How much of each set's centre line lies in the other set.

    Parameters
    ----------
    found, truth : ndarray of bool or int, shape (z, y, x)
        The sets: voxels that are not zero.

    Returns
    -------
    CentrelineScore
        Precision: the share of the found set's skeleton inside the true set. Recall: the share of
        the true set's skeleton inside the found one. All 1 if both sets are empty, 0 if one is.

    References
    ----------
    Shit et al., "clDice: a novel topology-preserving loss function for tubular structure
    segmentation", CVPR 2021; the skeleton is that of Lee et al. 1994 in scikit-image.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.zeros((5, 5, 9), bool)
    >>> truth[1:4, 1:4] = True
    >>> thin = np.zeros_like(truth)
    >>> thin[2, 2, :5] = True
    >>> centrelines(thin, truth).precision
    1.0
    """
    a, b = (each.astype(bool, copy=False) for each in (found, truth))
    if not (a.any() and b.any()):
        score = float(a.any() == b.any())
        return CentrelineScore(score, score, score)
    precision, recall = float(b[_line(a)].mean()), float(a[_line(b)].mean())
    both = precision + recall
    return CentrelineScore(precision, recall, 2 * precision * recall / both if both else 0.0)


def _line(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The skeleton of a set; of one that is eroded away without a line, the set itself."""
    line: npt.NDArray[np.bool_] = skeletonize(mask)  # type: ignore[no-untyped-call]
    return line if line.any() else mask
