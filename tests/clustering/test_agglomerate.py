"""The top of the tree of the volume: areas of contact, and merges by what a border is worth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
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
    # By Ward 125 for the wave and 65.5 for the thing; for their areas, to the power 0.85, 0.77
    # and 2.0.
    np.testing.assert_array_equal(_merge(points, weights, contacts).pairs[0], [0, 1])
    # By Ward's criterion alone, which counts among the last ones, the thing goes first.
    few = _merge(points[:3], weights[:3], contacts[:3, :3])
    np.testing.assert_array_equal(few.pairs[0], [1, 2])


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


@pytest.mark.parametrize(("thickness", "mean"), [(0.5, 1.5), (2.0, 1.5), (0.5, 4.0)])
def test_a_thin_mixture_of_what_it_lies_between_goes_first(thickness, mean):
    # A bright vesicle, 0, in a dark cell, 1, a shell between them, 2, and in the cell a faint
    # thing, 3, that differs from it by less than the shell from both; and what keeps the last
    # rules away.
    n = 15
    points = np.array([3.0, 0.0, mean, 1.2, *range(1000, 12_000, 1000)])
    weights = [20_000, 50_000, 1000 * thickness, 500 * thickness, *[90_000] * 11]
    areas = {(0, 2): 500, (1, 2): 500, (1, 3): 500, **{(1, i): 10 for i in range(4, n)}}
    contacts = _contacts(n, areas, {1: 9000, **dict.fromkeys(range(4, n), 9000)})
    first = set(_merge(points, weights, contacts).pairs[0].tolist())
    # A thick one, or one that is brighter than both, is something of its own.
    assert first == ({0, 2} if (thickness, mean) == (0.5, 1.5) else {1, 3})


def test_what_holds_another_one_stays_until_that_has_gone():
    # Background, a faint cell and a bright vesicle in it: by Ward's criterion the cell goes first.
    points, weights = [0.0, 0.5, 3.0], [50_000, 20_000, 3000]
    contacts = _contacts(3, {(0, 1): 6000, (1, 2): 1200}, {0: 15_000})
    np.testing.assert_array_equal(_merge(points, weights, contacts).pairs, [[1, 2], [0, 3]])


def test_nothing_leaves_what_holds_it_through_a_small_hole():
    # A vesicle as bright as the background, which it touches with a tenth of its surface.
    points, weights = [0.0, 2.0, 0.1], [50_000, 50_000, 3000]
    contacts = _contacts(3, {(0, 1): 6000, (1, 2): 1080, (0, 2): 120}, {0: 15_000})
    np.testing.assert_array_equal(_merge(points, weights, contacts).pairs, [[1, 2], [0, 3]])
    # With a third of its surface it is free to.
    contacts = _contacts(3, {(0, 1): 6000, (1, 2): 800, (0, 2): 400}, {0: 15_000})
    np.testing.assert_array_equal(_merge(points, weights, contacts).pairs, [[0, 2], [3, 1]])


def test_a_cell_and_its_membrane_hold_each_other():
    # The background touches the cell through a hole in the membrane, and is as bright.
    points, weights = [0.0, 2.0, 0.1], [90_000, 30_000, 60_000]
    contacts = _contacts(3, {(0, 1): 900, (1, 2): 5000, (0, 2): 200}, {0: 8000, 1: 1000, 2: 1000})
    np.testing.assert_array_equal(_merge(points, weights, contacts).pairs, [[1, 2], [0, 3]])


def test_what_lies_in_nothing_merges_through_a_small_border():
    # A background in two halves, which touch beside the cell with a tenth of their surfaces.
    points, weights = [0.0, 0.1, 2.0], [50_000, 40_000, 60_000]
    contacts = _contacts(3, {(0, 1): 900, (0, 2): 4000, (1, 2): 4000}, {0: 5000, 1: 4500})
    np.testing.assert_array_equal(_merge(points, weights, contacts).pairs, [[0, 1], [3, 2]])


def _holder(group, groups, contacts):
    """The group that another one lies in with more than half of its surface."""
    surface = sum(contacts[np.ix_(groups[group], g)].sum() for k, g in groups.items() if k != group)
    surface += np.diag(contacts)[groups[group]].sum()
    for other, members in groups.items():
        if other != group and 2 * contacts[np.ix_(groups[group], members)].sum() > surface:
            return other, surface
    return None, surface


def _own(group, surfaces, squares, sizes, areas):
    """How much of a region's worth is its own, and the two it lies between."""
    best = 1.0, set()
    if sizes[group] > 1.5 * surfaces[group]:
        return best
    larger = [o for o in sizes if sizes[o] > sizes[group]]
    beside = [o for o in larger if areas[group, o] >= 0.25 * surfaces[group]]
    for one, two in itertools.combinations(beside, 2):
        # A triangle with these sides, in the plane.
        span, to_one, to_two = squares[one, two], squares[group, one], squares[group, two]
        apex = (to_one + span - to_two) / (2 * np.sqrt(span))
        if 0 < apex < np.sqrt(span):
            share = ((to_one - apex**2) / min(to_one, to_two) + 0.1) / 1.1
            if share < best[0]:
                best = share, {one, two}
    return best


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
        means = {g: np.average(points[m], axis=0, weights=weights[m]) for g, m in groups.items()}
        every = list(itertools.permutations(groups, 2))
        squares = {(a, b): np.square(means[a] - means[b]).sum() for a, b in every}
        areas = {(a, b): contacts[np.ix_(groups[a], groups[b])].sum() for a, b in every}
        sizes = {g: weights[m].sum() for g, m in groups.items()}
        surfaces = {g: surface for g, (_, surface) in held.items()}
        own = {g: _own(g, surfaces, squares, sizes, areas) for g in groups}
        options = {}
        for a, b in itertools.combinations(groups, 2):
            area = areas[a, b]
            sums = []
            for group in (groups[a], groups[b], groups[a] + groups[b]):
                mean = np.average(points[group], axis=0, weights=weights[group])
                sums.append(weights[group] @ np.square(points[group] - mean).sum(1))
            cost = sums[2] - sums[0] - sums[1]
            siblings = holder[a] is not None and holder[a] == holder[b]
            value = cost if len(groups) <= 8 else cost / (area + len(groups) ** 2 / 800) ** 0.85
            value *= min(own[g][0] if other in own[g][1] else 1 for g, other in ((a, b), (b, a)))
            if len(groups) > 10:
                allowed = area or siblings
            else:
                full = [g for g in (a, b) if g in holder.values()]
                inner = [g for g, o in ((a, b), (b, a)) if holder[g] == o]
                out_of = any(held[g][0] not in (None, o) for g, o in ((a, b), (b, a)))
                wide = area >= 0.2 * min(held[a][1], held[b][1])
                allowed = area and (wide or not out_of) and not set(full) & set(inner)
            if allowed:
                options[a, b] = value, cost
        a, b = sorted(pair)
        least = min(value for value, _ in options.values())
        np.testing.assert_allclose(options[a, b][0], least, rtol=1e-9, atol=1e-12)
        height = max(height, options[a, b][1])
        np.testing.assert_allclose(found, height, rtol=1e-9, atol=1e-12)
        groups[n + made] = groups.pop(a) + groups.pop(b)


def test_one_region_needs_no_merge():
    assert len(_merge([[0.0]], [5], [[6]]).pairs) == 0
