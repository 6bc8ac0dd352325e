"""Pictures of a segmentation: middle slices of the input, of the truth and of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_hypseg.evaluation.overlap import match_labels

if TYPE_CHECKING:
    from papers.questions import Sample

__all__ = ["write_picture"]

# Of classes 0, 1, 2, ...: black, then colours that stay apart for the colour-blind (Okabe and Ito
# 2008), then greys for labels that no class was matched with.
PALETTE = np.array(
    [
        [0, 0, 0], [86, 180, 233], [230, 159, 0], [0, 158, 115], [240, 228, 66], [0, 114, 178],
        [213, 94, 0], [204, 121, 167], [90, 90, 90], [120, 120, 120], [150, 150, 150],
        [180, 180, 180], [210, 210, 210], [240, 240, 240],
    ],
    np.uint8,
)  # fmt: skip
LEAST_SIDE = 150


def write_picture(path: Path, sample: Sample, found: Sequence[npt.NDArray[Any]]) -> None:
    """Write a PNG: a column for the input and one for each question, truth above, labels below.

    A label has the colour of the class that it is matched with.
    """
    middle = sample.volume.shape[0] // 2
    voxels = sample.volume.read()[middle].astype(np.float64)
    low, high = np.percentile(voxels, (0.5, 99.5))
    grey = np.clip((voxels - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    image = np.repeat(grey[..., None], 3, axis=-1)
    columns = [np.concatenate([image, np.zeros_like(image)])]
    for question, labels in zip(sample.questions, found, strict=True):
        truth = PALETTE[question.truth[middle]]
        columns.append(np.concatenate([truth, PALETTE[_renamed(labels, question.truth)[middle]]]))
    sheet = np.concatenate([np.pad(c, ((0, 0), (0, 2), (0, 0))) for c in columns], axis=1)
    scale = max(1, round(LEAST_SIDE / voxels.shape[0]))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet.repeat(scale, axis=0).repeat(scale, axis=1)).save(path, optimize=True)


def _renamed(labels: npt.NDArray[Any], truth: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Labels by the number of their class; those without a class by the numbers that are left."""
    names = np.zeros(int(labels.max()) + 1, np.uint8)
    matches = match_labels(labels, truth)
    left = iter(range(8, len(PALETTE)))
    for label in np.unique(labels).tolist():
        classes = [truth_class for truth_class, match in matches.items() if match == label]
        names[label] = classes[0] if classes else next(left, len(PALETTE) - 1)
    renamed: npt.NDArray[np.uint8] = names[labels]
    return renamed
