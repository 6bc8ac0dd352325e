"""The merge tree: nested levels, stable labels, and its way through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hypseg.clustering import MergeTree
from napari_hypseg.clustering.ward import Merges


@st.composite
def _merges(draw):
    """Merges of up to 30 leaves in some order, parts before wholes, with ties in height."""
    n = draw(st.integers(1, 30))
    standing, height, pairs, heights = list(range(n)), dict.fromkeys(range(n), 0), [], []
    for i in range(n - 1):
        a, b = (standing.pop(draw(st.integers(0, len(standing) - 1))) for _ in range(2))
        height[n + i] = max(height[a], height[b]) + draw(st.integers(0, 2))
        standing.append(n + i)
        pairs.append((a, b))
        heights.append(height[n + i])
    counts = np.array(draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)))
    merges = Merges(np.array(pairs, np.int32).reshape(-1, 2), np.array(heights, np.float64))
    return merges, counts


def _leaves_of(merges, n, node):
    if node < n:
        return {int(node)}
    a, b = merges.pairs[node - n]
    return _leaves_of(merges, n, a) | _leaves_of(merges, n, b)


def _tree(merges, counts):
    n = len(counts)
    # A centroid that tells which node it belongs to.
    return MergeTree.from_merges(merges, counts, np.arange(2.0 * n - 1)[:, None])


@settings(max_examples=60)
@given(_merges())
def test_nodes_keep_their_leaves_counts_and_centroids(case):
    merges, counts = case
    n = len(counts)
    tree = _tree(merges, counts)
    assert (np.diff(tree.heights) >= 0).all()
    ours = Merges(tree.merges.astype(np.int32), tree.heights)
    for node in range(2 * n - 1):
        before = int(tree.centroids[node, 0])
        leaves = _leaves_of(ours, n, node)
        assert leaves == _leaves_of(merges, n, before)
        assert tree.counts[node] == sum(counts[leaf] for leaf in leaves)
        if node >= n:
            assert tree.heights[node - n] == merges.heights[before - n]


@settings(max_examples=60)
@given(_merges(), st.integers(1, 40))
def test_a_pruned_tree_has_the_same_levels(case, k):
    tree = _tree(*case)
    leaf, pruned = tree.pruned(k)
    k = min(k, tree.n_leaves)
    assert pruned.n_leaves == k
    assert leaf.dtype == np.uint8
    for level in range(1, k + 1):
        np.testing.assert_array_equal(pruned.lookup(level)[leaf], tree.lookup(level))
        ours, theirs = pruned.nodes(level), tree.nodes(level)
        np.testing.assert_array_equal(pruned.counts[ours], tree.counts[theirs])
        np.testing.assert_array_equal(pruned.centroids[ours], tree.centroids[theirs])
    np.testing.assert_array_equal(pruned.heights, tree.heights[tree.n_leaves - k :])
    # Also says that it is a tree at all.
    np.testing.assert_array_equal(MergeTree.from_dict(pruned.to_dict()).merges, pruned.merges)


@settings(max_examples=60)
@given(_merges())
def test_levels_are_nested_and_the_larger_part_keeps_its_label(case):
    merges, counts = case
    n = len(counts)
    tree = _tree(merges, counts)
    labels = tree.lookup(1)
    assert labels.dtype == np.uint8
    assert (labels == 1).all()
    for k in range(2, n + 1):
        finer = tree.lookup(k)
        assert set(finer.tolist()) == set(range(1, k + 1))
        moved = finer != labels
        # One part of one cluster gets the new label, and is not the larger one.
        assert (finer[moved] == k).all()
        (split,) = set(labels[moved].tolist())
        assert counts[moved].sum() <= counts[finer == split].sum()
        labels = finer


@settings(max_examples=60)
@given(_merges(), st.data())
def test_a_level_undoes_the_highest_merges(case, data):
    merges, counts = case
    n = len(counts)
    k = data.draw(st.integers(1, n))
    tree = _tree(merges, counts)
    # Brute force: do all but the last k - 1 merges, label after label.
    groups = [{leaf} for leaf in range(n)]
    for a, b in tree.merges[: n - k]:
        groups += [groups[a] | groups[b]]
        groups[a], groups[b] = set(), set()
    lookup = tree.lookup(k)
    found = {frozenset(np.flatnonzero(lookup == label).tolist()) for label in range(1, k + 1)}
    assert found == {frozenset(g) for g in groups if g}
    for label, node in enumerate(tree.nodes(k), start=1):
        ours = Merges(tree.merges.astype(np.int32), tree.heights)
        assert _leaves_of(ours, n, node) == set(np.flatnonzero(lookup == label).tolist())


@settings(max_examples=20)
@given(_merges())
def test_json_keeps_a_tree(case):
    tree = _tree(*case)
    back = MergeTree.from_dict(json.loads(json.dumps(tree.to_dict())))
    for name in ("merges", "heights", "counts", "centroids"):
        one, other = getattr(tree, name), getattr(back, name)
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_refuses_levels_that_do_not_exist():
    merges = Merges(np.array([[0, 1], [3, 2]], np.int32), np.array([1.0, 2.0]))
    tree = _tree(merges, np.ones(3))
    for k in (0, 4, -1):
        with pytest.raises(ValueError, match=f"^this tree has 1 to 3 clusters, not {k}$"):
            tree.nodes(k)
        with pytest.raises(ValueError, match="1 to 3"):
            tree.lookup(k)


def test_255_leaves_fit_into_a_byte():
    n = 255
    pairs = np.array([[0 if i == 0 else n + i - 1, i + 1] for i in range(n - 1)], np.int32)
    tree = _tree(Merges(pairs, np.arange(n - 1.0)), np.ones(n))
    assert tree.n_leaves == 255
    assert sorted(tree.lookup(255).tolist()) == list(range(1, 256))
