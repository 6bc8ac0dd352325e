"""The benchmark's figures against hand-made cases and scikit-learn."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff
from sklearn.metrics import adjusted_rand_score, f1_score, mutual_info_score

from papers.figures import binary_dice, class_scores, level_scores

SIZE = (10.0, 10.0, 10.0)


def cube(shape, *boxes):
    """Class i + 1 in the i-th box (start, stop), the same along all axes."""
    labels = np.zeros(shape, np.uint8)
    for number, (start, stop) in enumerate(boxes, 1):
        labels[start:stop, start:stop, start:stop] = number
    return labels


def test_a_perfect_segmentation_under_other_names():
    truth = cube((12, 12, 12), (1, 11), (2, 5), (6, 9))
    found = np.array([3, 0, 2, 1], np.uint8)[truth]
    score = level_scores(found, truth, voxel_size=SIZE)
    assert score == {
        "dice": 1, "dice_foreground": 1, "dice_objects": 1, "rand": 1, "voi_split": 0,
        "voi_merge": 0, "hausdorff_average": 0, "hausdorff_95": 0, "unmatched": 0,
    }  # fmt: skip


def test_means_over_all_classes_without_background_and_over_objects():
    truth = cube((12, 12, 12), (1, 11), (2, 5), (6, 9))
    # The cell and both objects run together: one label, which fits the cell.
    found = (truth > 0).astype(np.uint8)
    cell = 2 * (1000 - 54) / (1000 + 1000 - 54)
    score = level_scores(found, truth, voxel_size=SIZE)
    assert score["dice"] == pytest.approx((1 + cell) / 4)
    assert score["dice_foreground"] == pytest.approx(cell / 3)
    assert score["dice_objects"] == 0
    assert score["unmatched"] == 2


def test_with_two_classes_the_cell_is_the_object():
    truth = cube((8, 8, 8), (2, 6))
    found = cube((8, 8, 8), (2, 5))
    score = level_scores(found, truth, voxel_size=SIZE)
    assert score["dice_objects"] == score["dice_foreground"] == pytest.approx(2 * 27 / (27 + 64))


def test_against_scikit_learn_on_random_labels():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 4, (2, 9, 10, 11))
    score = level_scores(found, truth, voxel_size=SIZE)
    assert score["rand"] == pytest.approx(adjusted_rand_score(truth.ravel(), found.ravel()))
    entropies = sum(mutual_info_score(x.ravel(), x.ravel()) for x in (truth, found))
    information = entropies - 2 * mutual_info_score(truth.ravel(), found.ravel())
    assert score["voi_split"] + score["voi_merge"] == pytest.approx(information / np.log(2))


@pytest.mark.parametrize("seed", range(8))
def test_the_protocol_is_the_best_renaming_that_scikit_learn_can_score(seed):
    """Dice is F1: of all ways to name four labels by four classes, the best macro F1."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, (5, 6, 7))
    wrong = rng.random(truth.shape) < 0.6
    found = rng.permutation(4)[np.where(wrong, rng.integers(0, 4, truth.shape), truth)]
    per_class = [
        f1_score(truth.ravel(), np.array(names)[found].ravel(), average=None, labels=range(4))
        for names in permutations(range(4))
    ]
    best = max(per_class, key=np.mean)
    score = level_scores(found, truth, voxel_size=SIZE)
    assert score["dice"] == pytest.approx(best.mean())
    assert score["dice_foreground"] == pytest.approx(best[1:].mean())
    assert score["dice_objects"] == pytest.approx(best[2:].mean())


def test_a_class_that_no_label_fits_has_no_distance():
    truth = cube((8, 8, 8), (2, 6))
    score = level_scores(np.zeros_like(truth), truth, voxel_size=SIZE)
    assert score["dice"] == pytest.approx(2 * 448 / (512 + 448) / 2)
    assert score["hausdorff_average"] is None
    assert score["hausdorff_95"] is None
    assert score["unmatched"] == 1


def test_distances_are_in_nanometres_and_as_scipy_has_them():
    truth, found = cube((16, 16, 16), (2, 7)), cube((16, 16, 16), (4, 12))
    score = class_scores(found, truth, 1, voxel_size=(20.0, 20.0, 20.0))

    def surface(mask):
        inner = np.zeros_like(mask)
        inner[1:-1, 1:-1, 1:-1] = True
        for axis in range(3):
            for step in (-1, 1):
                inner &= np.roll(mask, step, axis)
        return np.argwhere(mask & ~inner) * 2.0

    a, b = surface(truth == 1), surface(found == 1)
    furthest = max(directed_hausdorff(a, b)[0], directed_hausdorff(b, a)[0])
    assert score["hausdorff_95"] <= furthest
    nearest = np.linalg.norm(a[:, None] - b[None], axis=-1)
    averages = nearest.min(axis=0).mean(), nearest.min(axis=1).mean()
    assert score["hausdorff_average"] == pytest.approx(max(averages))
    tails = (np.percentile(nearest.min(axis=i), 95) for i in range(2))
    assert score["hausdorff_95"] == pytest.approx(max(tails))


def test_distances_of_levels_are_the_mean_over_the_classes_found_but_the_background():
    truth = np.zeros((20, 5, 5), np.uint8)
    truth[4], truth[10], truth[16] = 1, 2, 3
    found = np.zeros_like(truth)
    found[4], found[7:9], found[10] = 1, 1, 2
    score = level_scores(found, truth, voxel_size=(20.0, 10.0, 10.0))
    # Label 1 is sheet 1 and two more, 3 and 4 slices of 2 nm off; label 2 is sheet 2; sheet 3 has
    # none.
    assert score["hausdorff_average"] == pytest.approx((7 / 3 * 2 + 0) / 2)
    assert score["hausdorff_95"] == pytest.approx((4 * 2 + 0) / 2)
    assert score["unmatched"] == 1


def test_best_label_and_matched_label_may_differ():
    # Brain 1 and tumour 2. Label 1 fits the tumour best, but fits the brain better still.
    truth = np.zeros((1, 1, 100), np.uint8)
    truth[..., 40:], truth[..., 90:] = 1, 2
    found = np.zeros_like(truth)
    found[..., 40:] = 1
    found[..., 97:] = 2
    score = class_scores(found, truth, 2, voxel_size=SIZE)
    assert score["dice"] == pytest.approx(2 * 3 / 13)
    assert score["dice_matched"] == pytest.approx(2 * 3 / 13)
    # The tumour is split 3 to 7, and its 7 are merged with the 50 of the brain.
    assert score["voi_split"] == pytest.approx(
        0.1 * (0.3 * np.log2(1 / 0.3) + 0.7 * np.log2(1 / 0.7))
    )
    assert score["voi_merge"] == pytest.approx((50 * np.log2(57 / 50) + 7 * np.log2(57 / 7)) / 100)
    found[..., 97:] = 1
    score = class_scores(found, truth, 2, voxel_size=SIZE)
    assert score["dice"] == pytest.approx(2 * 10 / 70)
    assert score["dice_matched"] == 0


def test_whole_tumour_dice_is_the_f1_score():
    rng = np.random.default_rng(1)
    found, wanted = rng.random((2, 5, 6, 7)) < 0.3
    assert binary_dice(found, wanted) == pytest.approx(f1_score(wanted.ravel(), found.ravel()))
    assert binary_dice(found & False, wanted & False) == 1
    assert binary_dice(found, wanted & False) == 0
