"""Scores of picks and of centre lines against loops, hand-made cases and scikit-image."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.morphology import skeletonize

from napari_hypseg.evaluation import centrelines, match_centres, read_picks

places = st.integers(0, 5).flatmap(
    lambda n: arrays(np.float64, (n, 3), elements=st.integers(0, 4).map(float))
)


@given(places, places, st.sampled_from([0.0, 1.0, 2.5]))
def test_as_many_pairs_as_any_assignment_has(found, truth, radius):
    score = match_centres(found, truth, radius)
    few, many = sorted((found, truth), key=len)
    best = max(
        sum(np.linalg.norm(few[i] - many[j]) <= radius for i, j in enumerate(chosen))
        for chosen in permutations(range(len(many)), len(few))
    )
    assert (score.matched, score.found, score.truth) == (best, len(found), len(truth))
    if not (len(found) and len(truth)):
        assert score[:3] == (float(len(found) == len(truth)),) * 3
        return
    precision, recall = best / len(found), best / len(truth)
    assert score[:2] == (precision, recall)
    both = precision + recall
    assert score.f1 == pytest.approx(2 * precision * recall / both if both else 0)


def test_a_true_centre_counts_once():
    score = match_centres([[0, 0, 0], [0, 0, 1], [0, 0, 2]], [[0, 0, 1], [9, 9, 9]], radius=3)
    assert score == (1 / 3, 1 / 2, 2 / 5, 1, 3, 2)
    with pytest.raises(ValueError, match="must not be negative"):
        match_centres([[0, 0, 0]], [[0, 0, 0]], -1)


def test_picks_by_class(tmp_path):
    path = tmp_path / "picks.csv"
    path.write_text("class,x,y,z,score\nribosome,3,2,1,.5\nTRiC,6,5,4,.1\nribosome,9,8,7,.2\n")
    picks = read_picks(path)
    assert {name: found.tolist() for name, found in picks.items()} == {
        "ribosome": [[1, 2, 3], [7, 8, 9]],
        "TRiC": [[4, 5, 6]],
    }
    path.write_text("z,y,x\n1,2,3\n")
    assert read_picks(path)["all"].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("text", "words"),
    [("z,y\n1,2\n", "lack x"), ("z,y,x\n1,2,3\n1,two,3\n", "line 3"), ("z,y,x\n1,2\n", "line 2")],
)
def test_picks_that_are_none(tmp_path, text, words):
    (tmp_path / "picks.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"picks.csv: .*{words}"):
        read_picks(tmp_path / "picks.csv")


@given(*[arrays(bool, (5, 6, 7), elements=st.booleans())] * 2)
def test_centre_lines_match_a_loop(found, truth):
    score = centrelines(found, truth)
    if not (found.any() and truth.any()):
        assert score == (float(found.any() == truth.any()),) * 3
        return
    inside = []
    for ours, theirs in ((found, truth), (truth, found)):
        line = [tuple(place) for place in np.argwhere(skeletonize(ours))]
        line = line or [tuple(place) for place in np.argwhere(ours)]
        inside.append(sum(bool(theirs[place]) for place in line) / len(line))
    assert score[:2] == pytest.approx(tuple(inside))
    both = sum(inside)
    assert score.f1 == pytest.approx(2 * inside[0] * inside[1] / both if both else 0)


def test_thickness_is_not_asked_for():
    y, x = np.indices((21, 21)) - 10
    tube = np.broadcast_to(y**2 + x**2 <= 16, (40, 21, 21)).copy()
    wire = np.broadcast_to(y**2 + x**2 <= 1, (40, 21, 21)).copy()
    wire[20:] = False
    score = centrelines(wire, tube)
    assert score.precision == 1
    assert 0.4 < score.recall < 0.6
