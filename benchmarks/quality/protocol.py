"""The protocol: what one method makes of one volume, scored in five parts.

(a) Without labels, (b) what its features know at all, (c) after a few strokes, (d) objects, (e)
what is thin: page.md says each in words.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.quality.cases import Case
from benchmarks.quality.methods import Features, Labels, Method, Run
from napari_hypseg.evaluation import (
    adjusted_rand_index,
    best_labels,
    centrelines,
    contingency,
    dice_matrix,
    match_centres,
    match_labels,
    surface_distances,
    variation_of_information,
)

__all__ = ["KS", "draw_strokes", "score"]

KS = tuple(range(2, 13))
STROKES = (3, 10, 30)
STROKE_LENGTH = 5
DRAWS = 3
# Voxels that classifiers are trained on, and that they and strokes are scored on, drawn at random.
TRAINED, TESTED = 20_000, 100_000
TREES = 50
# Components of fewer voxels are no objects.
LEAST_OBJECT = 27

Scores = dict[str, Any]


def score(case: Case, method: Method, run: Run) -> Scores:
    """All scores of a method on a volume, in plain values; parts that do not apply are left out."""
    began = time.perf_counter()
    features = method.features(case.volume, run) if method.features else None
    scores: Scores = {}
    if method.labels:
        found = method.labels(case.volume, features, KS, run)
        scores["seconds"] = round(time.perf_counter() - began, 1)
        tables = {k: contingency(labels, case.truth) for k, labels in found.items()}
        chosen = {}
        for target, name in case.targets.items():
            dice = {k: _best_dice(table, target) for k, table in tables.items()}
            if None not in dice.values():
                k = max(dice, key=lambda k: dice[k] or 0)
                chosen[target] = k
                scores.setdefault("best", {})[name] = {"dice": dice[k], "k": k}
        scores["levels"] = [_level(found, truth) for truth in case.levels]
        scores["objects"] = _objects(case, found)
        scores["thin"] = {
            case.targets[target]: _thin(case, target, found[chosen[target]])
            for target in case.thin
            if target in chosen
        }
        if case.bodies is not None:
            scores["bodies"] = _bodies(case, found[chosen[1]])
    if features is not None:
        flat = features.reshape(-1, features.shape[-1])
        scores["information"] = _information(case, flat)
        scores["strokes"] = _strokes(case, flat)
    return scores


def _best_dice(table: Any, target: int) -> float | None:
    column = np.flatnonzero(table.classes == target)
    return float(dice_matrix(table)[:, column[0]].max()) if len(column) else None


def _level(found: dict[int, Labels], truth: npt.NDArray[Any]) -> Scores:
    """Mean Dice over all classes after matching, at the best k and at the truth's number."""
    dice, tables = {}, {k: contingency(labels, truth) for k, labels in found.items()}
    for k, table in tables.items():
        matrix = dice_matrix(table)
        rows = {int(label): row for row, label in enumerate(table.labels)}
        columns = {int(value): column for column, value in enumerate(table.classes)}
        pairs = match_labels(found[k], truth)
        dice[k] = sum(matrix[rows[b], columns[a]] for a, b in pairs.items()) / len(columns)
    best = max(dice, key=lambda k: dice[k])
    same = min(max(dice), max(min(dice), len(columns)))
    split, merge = variation_of_information(tables[same])
    return {
        "best": dice[best], "best_k": best, "same": dice[same], "same_k": same,
        "rand": adjusted_rand_index(tables[same]), "voi": split + merge,
    }  # fmt: skip


def _objects(case: Case, found: dict[int, Labels]) -> Scores:
    """Centres of the components of the label that fits the objects best, at the k with most F1."""
    if not case.picks:
        return {}
    truth = np.concatenate(list(case.picks.values()))
    best: Scores = {}
    for k, labels in found.items():
        label = best_labels(contingency(labels, case.truth)).get(case.objects)
        if label is None:
            return {}
        components, count = ndimage.label(labels == label)
        sizes = np.bincount(components.ravel(), minlength=count + 1)
        kept = [number for number in range(1, count + 1) if sizes[number] >= LEAST_OBJECT]
        centres = ndimage.center_of_mass(components > 0, components, kept) if kept else []
        scored = match_centres(centres, truth, case.radius)
        if not best or scored.f1 > best["f1"]:
            best = {**scored._asdict(), "k": k}
    return best


def _thin(case: Case, target: int, labels: Labels) -> Scores:
    table = contingency(labels, case.truth)
    mask, truth = labels == best_labels(table)[target], case.truth == target
    surfaces, lines = surface_distances(mask, truth), centrelines(mask, truth)
    return {
        "boundary_f1": surfaces.f1(1), "boundary_f1_2": surfaces.f1(2),
        "surface_dice": surfaces.dice(1), "centreline_recall": lines.recall, "cldice": lines.f1,
    }  # fmt: skip


