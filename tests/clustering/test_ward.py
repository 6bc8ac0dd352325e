"""Merging on a graph against scipy, scikit-learn and a plain loop in the ball."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_matrix
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from napari_hypseg.clustering.regions import grid_edges
from napari_hypseg.clustering.tree import MergeTree
from napari_hypseg.clustering.ward import (
    Regions,
    contract_edges,
    merge_costs,
    merge_regions_job,
    to_hyperboloid,
)
from napari_hypseg.geometry import distance, exp0, geodesic
from napari_hypseg.jobs import finish


def _complete(n):
    return np.array(list(itertools.combinations(range(n), 2)), np.int32)


def _chain(n):
    return np.stack([np.arange(n - 1), np.arange(1, n)], 1).astype(np.int32)


def _merge(points, edges, until=1, *, curved=0, weights=None):
    """Merges of single points; what is given stays as it is."""
    n = len(points)
    weights = np.ones(n) if weights is None else weights.astype(np.float64)
    start = Regions(np.array(points, np.float64), weights, edges.copy(), np.zeros(n))
    return finish(merge_regions_job(start, until, curved=curved))


def _tree(merges, n):
    return MergeTree.from_merges(merges, np.ones(n), np.zeros((2 * n - 1, 2)))


# --- R^d ---


@pytest.mark.parametrize(("n", "d"), [(60, 2), (40, 3), (2, 2)])
def test_where_all_touch_it_is_plain_ward(n, d):
    points = np.random.default_rng(n).normal(size=(n, d))
    regions, merges, _ = _merge(points, _complete(n))
    theirs = linkage(points, method="ward")
    tree = _tree(merges, n)
    # scipy's height is the square root of twice the growth of the sum of squares.
    np.testing.assert_allclose(tree.heights, theirs[:, 2] ** 2 / 2, rtol=1e-9)
    for k in range(1, n + 1):
        labels = fcluster(theirs, k, criterion="maxclust")
        assert adjusted_rand_score(labels, tree.lookup(k)) == 1.0
    np.testing.assert_allclose(regions.points, points.mean(0)[None], atol=1e-12)
    assert regions.weights.tolist() == [n]
    # All merges together cost the whole sum of squares.
    assert tree.heights.sum() == pytest.approx(np.square(points - points.mean(0)).sum())


def test_along_a_line_it_is_connected_ward():
    # Values in order on a chain: the cheapest pair always touches, so no order of merging can
    # matter, and heights rise.
    n = 80
    points = np.sort(np.random.default_rng(1).normal(size=(n, 1)), axis=0)
    edges = _chain(n)
    _, merges, _ = _merge(points, edges)
    graph = coo_matrix((np.ones(n - 1), edges.T), (n, n))
    tree = _tree(merges, n)
    for k in (2, 3, 7, 30):
        theirs = AgglomerativeClustering(k, connectivity=graph + graph.T, linkage="ward")
        theirs.set_params(compute_distances=True, compute_full_tree=True).fit(points)
        assert adjusted_rand_score(theirs.labels_, tree.lookup(k)) == 1.0
        np.testing.assert_allclose(tree.heights, theirs.distances_**2 / 2, rtol=1e-9)


def test_on_a_grid_it_finds_what_connected_ward_finds():
    rng = np.random.default_rng(2)
    truth = np.zeros((4, 8, 9), int)
    truth[:, 4:, :5], truth[:2, 3:, 5:], truth[:, :2, 6:] = 1, 2, 3
    points = np.array([[0, 0], [2, 0], [0, 3], [2, 3]])[truth.ravel()]
    points = points + 0.1 * rng.normal(size=points.shape)
    edges = grid_edges(truth.shape)
    n = len(points)
    _, merges, _ = _merge(points, edges)
    graph = coo_matrix((np.ones(len(edges)), edges.T), (n, n))
    theirs = AgglomerativeClustering(4, connectivity=graph + graph.T, linkage="ward").fit(points)
    assert adjusted_rand_score(theirs.labels_, truth.ravel()) == 1.0
    owners = np.arange(2 * n - 1)
    for i, (a, b) in enumerate(merges.pairs[: n - 4]):
        owners[(owners == a) | (owners == b)] = n + i
    assert adjusted_rand_score(owners[:n], truth.ravel()) == 1.0


# --- the ball, and its product with R^m ---


def _arcosh_distance(x, y):
    return math.acosh(1 + 2 * ((x - y) @ (x - y)) / ((1 - x @ x) * (1 - y @ y)))


def _plain_loop(points, flat, weights, edges):
    """Rounds of merges of mutually cheapest neighbours, with points of a product in dicts."""
    n = len(points)
    mean, beside = dict(enumerate(points)), dict(enumerate(flat))
    mass = dict(enumerate(weights))
    height = dict.fromkeys(range(n), 0.0)
    touching = {frozenset(map(int, e)) for e in edges}
    merges = []

    def cost(pair):
        a, b = pair
        square = _arcosh_distance(mean[a], mean[b]) ** 2 + np.square(beside[a] - beside[b]).sum()
        return mass[a] * mass[b] / (mass[a] + mass[b]) * square

    while touching:
        best = {
            r: min((p for p in touching if r in p), key=cost)
            for r in mass
            if any(r in p for p in touching)
        }
        mutual = {p for p in touching if all(best[r] == p for r in p)}
        for pair in sorted(mutual, key=cost):
            a, b = pair
            new = n + len(merges)
            share = mass[b] / (mass[a] + mass[b])
            x, y = (torch.from_numpy(mean[r]) for r in (a, b))
            height[new] = max(cost(pair), height[a], height[b])
            mean[new], mass[new] = geodesic(x, y, share).numpy(), mass[a] + mass[b]
            beside[new] = (1 - share) * beside[a] + share * beside[b]
            merges.append((pair, height[new]))
            for old in pair:
                touching = {frozenset(new if r == old else r for r in p) for p in touching}
                del mass[old]
            touching = {p for p in touching if len(p) == 2}
    return merges, mean, beside


@pytest.mark.parametrize(
    ("seed", "spread", "edges", "beside"),
    [
        (0, 0.5, _complete(25), 0),
        (1, 1.5, _complete(25), 0),
        (2, 0.8, grid_edges((2, 4, 4)), 0),
        (3, 0.7, grid_edges((2, 4, 4)), 1),
        (4, 0.7, _complete(25), 2),
    ],
)
def test_agrees_with_a_plain_loop_in_the_product(seed, spread, edges, beside):
    n = int(edges.max()) + 1
    rng = np.random.default_rng(seed)
    points = exp0(torch.from_numpy(spread * rng.normal(size=(n, 2)))).numpy()
    weights = rng.integers(1, 9, n)
    flat = rng.normal(size=(n, beside))
    both = np.concatenate([to_hyperboloid(points, 1.0), flat], 1)
    regions, merges, names = _merge(both, edges, curved=2, weights=weights)
    wanted, means, others = _plain_loop(points, flat, weights.astype(float), edges)
    assert [frozenset(map(int, p)) for p in merges.pairs] == [pair for pair, _ in wanted]
    np.testing.assert_allclose(merges.heights, [h for _, h in wanted], rtol=1e-8)
    assert names.tolist() == [2 * n - 2]
    last = np.concatenate([to_hyperboloid(means[2 * n - 2][None], 1.0), others[2 * n - 2][None]], 1)
    np.testing.assert_allclose(regions.points, last, rtol=1e-8, atol=1e-10)


def test_curvature_is_in_the_coordinates():
    points = exp0(torch.from_numpy(np.random.default_rng(3).normal(size=(30, 2)))).numpy()
    _, one, _ = _merge(to_hyperboloid(points, 1.0), _complete(30), curved=2)
    _, four, _ = _merge(to_hyperboloid(points / 2, 4.0), _complete(30), curved=2)
    np.testing.assert_array_equal(one.pairs, four.pairs)
    np.testing.assert_allclose(one.heights, four.heights, rtol=1e-12)


def test_distances_keep_their_digits_near_the_rim():
    # As far out as float32 goes, pairs of points from 1e-4 to 1 apart, along and across the radius.
    radius = torch.tensor([2.0, 5.0, 8.0], dtype=torch.float64)
    for apart, turn in itertools.product((1e-4, 1e-2, 1.0), (0.0, 1.0)):
        x = torch.stack([torch.tanh(radius / 2), 0 * radius], 1)
        step = apart * (1 - turn)
        angle = torch.asin(turn * apart / torch.sinh(radius).clamp_min(apart))
        far = torch.tanh((radius + step) / 2)
        y = torch.stack([far * torch.cos(angle), far * torch.sin(angle)], 1)
        pairs = torch.stack([x, y], 1).reshape(-1, 2).numpy()
        edges = np.array([[0, 1], [2, 3], [4, 5]], np.int32)
        _, merges, _ = _merge(to_hyperboloid(pairs, 1.0), edges, curved=2)
        wanted = np.sort(0.5 * distance(x, y).square().numpy())
        np.testing.assert_allclose(merges.heights, wanted, rtol=1e-5)


def test_distances_keep_their_digits_however_long_they_are():
    # From a point at 1 outwards along a ray, where distances are differences of radii.
    apart = np.concatenate([np.geomspace(1e-6, 15, 40), [0.0999, 0.1001]])
    radius = np.stack([np.ones(len(apart)), 1 + apart], 1).ravel()
    rays = np.stack([0.6 * np.sinh(radius), 0.8 * np.sinh(radius)], 1)
    edges = np.arange(len(rays), dtype=np.int32).reshape(-1, 2)
    costs = merge_costs(rays, np.ones(len(rays)), edges, 2)
    np.testing.assert_allclose(costs, 0.5 * apart**2, rtol=1e-9)


# --- the graph ---


def test_parts_that_do_not_touch_stay_apart():
    edges = np.concatenate([_chain(5), _chain(4) + 5]).astype(np.int32)
    points = np.zeros((10, 2))  # the last one touches nothing
    regions, merges, names = _merge(points, edges)
    assert regions.weights.tolist() == [5.0, 4.0, 1.0]
    assert len(regions.edges) == 0
    assert len(merges.pairs) == 7
    assert names[2] == 9


@pytest.mark.parametrize("until", [1, 2, 7, 100, 216, 300])
def test_leaves_as_many_as_asked(until):
    points = np.random.default_rng(4).normal(size=(216, 2))
    edges = grid_edges((6, 6, 6))
    regions, merges, names = _merge(points, edges, until)
    left = min(until, 216)
    assert len(regions.weights) == len(regions.points) == len(regions.heights) == len(names) == left
    assert len(merges.pairs) == 216 - left
    assert regions.weights.sum() == 216
    np.testing.assert_allclose(regions.weights @ regions.points, points.sum(0), atol=1e-9)
    assert (regions.edges[:, 0] < regions.edges[:, 1]).all()
    # Going on from there gives the merges of one go.
    if until < 216:
        _, whole, _ = _merge(points, edges)
        kept = min(len(merges.pairs), 20)
        np.testing.assert_array_equal(merges.pairs[:kept], whole.pairs[:kept])


def test_equal_points_are_merged_like_any_others():
    edges = grid_edges((4, 5, 6))
    one, again = (_merge(np.full((120, 2), 0.3), edges, 5) for _ in range(2))
    assert one[0].weights.sum() == 120
    assert len(one[0].weights) == 5
    assert (one[1].heights == 0).all()
    np.testing.assert_array_equal(one[1].pairs, again[1].pairs)
    # Of equal costs the first edge's comes first.
    assert _merge(np.zeros((3, 1)), _chain(3), 2)[1].pairs.tolist() == [[0, 1]]


def test_heights_never_fall_from_part_to_whole():
    _, merges, _ = _merge(np.random.default_rng(5).normal(size=(125, 2)), grid_edges((5, 5, 5)))
    height = np.concatenate([np.zeros(125), merges.heights])
    for i, (a, b) in enumerate(merges.pairs):
        assert height[125 + i] >= max(height[a], height[b])
    # Such graphs do have merges that are cheaper than those they are made of.
    assert (np.diff(np.sort(merges.heights)) == 0).any()


def test_reports_within_rounds_and_can_be_stopped():
    points = np.random.default_rng(6).normal(size=(216, 2))
    start = Regions(points, np.ones(216), grid_edges((6, 6, 6)), np.zeros(216))
    reports = []
    finish(merge_regions_job(start, 1, curved=0), reports.append)
    done = [p.done for p in reports]
    assert done == sorted(done)
    assert done[-1] == reports[-1].total == 215
    start = Regions(points, np.ones(216), grid_edges((6, 6, 6)), np.zeros(216))
    job = merge_regions_job(start, 1, curved=0)
    next(job)
    job.close()


@settings(max_examples=50)
@given(data=st.data(), n=st.integers(1, 12))
def test_edges_are_contracted_as_by_sorting(data, n):
    regions = st.integers(0, n - 1)
    edges = data.draw(st.lists(st.tuples(regions, regions)))
    new = np.array(data.draw(st.lists(regions, min_size=n, max_size=n)), np.int32)
    found = contract_edges(np.array(edges, np.int32).reshape(-1, 2), new, n)
    wanted = sorted({tuple(sorted((new[a], new[b]))) for a, b in edges if new[a] != new[b]})
    assert [tuple(e) for e in found.tolist()] == wanted


def test_alike_voxels_and_specks_take_few_rounds():
    # A background of equal voxels with specks in it, as in a brain cut out of its surroundings:
    # merged one pair at a time it would take as many rounds as there are voxels.
    rng = np.random.default_rng(0)
    field = np.zeros((30, 30, 30, 2))
    specks = rng.random(field.shape[:3]) < 0.02
    field[specks] = rng.normal(size=(int(specks.sum()), 2))
    size = field.size // 2
    regions = Regions(
        field.reshape(size, 2).copy(), np.ones(size), grid_edges((30, 30, 30)), np.zeros(size)
    )
    rounds = 0

    def count(progress):
        nonlocal rounds
        rounds += 1

    left, merges, _ = finish(merge_regions_job(regions, 1, curved=0), count)
    assert len(merges.pairs) == size - 1
    assert left.weights.tolist() == [size]
    np.testing.assert_allclose(left.points[0], field.reshape(size, 2).mean(0), atol=1e-9)
    assert rounds < 3 * 300
