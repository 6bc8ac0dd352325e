"""Every method on the papers' data, cell by cell, in a folder that can be resumed."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from joblib import Parallel, cpu_count, delayed, parallel_config

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.volumes import Volume
from napari_hypseg.volumes.atomic import replacing
from papers.figures import class_scores, level_scores
from papers.methods import METHODS, Budget, Method, Predict
from papers.pictures import write_picture
from papers.questions import (
    DataName,
    Sample,
    test_samples,
    training_volumes,
)
from papers.tables import write_tables

__all__ = ["Mode", "papers_job"]

# How a method gets to know the volume that it segments: "untrained" learns nothing from volumes.
Mode = Literal["untrained", "inductive", "transductive"]

# Each may take 2 GB.
MOST_PROCESSES = 4


@dataclass(frozen=True)
class Run:
    """A method that learns once, with one seed, and the volumes that it then segments."""

    method: Method
    mode: Mode
    seed: int
    learned: Sequence[Volume]
    samples: Sequence[Sample]

    def cell(self, folder: Path, sample: Sample) -> Path:
        """File of the scores of one volume."""
        name = f"{self.mode}-{self.method.name}-seed{self.seed}-{sample.volume.name}.json"
        return folder / "cells" / name


def papers_job(
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
    that fails is reported in the table with its reason, and tried again by the next run. Processes
    of their own, one for each core but at most four, make the cells.

    Parameters
    ----------
    name : str
        Toy data ("toy", "irregular", "texture") or "glioma", which stands in for BraTS.
    out : path
        Folder for everything that is made.
    methods : sequence of str
        Which methods, all without.
    seeds : int
        Each method is run with seeds 0 to ``seeds - 1``.
    quick : bool
        A fifth of the steps, four volumes to train on and four to test, and no transductive runs,
        which in a full run train on every fifth toy test volume itself.
    data : path, optional
        Folder of the real sample.

    Returns
    -------
    path
        ``table.md``.

    Raises
    ------
    ValueError
        If there are no such data or methods, or the real sample is not in ``data``.
    """
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise ValueError(f"there is no method {unknown[0]!r}: {', '.join(METHODS)}")
    chosen = [METHODS[method] for method in methods or METHODS]
    folder = Path(out) / name / ("quick" if quick else "full")
    samples = list(test_samples(name, quick=quick, data=None if data is None else Path(data)))
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    training = training_volumes(name, quick=quick)

    # Runs that share a model are made one after the other, the others side by side.
    chains: dict[tuple[object, ...], list[Run]] = {}
    for run in _runs(chosen, seeds, training, samples, quick=quick):
        missing = [sample for sample in run.samples if not _is_done(run.cell(folder, sample))]
        if missing:
            model = (run.method.model or run.method.name, run.mode, run.seed, run.learned[0].name)
            chains.setdefault(model, []).append(replace(run, samples=missing))
    # One chain alone gets all cores.
    count = max(1, min(processes(), len(chains)))
    # Arrays are copied to the processes (no max_nbytes): mapped files are read-only.
    with parallel_config("loky", inner_max_num_threads=max(1, cpu_count() // count)):
        filled = Parallel(count, return_as="generator_unordered", max_nbytes=None)(
            delayed(_fill)(chain, folder, quick) for chain in chains.values()
        )
    write_tables(folder, name, METHODS)
    try:
        yield Progress("papers", 0, len(chains))
        for done, method in enumerate(filled, 1):
            write_tables(folder, name, METHODS)
            yield Progress(method, done, len(chains))
    finally:
        # Stopped in the middle, this stops the processes, too; joblib would warn of just that.
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            filled.close()
    return folder / "table.md"


def processes() -> int:
    """How many runs are made side by side: much of a method keeps one core busy only."""
    cores: int = cpu_count()
    return min(MOST_PROCESSES, cores)


def _runs(
    methods: Sequence[Method],
    seeds: int,
    training: Sequence[Volume],
    samples: Sequence[Sample],
    *,
    quick: bool,
) -> Iterator[Run]:
    # The dearest first, so that no process is left with one of them while the others wait.
    distinct = [(s, m) for s in range(seeds) for m in reversed(methods) if m.seeded or not s]
    for seed, method in distinct:
        scored = samples[:1] if quick and method.heavy else samples
        if not method.learns:
            yield Run(method, "untrained", seed, [scored[0].volume], scored)
        elif training:
            yield Run(method, "inductive", seed, training, scored)
    if training and quick:
        return
    # Last, since each volume is trained on anew: of the toy data every fifth only.
    own = samples[::5] if training else samples
    for seed, method in distinct:
        if method.learns:
            for sample in own[:1] if training and method.heavy else own:
                yield Run(method, "transductive", seed, [sample.volume], [sample])


def _is_done(cell: Path) -> bool:
    try:
        return "error" not in json.loads(cell.read_text())
    except (OSError, ValueError):
        return False


def _fill(chain: Sequence[Run], folder: Path, quick: bool) -> str:
    """Fill the cells of runs that share a model; gives the name of the last method."""
    for run in chain:
        _fit_and_score(run, folder, quick)
    return chain[-1].method.name


def _fit_and_score(run: Run, folder: Path, quick: bool) -> None:
    ks = tuple(question.k for question in run.samples[0].questions)
    began = time.perf_counter()
    predict: Predict | None = None
    try:
        predict = run.method.fit(run.learned, Budget(run.seed, quick, ks))
    # A method may fail in any way it likes; the table says how, and the others go on.
    except Exception as error:
        failure = _reason(error)
    fit_seconds = time.perf_counter() - began
    for sample in run.samples:
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
        with replacing(run.cell(folder, sample)) as path:
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
