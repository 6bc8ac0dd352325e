"""The papers' data: volumes to train on, and volumes with questions to ask of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from napari_hypseg.samples import make_toy, toy_seeds
from napari_hypseg.volumes import Volume, VolumeError, read_volume

__all__ = ["DataName", "Question", "Sample", "test_samples", "training_volumes"]

DataName = Literal["toy", "irregular", "texture", "glioma"]

KINDS: dict[str, Literal["regular", "irregular", "texture"]] = {
    "toy": "regular", "irregular": "irregular", "texture": "texture",
}  # fmt: skip
LEVELS = (2, 4, 8)
# A quick run trains on this many volumes of the toy data, and is tested on as many.
QUICK = 4
REAL_KS = tuple(range(2, 13))


@dataclass(frozen=True)
class Question:
    """One segmentation that is asked for, and its answer.

    Attributes
    ----------
    name : str
        What the tables call it: "level 2", or "k = 6".
    k : int
        Number of clusters.
    truth : ndarray of int, shape (z, y, x)
        Classes; 0 is the background.
    target : int or None
        The one class that is asked for; None if all are, each with a label of its own.
    """

    name: str
    k: int
    truth: npt.NDArray[Any]
    target: int | None = None


@dataclass(frozen=True)
class Sample:
    """A volume to segment, and what is asked of it."""

    volume: Volume
    questions: tuple[Question, ...]


def training_volumes(name: DataName, *, quick: bool) -> list[Volume]:
    """The volumes that the inductive runs learn from; none for the real sample."""
    if name not in KINDS:
        return []
    seeds = toy_seeds("train")[:QUICK] if quick else toy_seeds("train")
    return [make_toy(KINDS[name], seed=seed).volume for seed in seeds]


def test_samples(name: DataName, *, quick: bool, data: Path | None) -> Iterator[Sample]:
    """The volumes to segment, one after the other.

    Parameters
    ----------
    quick : bool
        Four toy volumes instead of twenty.
    data : path or None
        Folder of the real sample.

    Raises
    ------
    ValueError
        If there are no such data, or it is real and no folder is given.
    VolumeError
        If a file is missing or can't be read.
    """
    if name not in get_args(DataName):
        raise ValueError(f"there are no data {name!r}: {', '.join(get_args(DataName))}")
    if name in KINDS:
        seeds = toy_seeds("test")[:QUICK] if quick else toy_seeds("test")
        for seed in seeds:
            toy = make_toy(KINDS[name], seed=seed)
            yield Sample(
                toy.volume,
                tuple(
                    Question(f"level {level}", k, truth)
                    for level, (k, truth) in enumerate(zip(LEVELS, toy.levels, strict=True), 1)
                ),
            )
        return
    if data is None:
        raise ValueError(f"{name}: the real sample is no part of this package, give its folder")
    folder = data / "glioma_mri"
    volume = _read(folder / "TCGA-DU-7294_fla.nii.gz")
    tumour = _read(folder / "TCGA-DU-7294_consensus.nii.gz").read() > 0
    # Brain-extracted: all that is not brain is 0.
    classes = np.where(tumour, 2, volume.read() != 0).astype(np.uint8)
    # In memory: every method reads all of it, most of them several times.
    held = Volume(volume.read(), volume.voxel_size, volume.origin, volume.name)
    yield Sample(held, tuple(Question(f"k = {k}", k, classes, 2) for k in REAL_KS))


def _read(path: Path) -> Volume:
    if not path.exists():
        raise VolumeError(f"{path}: is not there; --data wants the folder that holds the samples")
    return read_volume(path)
