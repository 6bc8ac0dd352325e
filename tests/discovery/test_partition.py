"""Classes that are split, merged, named, hidden and drawn: against sets of leaves and voxels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.discovery import History, Partition, Tally, cloud_job, node_colours
from napari_hypseg.discovery.colours import colour_difference, distinct_colour
from napari_hypseg.discovery.partition import leaves_below
from napari_hypseg.discovery.voxels import relabel
from napari_hypseg.jobs import finish

from .conftest import make_latents, random_tree

SHAPE = (4, 5, 6)


def whole(n: int, seed: int) -> Partition:
    """A random tree of leaves that all occur, as one class."""
    rng = np.random.default_rng(seed)
    leaves = rng.integers(0, n, SHAPE).astype(np.uint8)
    leaves.reshape(-1)[:n] = range(n)
    tree = random_tree(n, seed) if n > 1 else single()
    counts = np.bincount(leaves.ravel(), minlength=n).tolist()
    for a, b in tree.merges.tolist():
        counts.append(counts[a] + counts[b])
    tree = MergeTree(tree.merges, tree.heights, np.array(counts), tree.centroids)
    return Partition.of(TreeClustering("disk", leaves, tree), 1)


def single() -> MergeTree:
    return MergeTree(np.zeros((0, 2), np.int64), np.zeros(0), np.array([8]), np.zeros((1, 2)))


def below(tree: MergeTree, node: int) -> frozenset[int]:
    """The leaves below a node, by recursion."""
    if node < tree.n_leaves:
        return frozenset([node])
    return frozenset().union(*(below(tree, int(n)) for n in tree.merges[node - tree.n_leaves]))


def step(partition: Partition, data: st.DataObject) -> Partition:
    """One operation that a person may do."""
    tree = partition.tree
    doable = ["at", "hide", "show", "only", "rename"]
    splits = [key for key in partition.keys if partition.can_split(key)]
    doable += ["split"] * 3 * bool(splits) + ["merge"] * (partition.k > 1)
    doable += ["add_own"] * (len(partition.own) < 3) + ["remove_own"] * bool(partition.own)
    what = data.draw(st.sampled_from(doable))
    if what == "at":
        return partition.at(data.draw(st.integers(1, tree.n_leaves)))
    if what == "split":
        return partition.split(data.draw(st.sampled_from(splits)))
    if what == "merge":
        return partition.merge(data.draw(st.sampled_from(partition.wholes)))
    if what == "add_own":
        mask = np.zeros(SHAPE, bool)
        z, y = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 4))
        mask[z:, y:] = True
        return partition.add_own(mask)
    if what == "remove_own":
        return partition.remove_own(data.draw(st.sampled_from(partition.own)).key)
    key = data.draw(st.sampled_from([*range(2 * tree.n_leaves - 1), *partition.keys]))
    if what == "rename":
        return partition.rename(key, data.draw(st.sampled_from(["membrane", " ", "a b "])))
    changed: Partition = getattr(partition, what)(key)
    return changed


@st.composite
def partitions(draw) -> Partition:
    partition = whole(draw(st.integers(1, 14)), draw(st.integers(0, 50)))
    data = draw(st.data())
    for _ in range(draw(st.integers(0, 8))):
        partition = step(partition, data)
    return partition


@settings(max_examples=150, deadline=None)
@given(partitions())
def test_every_voxel_has_one_label(partition):
    tree, leaves = partition.tree, partition.clustering.leaves
    parts = [below(tree, node) for node in partition.nodes]
    # Each leaf in exactly one class.
    assert sorted(leaf for part in parts for leaf in part) == list(range(tree.n_leaves))
    expected = np.zeros(SHAPE, np.uint8)
    for label, part in enumerate(parts, start=1):
        expected[np.isin(leaves, list(part))] = label
    for label, own in enumerate(partition.own, start=partition.k + 1):
        expected[own.mask] = label
    labels = partition.labels()
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(relabel(partition.values(), partition.value_labels()), expected)
    some = np.arange(0, labels.size, 7)
    leaves = partition.clustering.leaves.ravel()[some]
    for known in (None, leaves):
        np.testing.assert_array_equal(partition.labels_at(some, known), expected.ravel()[some])
    assert [c.label for c in partition.classes] == list(range(1, len(partition.keys) + 1))
    assert partition.values().max() <= tree.n_leaves + len(partition.own)


@settings(max_examples=100, deadline=None)
@given(partitions(), st.data())
def test_split_then_merge_changes_nothing(partition, data):
    splits = [key for key in partition.keys if partition.can_split(key)]
    if not splits:
        return
    node = data.draw(st.sampled_from(splits))
    split = partition.split(node)
    assert split.k == partition.k + 1
    # All other classes keep their labels.
    for label, key in enumerate(partition.nodes):
        assert split.nodes[label] == key or key == node
    again = split.merge(node)
    assert again.nodes == partition.nodes
    assert (again.names, again.hidden, again.own) == (
        partition.names, partition.hidden, partition.own
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(partitions(), st.data())
def test_what_is_hidden_stays_with_the_branch(partition, data):
    tree = partition.tree
    node = data.draw(st.sampled_from(range(2 * tree.n_leaves - 1)))
    hidden, shown, alone = partition.hide(node), partition.show(node), partition.only(node)
    for changed, inside in ((hidden, True), (shown, False), (alone, False)):
        for k in range(1, tree.n_leaves + 1):
            for found in changed.at(k).classes[:k]:
                part = below(tree, found.key)
                if part <= below(tree, node):
                    assert found.hidden == inside
                elif not part & below(tree, node):
                    before = partition.at(k).classes[found.label - 1].hidden
                    assert found.hidden == (True if changed is alone else before)
                assert found.hidden == changed.is_hidden(found.key)
    assert all(own.key in alone.hidden for own in partition.own)
    assert not any(c.hidden for c in partition.show().classes)


@settings(max_examples=50, deadline=None)
@given(partitions(), st.data())
def test_names_and_colours_stay_with_the_branch(partition, data):
    node = data.draw(st.sampled_from(partition.nodes))
    named = partition.rename(node, " spike ")
    for k in range(1, partition.tree.n_leaves + 1):
        for before, after in zip(partition.at(k).classes, named.at(k).classes, strict=True):
            assert (after.name == "spike") == (after.key == node or before.name == "spike")
            assert after.colour == before.colour
            if after.key >= 0:
                assert after.colour == tuple(partition.colours[after.key])
    assert named.rename(node, "").name(node) == f"class {partition.nodes.index(node) + 1}"


@settings(max_examples=50, deadline=None)
@given(partitions())
def test_colours_of_classes_differ(partition):
    colours = [c.colour for c in partition.classes]
    assert len(set(colours)) == len(colours)
    rgba = partition.label_colours()
    assert [tuple(c) for c in rgba[:, :3].tolist()] == colours
    assert (rgba[:, 3] == 0).tolist() == [c.hidden for c in partition.classes]


@pytest.mark.parametrize("k", [1, 6, 40])
def test_the_colour_of_an_own_class_stays_clear_at_other_granularities(k):
    partition = whole(60, 1).at(k)
    own = partition.add_own(np.ones(SHAPE, bool)).own[0].colour
    assert own not in map(tuple, partition.colours.tolist())
    shown = partition.colours[partition.tree.nodes(30)]
    assert colour_difference(np.tile(own, (30, 1)), shown).min() > 0.06


@settings(max_examples=100, deadline=None)
@given(partitions(), st.data())
def test_wholes_lie_above_the_classes(partition, data):
    tree = partition.tree
    parts = {node: below(tree, node) for node in range(2 * tree.n_leaves - 1)}
    above = [n for n in parts if any(parts[c] < parts[n] for c in partition.nodes)]
    assert partition.wholes == above
    for node in parts:
        assert set(leaves_below(tree, node)) == parts[node]
        assert set(partition.classes_in(node)) == {
            c for c in partition.nodes if parts[c] & parts[node]
        }
    some = data.draw(st.sets(st.sampled_from(partition.nodes), min_size=1))
    union = frozenset().union(*(parts[n] for n in some))
    higher = [n for n in parts if parts[n] >= union and (len(some) > 1 or n not in some)]
    expected = min(higher, key=lambda n: len(parts[n]), default=None)
    assert partition.whole(some) == expected


@settings(max_examples=50, deadline=None)
@given(partitions(), st.data())
def test_undo_and_redo(partition, data):
    history, seen = History(partition), [partition]
    assert not history.can_undo
    assert not history.can_redo
    for _ in range(data.draw(st.integers(1, 6))):
        history.add(step(history.now, data))
        seen.append(history.now)
    for expected in seen[-2::-1]:
        assert history.can_undo
        history.undo()
        assert history.now is expected
    assert not history.can_undo
    for expected in seen[1:]:
        history.redo()
        assert history.now is expected
    assert not history.can_redo
    history.undo()
    history.add(partition)
    assert not history.can_redo
    assert history.now is partition


def test_a_drag_of_the_slider_is_one_step():
    first = whole(12, 0)
    history = History(first)
    for k in (2, 3, 4):
        history.slide(first.at(k))
    assert history.now.k == 4
    history.rest()
    for k in (5, 6):
        history.slide(first.at(k))
    history.undo()
    assert history.now.k == 4
    # A slide after an undo is a step of its own.
    history.slide(first.at(9))
    history.undo()
    assert history.now.k == 4
    history.undo()
    assert history.now is first
    history.redo()
    history.redo()
    assert history.now.k == 9


@settings(max_examples=40, deadline=None)
@given(partitions(), st.sampled_from([1.0, 0.5, None]))
def test_figures_are_those_of_the_voxels(partition, curvature):
    latents = make_latents(SHAPE, geometry="euclidean" if curvature is None else "hyperbolic")
    object.__setattr__(latents, "curvature", curvature or 1.0)
    tally = Tally(partition.clustering, finish(cloud_job(latents)))
    tally.figures(partition.show(), (1.0, 1.0, 1.0))
    found = tally.figures(partition, (10.0, 8.0, 9.0))
    points, labels = latents.read((slice(None),) * 3), partition.labels()
    norm = np.linalg.norm(points.astype(np.float64), axis=-1)
    if curvature is not None:
        c = curvature
        norm = np.arccosh(1 + 2 * c * norm**2 / (1 - c * norm**2)) / np.sqrt(c)
    for label, figures in enumerate(found, start=1):
        inside = labels == label
        assert figures.voxels == inside.sum()
        assert figures.volume_nm3 == pytest.approx(0.72 * inside.sum())
        if inside.any():
            assert figures.distance == pytest.approx(norm[inside].mean(), rel=1e-4)
        else:
            assert np.isnan(figures.distance)


def test_what_can_not_be_done_says_why():
    one = whole(9, 1)
    with pytest.raises(ValueError, match="no class now"):
        one.split(0)
    with pytest.raises(ValueError, match="no parts"):
        one.at(9).split(0)
    with pytest.raises(ValueError, match="no classes below it"):
        one.merge(one.nodes[0])
    with pytest.raises(ValueError, match=r"mask of shape \(4, 5, 6\)"):
        one.add_own(np.ones((2, 2, 2), bool))
    with pytest.raises(ValueError, match="no voxels"):
        one.add_own(np.zeros(SHAPE, bool))
    with pytest.raises(ValueError, match="1 to 9 clusters, not 10"):
        one.at(10)
    mask = np.ones(SHAPE, bool)
    full = Partition(one.clustering, one.colours, one.nodes, own=one.add_own(mask).own * 246)
    with pytest.raises(ValueError, match="246 classes of your own"):
        full.add_own(mask)


def test_classes_of_a_persons_own():
    mask = np.zeros(SHAPE, bool)
    mask[0] = True
    two = whole(6, 2).at(3).add_own(mask, "first").add_own(mask)
    assert [c.name for c in two.classes[3:]] == ["first", "own class 2"]
    assert (two.labels()[0] == 5).all()
    assert (two.remove_own(-2).labels()[0] == 4).all()
    assert (two.remove_own(-1).labels()[0] == 4).all()
    assert "first" not in two.remove_own(-1).names.values()
    assert two.at(5).labels().max() == 7


def test_a_colour_of_its_own_is_clear():
    taken = node_colours(random_tree(40, 0))[:20]
    colour = distinct_colour(taken)
    assert colour_difference(np.tile(colour, (20, 1)), taken).min() > 0.06


def test_nodes_have_the_colours_of_their_labels():
    tree = random_tree(240, 4)
    colours = node_colours(tree)
    for k in (2, 7, 30, 240):
        nodes = tree.nodes(k)
        assert len(np.unique(colours[nodes], axis=0)) == k
    for merge, pair in enumerate(tree.merges):
        larger = max(pair, key=lambda n: tree.counts[n])
        np.testing.assert_array_equal(colours[240 + merge], colours[larger])
