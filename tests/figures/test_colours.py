"""Colours that stay with their branch, differ, and can be seen."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.figures import label_colours
from napari_hypseg.figures.colours import colour_difference

from .conftest import random_tree


def on_disk(tree: MergeTree) -> TreeClustering:
    return TreeClustering("kinds", np.zeros((1, 1, 1), np.uint8), tree)


def hue(colours):
    """Turns, in CIELAB: not the space that the colours are chosen in."""
    _, a, b = np.moveaxis(rgb2lab(colours), -1, 0)
    return np.arctan2(b, a) / (2 * np.pi)


def turns(first, second):
    return abs((first - second + 0.5) % 1 - 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_label_keeps_its_colour_at_every_granularity(seed):
    clustering = on_disk(random_tree(40, seed))
    finest = label_colours(clustering, 40)
    for k in range(1, 40):
        np.testing.assert_array_equal(label_colours(clustering, k), finest[:k])


@pytest.mark.parametrize(("k", "least"), [(4, 0.17), (8, 0.15), (12, 0.10), (30, 0.06)])
def test_colours_differ(k, least):
    for seed in range(5):
        colours = label_colours(on_disk(random_tree(40, seed)), k)
        first, second = np.array(list(combinations(colours, 2))).swapaxes(0, 1)
        assert colour_difference(first, second).min() >= least


@pytest.mark.parametrize(("k", "least"), [(4, 15), (8, 10), (12, 6)])
def test_colours_differ_by_another_measure(k, least):
    # CIEDE2000: 1 is just noticeable, 5 plain.
    for seed in range(5):
        lab = rgb2lab(label_colours(on_disk(random_tree(40, seed)), k))
        first, second = np.array(list(combinations(lab, 2))).swapaxes(0, 1)
        assert deltaE_ciede2000(first, second).min() >= least


def test_red_and_green_of_one_lightness_count_as_near():
    # Told apart by hue alone, which people without green cones can't.
    red, green, blue = [[0.75, 0.35, 0.25]], [[0.45, 0.50, 0.10]], [[0.25, 0.45, 0.95]]
    assert colour_difference(red, green) < 0.6 * colour_difference(red, blue)


def test_colours_stand_out_on_white_and_on_black():
    colours = label_colours(on_disk(random_tree(40, 0)), 30)
    assert (colours >= 0).all()
    assert (colours <= 1).all()
    lightness = rgb2lab(colours)[:, 0]
    assert lightness.min() > 30
    assert lightness.max() < 85


@pytest.mark.parametrize("turn", [0.0, 0.25, 0.5, 0.8])
def test_hue_turns_with_the_disk(turn):
    """Two classes at opposite sides have opposite hues, and both turn with the disk."""
    angle = 2 * np.pi * (turn + np.array([0, 0.5]))
    ends = 0.4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    tree = MergeTree(
        np.array([[0, 1]]), np.ones(1), np.array([6, 4, 10]), np.array([*ends, 0.2 * ends[0]])
    )
    first, second = hue(label_colours(on_disk(tree), 2))
    # OKLab and CIELAB disagree about hue by up to 0.1 turns.
    assert turns(first, turn) < 0.12
    assert turns(second, turn + 0.5) < 0.15


def test_a_part_is_coloured_like_its_whole_where_there_is_room():
    """A class that lies with its parent has a hue nearer to it than one far away has."""
    places = 0.4 * np.array([[1, 0], [0.95, 0.1], [-1, 0], [0.98, 0.05], [0.3, 0]])
    tree = MergeTree(np.array([[0, 1], [3, 2]]), np.arange(2.0), np.array([5, 4, 3, 9, 12]), places)
    first, far, near = hue(label_colours(on_disk(tree), 3))
    assert turns(near, first) < 0.25
    assert turns(near, first) < turns(far, near)


def test_no_such_number_of_colours(clustering):
    for k in (0, 31):
        with pytest.raises(ValueError, match=f"clusters, not {k}$"):
            label_colours(clustering, k)
