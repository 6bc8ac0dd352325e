"""Scores of `hypseg evaluate`: plain values for programs, lines for a person."""

from __future__ import annotations

import math
import warnings
from typing import Any

from napari_hypseg.evaluation import evaluate, match_centres, read_picks
from napari_hypseg.volumes import VolumeError, read_volume

__all__ = ["score_labels", "score_picks"]


def score_labels(
    files: list[str], truth: str, dataset: str | None, voxel_size: float | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Scores of label volumes, as plain values and as lines to read."""
    wanted = read_volume(truth, dataset=dataset, voxel_size=voxel_size)
    true = wanted.read()
    results: list[dict[str, Any]] = []
    lines, best = [], dict[int, tuple[float, str]]()
    for path in files:
        found = read_volume(path, voxel_size=voxel_size)
        if found.shape != wanted.shape:
            raise VolumeError(
                f"{path} has {found.shape} voxels, {truth} {wanted.shape}: they can't be compared"
            )
        for what in ("voxel size", "origin"):
            ours, theirs = (getattr(each, what.replace(" ", "_")) for each in (found, wanted))
            pairs = zip(ours, theirs, strict=True)
            if not all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-3) for a, b in pairs):
                warnings.warn(
                    f"{path} has the {what} {ours} angstrom, {truth} {theirs}: "
                    "they are compared voxel by voxel all the same",
                    stacklevel=2,
                )
        try:
            result = evaluate(found.read(), true, voxel_size=wanted.voxel_size)
        except ValueError as error:
            raise VolumeError(f"{path} against {truth}: {error}") from None
        results.append({"file": path, **result.to_dict()})
        lines += [
            path,
            f"{'class':>7} {'matched':>8} {'Dice':>6} {'best':>6} {'Dice':>6} {'F1 1 px':>8} "
            f"{'2 px':>6} {'surface':>8} {'Hausdorff':>10} {'95 %':>11}",
        ]
        for row in result.classes:
            lines.append(
                f"{row.truth:>7} {'-' if row.label is None else row.label:>8} {row.dice:>6.3f} "
                f"{row.best_label:>6} {row.best_dice:>6.3f} {row.boundary_f1:>8.3f} "
                f"{row.boundary_f1_2:>6.3f} {row.surface_dice:>8.3f} "
                f"{row.hausdorff_average / 10:>7.2f} nm {row.hausdorff_95 / 10:>8.2f} nm"
            )
            best[row.truth] = max(best.get(row.truth, (-1.0, "")), (row.best_dice, path))
        lines.append(
            f"mean Dice {result.mean_dice:.3f} (without class 0: "
            f"{result.mean_dice_foreground:.3f}), adjusted Rand index "
            f"{result.adjusted_rand_index:.3f}, variation of information "
            f"{result.voi_split:.3f} split + {result.voi_merge:.3f} merge bits"
        )
    if len(files) > 1:
        lines += ["best of all files"]
        lines += [f"{value:>7} {dice:>6.3f} {path}" for value, (dice, path) in best.items()]
    return results, lines


def score_picks(
    files: list[str], truth: str, radius: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """Scores of picks, class by class where both files name classes."""
    wanted = read_picks(truth)
    results: list[dict[str, Any]] = []
    lines = [f"{'class':>16} {'precision':>10} {'recall':>7} {'F1':>6} {'found':>6} {'true':>6}"]
    for path in files:
        found = read_picks(path)
        # Where no class is named in both files, there is nothing to compare class by class.
        names = {**wanted, **found} if wanted.keys() & found.keys() else {}
        together = [
            [place for places in each.values() for place in places] for each in (found, wanted)
        ]
        scores = {
            name: match_centres(found.get(name, []), wanted.get(name, []), radius) for name in names
        }
        scores["all together"] = match_centres(together[0], together[1], radius)
        results.append({"file": path, "classes": {n: s._asdict() for n, s in scores.items()}})
        lines.append(path)
        lines += [
            f"{name:>16} {s.precision:>10.3f} {s.recall:>7.3f} {s.f1:>6.3f} "
            f"{s.found:>6} {s.truth:>6}"
            for name, s in scores.items()
        ]
    return results, lines
