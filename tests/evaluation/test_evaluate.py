"""The report: hand-made cases, the papers' protocol, what JSON gets."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from napari_hypseg.evaluation import evaluate, hausdorff


@pytest.fixture
def truth():
    truth = np.zeros((12, 12, 12), np.uint8)
    truth[2:10, 2:10, 2:10] = 1
    truth[4:7, 4:7, 4:7] = 4
    return truth


def test_a_permuted_truth_is_perfect(truth):
    labels = np.array([9, 0, 0, 0, 300])[truth]
    result = evaluate(labels, truth, voxel_size=(10, 10, 10))
    assert [(c.truth, c.label, c.dice) for c in result.classes] == [
        (0, 9, 1.0),
        (1, 0, 1.0),
        (4, 300, 1.0),
    ]
    assert all(c.hausdorff_average == c.hausdorff_95 == 0 for c in result.classes)
    assert (result.mean_dice, result.mean_dice_foreground) == (1, 1)
    assert (result.adjusted_rand_index, result.voi_split, result.voi_merge) == (1, 0, 0)


def test_a_class_without_a_label_counts_zero(truth):
    labels = (truth > 0).astype(np.uint8)
    result = evaluate(labels, truth, voxel_size=(10, 10, 10))
    size = {value: int((truth == value).sum()) for value in (0, 1, 4)}
    cell = 2 * size[1] / (2 * size[1] + size[4])
    missed = result.classes[2]
    assert (missed.truth, missed.label, missed.dice) == (4, None, 0.0)
    assert (missed.best_label, missed.best_dice) == (1, 2 * 27 / (27 + 8**3))
    # The whole cell stands for it; no surface of the cell is near that of the small thing.
    assert missed.hausdorff_95 == pytest.approx(
        hausdorff(truth > 0, truth == 4, voxel_size=(10, 10, 10)).percentile_95
    )
    assert missed.boundary_f1 == 0
    assert 0 < missed.boundary_f1_2 < 1
    assert result.mean_dice == pytest.approx((1 + cell + 0) / 3)
    assert result.mean_dice_foreground == pytest.approx((cell + 0) / 2)
    assert result.voi_split == 0
    assert result.voi_merge > 0


def test_rows_agree_with_the_distances_of_the_masks(truth):
    labels = np.roll(truth, 2, axis=1)
    size = (8.0, 10.0, 12.0)
    result = evaluate(labels, truth, voxel_size=size)
    for score in result.classes:
        expected = hausdorff(labels == score.label, truth == score.truth, voxel_size=size)
        assert score.hausdorff_95 == expected.percentile_95
        assert score.hausdorff_average == expected.average
    assert result.classes[2].hausdorff_95 == 20


def test_more_labels_than_classes(truth):
    labels = truth.astype(np.int32)
    labels[:, :5] += 10
    result = evaluate(labels, truth)
    assert [c.label for c in result.classes] == [0, 1, 4]
    assert result.voi_merge == 0
    assert result.voi_split > 0.5


def test_truth_of_background_only():
    result = evaluate(np.ones((2, 2, 2), int), np.zeros((2, 2, 2), int))
    assert result.mean_dice == 1
    assert math.isnan(result.mean_dice_foreground)


def test_report_is_strict_json(truth):
    result = evaluate((truth > 0).astype(np.uint8), truth)
    report = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert report["mean_dice"] == result.mean_dice
    row = report["classes"][2]
    assert (row["truth"], row["label"], row["dice"], row["best_label"]) == (4, None, 0.0, 1)
    background = evaluate(truth * 0, truth * 0).to_dict()
    assert background["mean_dice_foreground"] is None


def test_refuses_what_is_no_volume():
    with pytest.raises(ValueError, match="need 3 axes"):
        evaluate(np.zeros((4, 4), int), np.zeros((4, 4), int))
