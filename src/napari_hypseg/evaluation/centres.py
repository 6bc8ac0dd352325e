"""Scores of picks: how many true centres were found, and how many found ones are true."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import KDTree

__all__ = ["CentreScore", "match_centres", "read_picks"]

Centres = npt.NDArray[np.float64]


class CentreScore(NamedTuple):
    """Precision, recall and F1 of centres.

    Attributes
    ----------
    precision, recall, f1 : float
        Matched centres as a share of the found ones, of the true ones, and the harmonic mean of
        both. With no true and no found centre all are 1; with only one of both all are 0.
    matched, found, truth : int
        How many centres there are.
    """

    precision: float
    recall: float
    f1: float
    matched: int
    found: int
    truth: int


def match_centres(found: npt.ArrayLike, truth: npt.ArrayLike, radius: float) -> CentreScore:
    """Score centres against true ones: each counts once, the largest possible number of pairs.

    Parameters
    ----------
    found, truth : array, shape (n, 3) and (m, 3)
        Centres (z, y, x), both in one unit.
    radius : float
        A pair lies at most this far apart, in the same unit.

    Raises
    ------
    ValueError
        If the radius is negative.

    Examples
    --------
    >>> match_centres([[0, 0, 0], [0, 0, 1]], [[0, 0, 2]], radius=2).precision
    0.5
    """
    if radius < 0:
        raise ValueError(f"the radius must not be negative, but is {radius:g}")
    a, b = (np.asarray(each, np.float64).reshape(-1, 3) for each in (found, truth))
    if not (len(a) and len(b)):
        score = float(len(a) == len(b))
        return CentreScore(score, score, score, 0, len(a), len(b))
    near = KDTree(a).sparse_distance_matrix(KDTree(b), radius, output_type="coo_matrix")
    # A distance of 0 would be no entry of the sparse matrix.
    near.data[:] = 1
    matched = int(np.count_nonzero(maximum_bipartite_matching(near.tocsr()) >= 0))
    precision, recall = matched / len(a), matched / len(b)
    return CentreScore(precision, recall, 2 * matched / (len(a) + len(b)), matched, len(a), len(b))


def read_picks(path: str | os.PathLike[str]) -> dict[str, Centres]:
    """Centres by class from a CSV file with the columns z, y, x and, where there are some, class.

    Raises
    ------
    ValueError
        If a column is missing or a coordinate is not a number.
    """
    path = Path(path)
    picks: dict[str, list[list[float]]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = {"z", "y", "x"} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: picks need the columns z, y and x, but lack {min(missing)}")
        for number, row in enumerate(rows, 2):
            try:
                place = [float(row[axis]) for axis in "zyx"]
            except (TypeError, ValueError):
                place = [np.nan]
            if not np.isfinite(place).all():
                raise ValueError(f"{path}: line {number}: z, y and x must be numbers")
            picks.setdefault(row.get("class") or "all", []).append(place)
    return {name: np.array(places) for name, places in picks.items()}