def _bodies(case: Case, labels: Labels) -> Scores:
    """Components of what the boundary's best label leaves, against the bodies, without boundary."""
    assert case.bodies is not None
    boundary = labels == best_labels(contingency(labels, case.truth))[1]
    components, _ = ndimage.label(~boundary)
    inside = case.bodies > 0
    table = contingency(components[inside], case.bodies[inside])
    split, merge = variation_of_information(table)
    return {"rand": adjusted_rand_index(table), "voi_split": split, "voi_merge": merge}


def _information(case: Case, points: Features) -> Scores:
    """Train with the truth of one half and score the other; targets that both halves have count."""
    first = _half(case)
    truth = case.truth.ravel()
    shared = set(np.unique(truth[first]).tolist()) & set(np.unique(truth[~first]).tolist())
    targets = [target for target in case.targets if target in shared]
    if not targets:
        return {}
    rng = np.random.default_rng(0)
    train, test = (
        rng.permutation(np.flatnonzero(half))[:count]
        for half, count in ((first, TRAINED), (~first, TESTED))
    )
    models = {
        "forest": RandomForestClassifier(TREES, random_state=0),
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
    }
    scores: Scores = {}
    for name, model in models.items():
        found = model.fit(points[train], truth[train]).predict(points[test])
        scores[name] = _mean_dice(found, truth[test], targets)
    return scores


def _half(case: Case) -> npt.NDArray[np.bool_]:
    """One half of the flat volume, along the axis that shares out its rarest target most evenly."""
    masks = [case.truth == target for target in case.targets]
    evenness = []
    for axis, size in enumerate(case.truth.shape):
        there = [
            np.take(mask, range(size // 2), axis).sum() / mask.sum() for mask in masks if mask.any()
        ]
        evenness.append(min(min(share, 1 - share) for share in there))
    axis = int(np.argmax(evenness))
    place = np.arange(case.truth.shape[axis]) < case.truth.shape[axis] // 2
    shape = [1, 1, 1]
    shape[axis] = -1
    first: npt.NDArray[np.bool_] = np.broadcast_to(place.reshape(shape), case.truth.shape).ravel()
    return first


def _strokes(case: Case, points: Features) -> Scores:
    """A forest trained on the voxels of few strokes; mean over the draws."""
    truth = case.truth.ravel()
    test = np.random.default_rng(0).permutation(len(truth))[:TESTED]
    targets = [target for target in case.targets if (truth[test] == target).any()]
    scores: Scores = {}
    for count in STROKES if targets else ():
        dice = []
        for draw in range(DRAWS):
            drawn = np.concatenate(draw_strokes(case.truth, count, draw))
            forest = RandomForestClassifier(TREES, random_state=draw)
            forest.fit(points[drawn], truth[drawn])
            dice.append(_mean_dice(forest.predict(points[test]), truth[test], targets))
        scores[str(count)] = float(np.mean(dice))
    return scores


def draw_strokes(truth: npt.NDArray[Any], count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Voxels of strokes drawn at random: the classes take turns, and each gets one at least.

    A stroke is a walk of 5 voxels in a slice that stays within its class.

    Returns
    -------
    list of ndarray of int64
        Indices into the flat volume; fewer than 5 where a walk has no way on.
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.unique(truth))
    places = {value: np.flatnonzero(truth == value) for value in classes}
    strokes = []
    for turn in range(max(count, len(classes))):
        value = classes[turn % len(classes)]
        place = np.unravel_index(int(rng.choice(places[value])), truth.shape)
        z, *first = (int(index) for index in place)
        walk = [(first[0], first[1])]
        while len(walk) < STROKE_LENGTH:
            y, x = walk[-1]
            steps = [
                (b, a)
                for b in range(max(0, y - 1), min(truth.shape[1], y + 2))
                for a in range(max(0, x - 1), min(truth.shape[2], x + 2))
                if (b, a) not in walk and truth[z, b, a] == value
            ]
            if not steps:
                break
            walk.append(steps[rng.integers(len(steps))])
        rows, columns = np.transpose(walk)
        strokes.append(np.ravel_multi_index((np.full_like(rows, z), rows, columns), truth.shape))
    return strokes


def _mean_dice(found: npt.NDArray[Any], truth: npt.NDArray[Any], targets: Sequence[int]) -> float:
    pairs = [(found == target, truth == target) for target in targets]
    return float(np.mean([2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in pairs]))
