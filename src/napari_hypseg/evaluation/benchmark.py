"""The benchmark: every method on the same data, cell by cell, in a folder that can be resumed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_hypseg.evaluation.methods import METHODS, Budget, Method, Predict
from napari_hypseg.evaluation.pictures import write_picture
from napari_hypseg.evaluation.samples import (
    DataName,
    Sample,
    test_samples,
    training_volumes,
)
from napari_hypseg.evaluation.scores import class_scores, level_scores
from napari_hypseg.evaluation.tables import write_tables
from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes.atomic import replacing

__all__ = ["Mode", "benchmark_job"]

# How a method gets to know the volume that it segments: "untrained" learns nothing from volumes.
Mode = Literal["untrained", "inductive", "transductive"]


@dataclass(frozen=True)
class Run:
    """One method, learning in one way, with one seed: a few cells of the table."""

    method: Method
    mode: Mode
    seed: int
    folder: Path

    def cell(self, volume: str) -> Path:
        """File of the scores of one volume."""
        return self.folder / f"{self.mode}-{self.method.name}-seed{self.seed}-{volume}.json"


def benchmark_job(
    name: DataName,
    out: str | os.PathLike[str],
    *,
    methods: Sequence[str] = (),
    seeds: int = 1,
    quick: bool = False,
    data: str | os.PathLike[str] | None = None,
) -> Job[Path]:
    """Run methods on data, score them, and write ``table.md``, ``table.json`` and pictures.

    A cell (data, method, mode, seed, volume) that is in ``out`` already is not run again. A method
    that fails is reported in the table with its reason, and tried again by the next run.

    Parameters
    ----------
    name : str
        Toy data ("toy", "irregular", "texture") or a real sample ("microtubule", "fly", "glioma").
    out : path
        Folder for everything that is made.
    methods : sequence of str
        Which methods, all without.
    seeds : int
        Each method is run with seeds 0 to ``seeds - 1``.
    quick : bool
        A fifth of the steps, four volumes to train on and four to test, and no transductive runs.
    data : path, optional
        Folder of the real samples.

    Returns
    -------
    path
        ``table.md``.

    Raises
    ------
    ValueError
        If there are no such data or methods, or the real samples are not in ``data``.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r}: {', '.join(METHODS)}")
    chosen = [METHODS[method] for method in methods or METHODS]
    folder = Path(out) / name / ("quick" if quick else "full")
    samples = list(test_samples(name, quick=quick, data=None if data is None else Path(data)))
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    training = training_volumes(name, quick=quick)

    runs = list(_runs(chosen, seeds, folder / "cells", bool(training), quick=quick))
    for done, run in enumerate(runs):
        yield Progress(f"{run.method.name}", done, len(runs))
        scored = samples[:1] if quick and run.method.heavy else samples
        missing = [sample for sample in scored if not _is_done(run.cell(sample.volume.name))]
        groups = [[s] for s in missing] if run.mode == "transductive" else [missing]
        for group in filter(None, groups):
            learned = training if run.mode == "inductive" else [group[0].volume]
            yield from _run_job(run, learned, group, folder, quick, done, len(runs))
        write_tables(folder, name, METHODS)
    yield Progress("benchmark", len(runs), len(runs))
    return folder / "table.md"


def _runs(
    methods: Sequence[Method], seeds: int, cells: Path, training: bool, *, quick: bool
) -> Iterator[Run]:
    distinct = [(s, m) for s in range(seeds) for m in methods if m.seeded or not s]
    for seed, method in distinct:
        if not method.learns:
            yield Run(method, "untrained", seed, cells)
        elif training:
            yield Run(method, "inductive", seed, cells)
    if training and quick:
        return
    # Last, since they take ten times as long as all others: each volume is trained on anew.
    for seed, method in distinct:
        if method.learns:
            yield Run(method, "transductive", seed, cells)


def _is_done(cell: Path) -> bool:
    try:
        return "error" not in json.loads(cell.read_text())
    except (OSError, ValueError):
        return False


def _run_job(
    run: Run,
    learned: Sequence[Any],
    samples: Sequence[Sample],
    folder: Path,
    quick: bool,
    done: int,
    total: int,
) -> Job[None]:
    """Fit once, then fill the cells of the given samples."""
    ks = tuple(question.k for question in samples[0].questions)
    began = time.perf_counter()
    predict: Predict | None = None
    try:
        predict = run.method.fit(learned, Budget(run.seed, quick, ks))
    # A method may fail in any way it likes; the table says how, and the others go on.
    except Exception as error:
        failure = _reason(error)
    fit_seconds = time.perf_counter() - began
    for sample in samples:
        yield Progress(run.method.name, done, total)
        cell: dict[str, Any] = {
            "method": run.method.name, "title": run.method.title, "mode": run.mode,
            "seed": run.seed, "volume": sample.volume.name, "fit_seconds": round(fit_seconds, 2),
        }  # fmt: skip
        began = time.perf_counter()
        if predict is None:
            cell["error"] = failure
        else:
            try:
                cell["scores"] = _segment(predict, sample, folder, run)
            except Exception as error:
                cell["error"] = _reason(error)
        cell["seconds"] = round(time.perf_counter() - began, 2)
        with replacing(run.cell(sample.volume.name)) as path:
            path.write_text(json.dumps(cell, indent=1, allow_nan=False))


def _segment(
    predict: Predict, sample: Sample, folder: Path, run: Run
) -> dict[str, dict[str, float | None]]:
    scores = {}
    found = []
    for question in sample.questions:
        labels = predict(sample.volume, question.k)
        if labels.shape != sample.volume.shape:
            raise ValueError(f"labels of shape {labels.shape} for {sample.volume.shape} voxels")
        size = sample.volume.voxel_size
        if question.target is None:
            score = level_scores(labels, question.truth, voxel_size=size)
        else:
            score = class_scores(labels, question.truth, question.target, voxel_size=size)
        scores[question.name] = {"k": float(len(np.unique(labels))), **score}
        found.append(labels)
    if run.seed == 0:
        path = folder / "pictures" / f"{sample.volume.name}-{run.mode}-{run.method.name}.png"
        write_picture(path, sample, found)
    return scores


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
