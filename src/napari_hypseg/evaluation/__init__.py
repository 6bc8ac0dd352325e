"""Scores of labels and picks against a truth."""

from napari_hypseg.evaluation.centrelines import CentrelineScore, centrelines
from napari_hypseg.evaluation.centres import CentreScore, match_centres, read_picks
from napari_hypseg.evaluation.evaluate import ClassScore, Evaluation, evaluate
from napari_hypseg.evaluation.overlap import (
    Contingency,
    adjusted_rand_index,
    best_labels,
    contingency,
    dice_matrix,
    match_labels,
    variation_of_information,
)
from napari_hypseg.evaluation.surfaces import (
    Hausdorff,
    SurfaceDistances,
    hausdorff,
    surface_distances,
)

__all__ = [
    "CentreScore",
    "CentrelineScore",
    "ClassScore",
    "Contingency",
    "Evaluation",
    "Hausdorff",
    "SurfaceDistances",
    "adjusted_rand_index",
    "best_labels",
    "centrelines",
    "contingency",
    "dice_matrix",
    "evaluate",
    "hausdorff",
    "match_centres",
    "match_labels",
    "read_picks",
    "surface_distances",
    "variation_of_information",
]
