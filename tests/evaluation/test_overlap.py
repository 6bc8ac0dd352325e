"""Overlap scores against hand-made cases, loops and other libraries."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import variation_of_information as skimage_voi
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

from napari_hypseg.evaluation import (
    adjusted_rand_index,
    best_labels,
    contingency,
    dice_matrix,
    match_labels,
    variation_of_information,
)

small = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 5)),
        arrays(np.int64, n, elements=st.sampled_from([0, 1, 4, 70_000])),
    )
)


@given(small)
def test_contingency_matches_sklearn(pair):
    labels, truth = pair
    table = contingency(labels, truth)
    assert np.array_equal(table.counts, contingency_matrix(labels, truth))
    assert np.array_equal(table.labels, np.unique(labels))
    assert np.array_equal(table.classes, np.unique(truth))


@pytest.mark.parametrize(
    "dtype", [bool, np.uint8, np.int8, np.int16, np.uint32, np.uint64, np.float16, np.float32]
)
def test_contingency_takes_every_whole_type(dtype):
    labels = np.array([[0, 1], [1, 1]]).astype(dtype)
    assert contingency(labels, labels.astype(np.uint8)).counts.tolist() == [[1, 0], [0, 3]]


def test_negative_numbers_are_names_like_others():
    table = contingency(np.array([-1, -1, 3], np.int8), np.array([0.0, 5.0, 5.0]))
    assert table.labels.tolist() == [-1, 3]
    assert table.classes.tolist() == [0, 5]
    assert table.counts.tolist() == [[1, 1], [0, 1]]


@given(small)
def test_best_labels_match_a_loop(pair):
    labels, truth = pair
    found = best_labels(contingency(labels, truth))
    assert list(found) == np.unique(truth).tolist()
    for value, label in found.items():
        dice = {
            other: 2 * ((labels == other) & (truth == value)).sum()
            / ((labels == other).sum() + (truth == value).sum())
            for other in np.unique(labels).tolist()
        }  # fmt: skip
        assert dice[label] == pytest.approx(max(dice.values()), abs=1e-15)


@pytest.mark.parametrize(
    ("labels", "truth", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), r"shape \(2, 2\), but the truth has \(2, 3"),
        (np.array([0, 1]), np.array([0.0, 0.5]), "the truth must be whole numbers"),
        (np.array([np.nan, 1]), np.array([0, 1]), "the labels must be whole numbers"),
        (np.array([0, 1j]), np.array([0, 1]), "the labels must be whole numbers"),
        (np.zeros(0, int), np.zeros(0, int), "the labels hold no voxel"),
        (np.arange(20_000), np.arange(20_000), "20000 labels against 20000 classes"),
    ],
)
def test_contingency_refuses(labels, truth, message):
    with pytest.raises(ValueError, match=message):
        contingency(labels, truth)


@given(small)
def test_dice_matches_a_loop_over_masks(pair):
    labels, truth = pair
    dice = dice_matrix(contingency(labels, truth))
    for i, label in enumerate(np.unique(labels)):
        for j, value in enumerate(np.unique(truth)):
            a, b = labels == label, truth == value
            tp, fp, fn = (a & b).sum(), (a & ~b).sum(), (~a & b).sum()
            assert dice[i, j] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-15)


@given(small)
def test_matching_is_the_best_of_all_assignments(pair):
    labels, truth = pair
    dice = dice_matrix(contingency(labels, truth))
    wide = dice if dice.shape[0] <= dice.shape[1] else dice.T
    best = max(
        sum(wide[i, j] for i, j in enumerate(columns))
        for columns in permutations(range(wide.shape[1]), wide.shape[0])
    )
    matches = match_labels(labels, truth)
    ours = 0.0
    for value, label in matches.items():
        a, b = labels == label, truth == value
        ours += 2 * (a & b).sum() / (a.sum() + b.sum())
    assert ours == pytest.approx(best)
    assert len(set(matches.values())) == len(matches)
    assert list(matches) == sorted(matches)


def test_matching_undoes_a_permutation():
    truth = np.repeat([0, 1, 2, 9], [5, 4, 3, 2])
    names = np.array([30, 7, 0, *[0] * 6, 12])
    assert match_labels(names[truth], truth) == {0: 30, 1: 7, 2: 0, 9: 12}


def test_matching_never_gives_a_label_that_does_not_overlap():
    labels, truth = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 1, 2, 2])
    # Class 1 lies inside label 0, which class 0 needs more; label 1 does not touch class 1.
    assert match_labels(labels, truth) == {0: 0, 2: 1}
    assert match_labels(np.array([3, 3, 4]), np.array([0, 1, 1])) == {0: 3, 1: 4}
    # As many labels as classes: the best assignment has a pair that never meets.
    assert match_labels(np.repeat([0, 1], [11, 1]), np.repeat([0, 1, 0], [10, 1, 1])) == {0: 0}


@given(small)
def test_rand_index_matches_sklearn(pair):
    labels, truth = pair
    ours = adjusted_rand_index(contingency(labels, truth))
    assert ours == pytest.approx(adjusted_rand_score(truth, labels), abs=1e-12)


def test_rand_index_of_many_voxels_does_not_overflow():
    big = np.random.default_rng(0).integers(0, 3, 4_000_000, dtype=np.uint8)
    table = contingency(big, big // 2)
    scaled = type(table)(table.counts * 1000, table.labels, table.classes)
    assert adjusted_rand_index(scaled) == pytest.approx(adjusted_rand_index(table), abs=1e-6)


@given(small)
def test_variation_of_information_matches_skimage(pair):
    labels, truth = pair
    split, merge = variation_of_information(contingency(labels, truth))
    undersegmented, oversegmented = skimage_voi(truth % 60_000, labels)
    assert split == pytest.approx(undersegmented, abs=1e-9)
    assert merge == pytest.approx(oversegmented, abs=1e-9)


@given(small)
def test_variation_of_information_is_a_metric_of_partitions(pair):
    labels, truth = pair
    split, merge = variation_of_information(contingency(labels, truth))
    assert (split, merge) == pytest.approx(
        variation_of_information(contingency(truth, labels))[::-1], abs=1e-12
    )
    assert variation_of_information(contingency(labels, labels + 3)) == (0, 0)
