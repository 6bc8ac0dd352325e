"""Scores of labels against a truth."""

from napari_hypseg.evaluation.evaluate import ClassScore, Evaluation, evaluate
from napari_hypseg.evaluation.hausdorff import Hausdorff, hausdorff
from napari_hypseg.evaluation.overlap import (
    Contingency,
    adjusted_rand_index,
    contingency,
    dice_matrix,
    match_labels,
    variation_of_information,
)

__all__ = [
    "ClassScore",
    "Contingency",
    "Evaluation",
    "Hausdorff",
    "adjusted_rand_index",
    "contingency",
    "dice_matrix",
    "evaluate",
    "hausdorff",
    "match_labels",
    "variation_of_information",
]
