"""The top of the tree of the volume: areas of contact, and merges by what a border is worth."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_hypseg.clustering.agglomerate import contacts_job, merge_borders_job
from napari_hypseg.clustering.regions import grid_edges
from napari_hypseg.clustering.ward import Regions
from napari_hypseg.jobs import finish


def _merge(points, weights, contacts):
    n = len(weights)
    regions = Regions(
        np.array(points, float).reshape(n, -1),
        np.array(weights, float),
        np.empty((0, 2), np.int32),
        np.zeros(n),
    )
    return finish(merge_borders_job(regions, np.array(contacts), curved=0))


def _groups(merges, n, count):
    """The regions when so many are left, as sets of those at first."""
    groups = {i: {i} for i in range(n)}
    for made, (a, b) in enumerate(merges.pairs[: n - count].tolist()):
        groups[n + made] = groups.pop(a) | groups.pop(b)
    return list(groups.values())


def _contacts(n, areas, outer=()):
    """A matrix of contacts from the areas of pairs and those on the faces of the volume."""
    contacts = np.zeros((n, n), np.int64)
    for (a, b), area in areas.items():
        contacts[a, b] = contacts[b, a] = area
    for a, area in dict(outer).items():
        contacts[a, a] = area
    return contacts


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.uint16, st.tuples(*[st.integers(1, 20)] * 3), elements=st.integers(0, 5)),
    st.sets(st.integers(1, 19)),
)
def test_contacts_are_the_faces_between_labels(labels, cuts):
    slabs = np.split(labels, sorted(cut for cut in cuts if cut < len(labels)))
    found = finish(contacts_job(slabs, len(labels), 6))
    expected = np.zeros((6, 6), int)
    flat = labels.ravel()
    for a, b in grid_edges(labels.shape):
        if flat[a] != flat[b]:
            expected[flat[a], flat[b]] += 1
            expected[flat[b], flat[a]] += 1
    for axis, end in itertools.product(range(3), (0, -1)):
        for label in labels.take(end, axis).ravel():
            expected[label, label] += 1
    np.testing.assert_array_equal(found, expected)


def test_the_border_that_saves_least_for_its_area_goes_first():
    # Two halves of a wave, 0 and 1, and a bright thing, 2, that few voxels make; beside the first
    # nine more, much unlike it.
    n = 12
    points = np.array([0.0, 0.5, 2.0, *range(1000, 10_000, 1000)])
    weights = [1000, 1000, 30, *[10_000] * 9]
    areas = {(0, 1): 400, (1, 2): 60, **{(0, i): 100 for i in range(3, n)}}
    contacts = _contacts(n, areas, {0: 1000, 1: 500, 2: 100, **dict.fromkeys(range(3, n), 1000)})
    # By Ward's criterion alone, 125 for the wave and 65.5 for the thing; for their areas, to the
    # power 2/3, 2.3 and 4.3.
    np.testing.assert_array_equal(_merge(points, weights, contacts).pairs[0], [0, 1])


def test_things_that_are_alike_in_the_same_one_become_one():
    # A cell, 0, with ten bright things and ten dark ones, in the background, 1.
    kinds = [set(range(2, 12)), set(range(12, 22))]
    points = np.array([0.0, -1.0, *[2.0] * 10, *[-2.0] * 10])
    points[2:] += np.linspace(-0.01, 0.01, 20)
    weights = [100_000, 100_000, *[150] * 20]
    areas = {(0, 1): 10_000, **{(0, i): 170 for i in range(2, 22)}}
    merges = _merge(points, weights, _contacts(22, areas, {1: 20_000}))
    left = _groups(merges, 22, 11)
    assert {0} in left
    assert {1} in left
    assert all(any(group <= kind for kind in kinds) for group in left if not group & {0, 1})


def test_things_in_different_ones_stay_apart():
    # Twenty bright things, in turn in one of two cells that don't touch.
    points = [0.0, 0.5, -1.0, *[2.0] * 20]
    weights = [100_000, 100_000, 100_000, *[150] * 20]
    areas = {(0, 2): 10_000, (1, 2): 10_000, **{(i % 2, i): 170 for i in range(3, 23)}}
    merges = _merge(points, weights, _contacts(23, areas, {2: 50_000}))
    left = _groups(merges, 23, 11)
    assert sum(len(group) > 1 for group in left) >= 2
    assert all(len({i % 2 for i in group}) == 1 for group in left)


def _holder(group, groups, contacts):
    """The group that another one lies in with more than half of its surface."""
    surface = sum(contacts[np.ix_(groups[group], g)].sum() for k, g in groups.items() if k != group)
    surface += np.diag(contacts)[groups[group]].sum()
    for other, members in groups.items():
        if other != group and 2 * contacts[np.ix_(groups[group], members)].sum() > surface:
            return other, surface
    return None, surface


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 18), st.integers(0, 2**32 - 1), st.booleans())
def test_merges_are_those_of_a_plain_loop(n, seed, star):
    rng = np.random.default_rng(seed)
    points, weights = rng.normal(size=(n, 2)), rng.integers(1, 50, n).astype(float)
    contacts = np.triu(rng.integers(0, 3, (n, n)) * (rng.random((n, n)) < 0.3), 1)
    contacts[np.arange(n - 1), np.arange(1, n)] += 1
    if star:  # most lie in the first one
        contacts[0, 1:] += 12
    contacts = contacts + contacts.T + np.diag(rng.integers(0, 4, n))
    merges = _merge(points, weights, contacts)

    # Sets of leaves in place of updates.
    groups, height = {i: [i] for i in range(n)}, 0.0
    for made, (pair, found) in enumerate(zip(merges.pairs, merges.heights, strict=True)):
        held = {g: _holder(g, groups, contacts) for g in groups}
        holder = {g: h if h is None or held[h][0] != g else None for g, (h, _) in held.items()}
        every = list(itertools.permutations(groups, 2))
        areas = {(a, b): contacts[np.ix_(groups[a], groups[b])].sum() for a, b in every}
        options = {}
        for a, b in itertools.combinations(groups, 2):
            area = areas[a, b]
            sums = []
            for group in (groups[a], groups[b], groups[a] + groups[b]):
                mean = np.average(points[group], axis=0, weights=weights[group])
                sums.append(weights[group] @ np.square(points[group] - mean).sum(1))
            cost = sums[2] - sums[0] - sums[1]
            siblings = holder[a] is not None and holder[a] == holder[b]
            if area or siblings:
                options[a, b] = cost / (area + len(groups) ** 2 / 800) ** (2 / 3), cost
        a, b = sorted(pair)
        least = min(value for value, _ in options.values())
        np.testing.assert_allclose(options[a, b][0], least, rtol=1e-9, atol=1e-12)
        height = max(height, options[a, b][1])
        np.testing.assert_allclose(found, height, rtol=1e-9, atol=1e-12)
        groups[n + made] = groups.pop(a) + groups.pop(b)


def test_one_region_needs_no_merge():
    assert len(_merge([[0.0]], [5], [[6]]).pairs) == 0
