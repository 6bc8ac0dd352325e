"""The top of the tree of the volume: areas of contact, and merges by what a border is worth."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_hypseg.clustering import agglomerate
from napari_hypseg.clustering.agglomerate import contacts_job, merge_leaves_job
from napari_hypseg.clustering.regions import grid_edges
from napari_hypseg.clustering.ward import Regions
from napari_hypseg.jobs import finish


def _regions(points, weights):
    n = len(weights)
    no_edges = np.empty((0, 2), np.int32)
    return Regions(np.array(points, float), np.array(weights, float), no_edges, np.zeros(n))


def _merges(points, weights, contacts, curved=0):
    job = merge_leaves_job(_regions(points, weights), np.array(contacts), curved=curved)
    return finish(job)


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 20)] * 3), elements=st.integers(0, 5)))
def test_contacts_are_the_faces_between_labels(labels):
    found = finish(contacts_job(labels, 6))
    expected = np.zeros((6, 6), int)
    flat = labels.ravel()
    for a, b in grid_edges(labels.shape):
        if flat[a] != flat[b]:
            expected[flat[a], flat[b]] += 1
            expected[flat[b], flat[a]] += 1
    np.testing.assert_array_equal(found, expected)


def test_the_border_that_saves_least_for_its_area_goes_first(monkeypatch):
    monkeypatch.setattr(agglomerate, "_COARSE", 2)
    # In a row: two halves of a wave, 0 and 1, and a bright thing, 2, that few voxels make.
    points, weights = [[0.0], [0.5], [2.0]], [1000, 1000, 30]
    contacts = [[0, 400, 0], [400, 0, 60], [0, 60, 0]]
    # By Ward: 125 for the wave, 65.5 for the thing; for their areas 0.31 and 1.09.
    np.testing.assert_array_equal(_merges(points, weights, contacts).pairs, [[0, 1], [3, 2]])
    monkeypatch.setattr(agglomerate, "_COARSE", 3)
    np.testing.assert_array_equal(_merges(points, weights, contacts).pairs, [[1, 2], [0, 3]])


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 14), st.integers(0, 2**32 - 1))
def test_merges_are_those_of_a_plain_loop(n, seed):
    rng = np.random.default_rng(seed)
    points, weights = rng.normal(size=(n, 2)), rng.integers(1, 50, n).astype(float)
    contacts = np.triu(rng.integers(0, 3, (n, n)), 1)
    contacts[np.arange(n - 1), np.arange(1, n)] += 1
    contacts += contacts.T
    merges = _merges(points, weights, contacts)

    # Sets of leaves in place of updates.
    groups, height = {i: [i] for i in range(n)}, 0.0
    for made, (pair, found) in enumerate(zip(merges.pairs, merges.heights, strict=True)):
        options = {}
        for a in groups:
            for b in groups:
                area = contacts[np.ix_(groups[a], groups[b])].sum()
                if a < b and area:
                    means, sums = [], []
                    for group in (groups[a], groups[b], groups[a] + groups[b]):
                        mean = np.average(points[group], axis=0, weights=weights[group])
                        squares = np.square(points[group] - mean).sum(1)
                        means.append(mean)
                        sums.append(weights[group] @ squares)
                    cost = sums[2] - sums[0] - sums[1]
                    by_area = len(groups) > agglomerate._COARSE
                    options[a, b] = (cost / area if by_area else cost), cost
        a, b = sorted(pair)
        least = min(order for order, _ in options.values())
        np.testing.assert_allclose(options[a, b][0], least, rtol=1e-9, atol=1e-12)
        height = max(height, options[a, b][1])
        np.testing.assert_allclose(found, height, rtol=1e-9, atol=1e-12)
        groups[n + made] = groups.pop(a) + groups.pop(b)


def test_one_region_needs_no_merge():
    assert len(_merges([[0.0]], [5], [[0]]).pairs) == 0
