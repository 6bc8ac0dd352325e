"""k-means against plain loops, scipy, scikit-learn and geoopt, and the laws it must obey."""

from __future__ import annotations

import itertools
import math

import geoopt
import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.metrics import adjusted_rand_score

from napari_hypseg.clustering import hyperbolic_kmeans, hyperbolic_kmeans_job
from napari_hypseg.clustering.kmeans import _lloyd_job, count_distinct, nearest
from napari_hypseg.geometry import distance, exp0, mobius_add
from napari_hypseg.jobs import finish


def _ball(n, d, seed, spread=0.6, c=1.0):
    rng = np.random.default_rng(seed)
    return exp0(torch.from_numpy(spread * rng.normal(size=(n, d)) / math.sqrt(c)), c).numpy()


def _blobs(seed, n=40):
    """Four blobs in the disk, far apart beside their width."""
    rng = np.random.default_rng(seed)
    centres = np.array([[0.0, 0.0], [1.2, 0.0], [-0.8, 0.9], [-0.3, -1.3]])
    truth = np.repeat(np.arange(4), n)
    flat = centres[truth] + 0.05 * rng.normal(size=(4 * n, 2))
    return exp0(torch.from_numpy(flat)).numpy(), truth


def _arcosh_distance(x, y, c):
    """The textbook's formula, one pair at a time."""
    gap = (x - y) @ (x - y)
    inside = 1 + 2 * c * gap / ((1 - c * (x @ x)) * (1 - c * (y @ y)))
    return math.acosh(inside) / math.sqrt(c)


# --- nearest ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("d", "c"), [(2, 1.0), (3, 0.3), (5, 2.0)])
def test_nearest_is_the_nearest_by_geodesic_distance_up_to_the_rim(d, c, dtype):
    generator = torch.Generator().manual_seed(d)
    way = torch.randn(3000, d, generator=generator, dtype=torch.float64)
    way /= way.norm(dim=1, keepdim=True)
    # float32 can tell points apart up to about 7 from the centre.
    far = 7.0 if dtype == torch.float32 else 14.0
    radius = far * torch.rand(3000, 1, generator=generator, dtype=torch.float64)
    points = (torch.tanh(radius / 2) * way / math.sqrt(c)).to(dtype)
    centroids = points[::100].double() * 0.99999
    found = nearest(points, centroids, curvature=c)
    apart = distance(points.double()[:, None], centroids[None], c=c)
    assert torch.equal(found, apart.argmin(1))
    assert len(found.unique()) == len(centroids)


def test_nearest_without_curvature_is_the_nearest_by_euclidean_distance():
    rng = np.random.default_rng(1)
    points, centroids = rng.normal(size=(1000, 3)), rng.normal(size=(9, 3))
    found = nearest(torch.from_numpy(points), torch.from_numpy(centroids), curvature=None)
    np.testing.assert_array_equal(found, cdist(points, centroids).argmin(1))


def test_of_equally_near_centroids_the_first_is_taken():
    centroids = torch.tensor([[0.5, 0.0], [-0.5, 0.0], [0.5, 0.0]], dtype=torch.float64)
    points = torch.tensor([[0.0, 0.3], [0.4, 0.0]], dtype=torch.float64)
    assert nearest(points, centroids).tolist() == [0, 0]


# --- k-means ---


def _reference(points, weights, k, seed, c):
    """k-means++ and Lloyd's rounds in plain loops; means by scipy's minimiser."""
    generator = torch.Generator().manual_seed(seed)
    starts = []
    for _ in range(k):
        mass = []
        for x, w in zip(points, weights, strict=True):
            gaps = [_arcosh_distance(x, s, c) ** 2 for s in starts]
            mass.append(w * min(gaps, default=1.0))
        u = float(torch.rand(1, generator=generator, dtype=torch.float64)) * sum(mass)
        index, cumulated = -1, 0.0
        while cumulated <= u:
            index += 1
            cumulated += mass[index]
        starts.append(points[index])
    means = starts
    labels = None
    for _ in range(100):
        new = [min(range(k), key=lambda j: _arcosh_distance(x, means[j], c)) for x in points]
        if new == labels:
            break
        labels = new
        means = []
        for j in range(k):
            member = [i for i in range(len(points)) if labels[i] == j]

            def cost(v, member=member):
                y = v / (math.sqrt(c) * math.sqrt(1 + v @ v))  # all of R^d onto the ball
                return sum(weights[i] * _arcosh_distance(points[i], y, c) ** 2 for i in member)

            best = scipy.optimize.minimize(cost, np.zeros(points.shape[1]), options={"gtol": 1e-7})
            means.append(best.x / (math.sqrt(c) * math.sqrt(1 + best.x @ best.x)))
    inertia = sum(
        weights[i] * _arcosh_distance(points[i], means[labels[i]], c) ** 2
        for i in range(len(points))
    )
    mass = [sum(weights[i] for i in range(len(points)) if labels[i] == j) for j in range(k)]
    order = sorted(range(k), key=lambda j: -mass[j])
    return np.array(means)[order], [order.index(j) for j in labels], inertia


@pytest.mark.parametrize(("d", "c", "seed"), [(2, 1.0, 0), (2, 1.0, 1), (3, 0.5, 2)])
def test_agrees_with_plain_loops(d, c, seed):
    points = _ball(30, d, seed, c=c)
    weights = np.random.default_rng(seed).uniform(0.5, 2, 30)
    means, labels, inertia = _reference(points, weights, 3, seed, c)
    fit = hyperbolic_kmeans(points, 3, weights=weights, seed=seed, n_init=1, curvature=c)
    assert fit.labels.tolist() == labels
    np.testing.assert_allclose(fit.centroids, means, atol=2e-6)
    assert fit.inertia == pytest.approx(inertia, rel=1e-9)


def test_no_round_raises_the_inertia():
    points = _ball(300, 2, seed=3)
    inertia = [
        hyperbolic_kmeans(points, 12, n_init=1, max_iter=rounds).inertia for rounds in range(1, 13)
    ]
    # Equal only at the end; 1e-9 for the accuracy of the means.
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(inertia))
    assert len(set(inertia)) > 4
    assert inertia[-1] < 0.97 * inertia[0]


def test_a_seed_repeats_itself_and_the_best_restart_is_kept():
    points = _ball(200, 2, seed=4)
    one, again = (hyperbolic_kmeans(points, 10, seed=5, n_init=1) for _ in range(2))
    np.testing.assert_array_equal(one.labels, again.labels)
    np.testing.assert_array_equal(one.centroids, again.centroids)
    assert hyperbolic_kmeans(points, 10, seed=6, n_init=1).inertia != one.inertia
    single, best = (
        [hyperbolic_kmeans(points, 10, seed=seed, n_init=n).inertia for seed in range(5)]
        for n in (1, 3)
    )
    assert all(b <= s for b, s in zip(best, single, strict=True))
    assert any(b < s for b, s in zip(best, single, strict=True))


@pytest.mark.parametrize("curvature", [1.0, None])
def test_finds_separate_blobs(curvature):
    points, truth = _blobs(0)
    fit = hyperbolic_kmeans(points, 4, curvature=curvature)
    assert adjusted_rand_score(truth, fit.labels) == 1.0


def test_the_heaviest_cluster_comes_first():
    points, truth = _blobs(1)
    weights = np.array([1.0, 4.0, 2.0, 3.0])[truth]
    fit = hyperbolic_kmeans(points, 4, weights=weights)
    assert [int(truth[fit.labels == j][0]) for j in range(4)] == [1, 3, 2, 0]


@pytest.mark.parametrize("curvature", [1.0, None])
def test_a_weight_is_a_number_of_repetitions(curvature):
    points = _ball(60, 2, seed=7)
    times = np.random.default_rng(7).integers(1, 5, 60)
    weighted = hyperbolic_kmeans(points, 5, weights=times, seed=1, curvature=curvature)
    repeated = hyperbolic_kmeans(np.repeat(points, times, 0), 5, seed=1, curvature=curvature)
    np.testing.assert_array_equal(np.repeat(weighted.labels, times), repeated.labels)
    np.testing.assert_allclose(weighted.centroids, repeated.centroids, atol=1e-7)
    assert weighted.inertia == pytest.approx(repeated.inertia)


def test_moves_with_its_points_under_an_isometry():
    points = torch.from_numpy(_ball(200, 2, seed=8))
    shift = torch.tensor([0.4, -0.5], dtype=torch.float64)
    here = hyperbolic_kmeans(points, 6, seed=2)
    there = hyperbolic_kmeans(mobius_add(shift, points), 6, seed=2)
    np.testing.assert_array_equal(here.labels, there.labels)
    moved = mobius_add(shift, torch.from_numpy(here.centroids))
    np.testing.assert_allclose(there.centroids, moved, atol=1e-6)
    assert there.inertia == pytest.approx(here.inertia)


def test_curvature_only_scales():
    points = _ball(200, 3, seed=9)
    one = hyperbolic_kmeans(points, 5, seed=3)
    four = hyperbolic_kmeans(points / 2, 5, seed=3, curvature=4.0)
    np.testing.assert_array_equal(one.labels, four.labels)
    np.testing.assert_allclose(four.centroids, one.centroids / 2, atol=1e-9)
    assert four.inertia == pytest.approx(one.inertia / 4)


def test_clusters_without_points_go_where_points_are_worst_off():
    rng = np.random.default_rng(0)
    near = torch.from_numpy(0.01 * rng.normal(size=(20, 2)))
    far = torch.tensor([[0.8, 0.0], [0.8, 0.0], [-0.5, 0.0]], dtype=torch.float64)
    points = torch.cat([near, far])
    # Two starts where no point is nearest.
    start = torch.tensor([[0.0, 0.0], [0.0, 0.99], [0.0, -0.99]], dtype=torch.float64)
    weights = torch.ones(23, dtype=torch.float64)
    assert nearest(points, start).unique().tolist() == [0]
    for rounds in (1, 50):
        job = _lloyd_job(points, weights, start[None], range(rounds), rounds, curvature=1.0)
        (inertia,), (centroids,) = finish(job)
        labels = nearest(points, centroids)
        # Not both on the twice repeated farthest point, and at once.
        assert labels.tolist() == [0] * 20 + [1, 1, 2]
    np.testing.assert_allclose(centroids[1:], [[0.8, 0.0], [-0.5, 0.0]], atol=1e-9)
    assert float(inertia) == pytest.approx(float(distance(near, centroids[0]).square().sum()))


def test_one_cluster_is_at_the_frechet_mean():
    # So wide a cloud that few of Lou's steps do not reach its mean.
    points = torch.from_numpy(_ball(300, 2, seed=0, spread=2.0))
    fit = hyperbolic_kmeans(points, 1, n_init=1)
    ball = geoopt.PoincareBall(c=1.0)
    mean = torch.from_numpy(fit.centroids[0])
    # The gradient of the sum of squared distances vanishes at the mean, and only there.
    assert float(ball.logmap(mean, points).mean(0).norm()) < 1e-9
    assert fit.labels.tolist() == [0] * 300


def test_as_many_clusters_as_points():
    points = np.concatenate([_ball(12, 2, seed=11), _ball(12, 2, seed=11)[:3]])
    fit = hyperbolic_kmeans(points, 12)
    assert fit.inertia == pytest.approx(0.0, abs=1e-20)
    assert sorted(set(fit.labels.tolist())) == list(range(12))
    np.testing.assert_allclose(fit.centroids[fit.labels], points, atol=1e-9)


def test_without_curvature_agrees_with_scikit_learn():
    rng = np.random.default_rng(12)
    points, weights = rng.normal(size=(400, 3)), rng.uniform(0.5, 2, 400)
    ours = hyperbolic_kmeans(points, 6, weights=weights, n_init=1, curvature=None)
    start = hyperbolic_kmeans(points, 6, weights=weights, n_init=1, max_iter=1, curvature=None)
    theirs = SklearnKMeans(6, init=start.centroids, n_init=1, tol=0, max_iter=500)
    theirs.fit(points, sample_weight=weights)
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=1e-12)
    assert adjusted_rand_score(ours.labels, theirs.labels_) == 1.0
    # From starts of its own, over many restarts, it finds nothing much better.
    best = SklearnKMeans(6, n_init=8, random_state=0).fit(points, sample_weight=weights)
    ours = hyperbolic_kmeans(points, 6, weights=weights, n_init=8, curvature=None)
    assert ours.inertia < 1.005 * best.inertia_


def test_takes_arrays_that_can_not_be_written_to():
    points = _ball(20, 2, seed=13)
    points.flags.writeable = False
    assert len(hyperbolic_kmeans(points, 2).centroids) == 2


def test_the_job_reports_every_round_and_can_be_stopped():
    points = _ball(300, 2, seed=14)
    reports = []
    fit = finish(hyperbolic_kmeans_job(points, 5, n_init=2, max_iter=7), reports.append)
    assert fit.inertia == hyperbolic_kmeans(points, 5, n_init=2, max_iter=7).inertia
    done = [p.done for p in reports]
    # A round for each start to be drawn, then as many as asked; all restarts share them.
    assert {p.total for p in reports} == {5 + 7}
    assert done == sorted(done)
    assert set(done) == set(range(13))
    job = hyperbolic_kmeans_job(points, 5)
    next(job)
    job.close()


@settings(max_examples=30)
@given(
    rows=st.lists(st.tuples(st.sampled_from([0.0, 0.1]), st.integers(0, 3)), min_size=1),
    most=st.integers(1, 9),
)
def test_counts_distinct_points(rows, most):
    assert count_distinct(torch.tensor(rows, dtype=torch.float64), most) == min(
        most, len(set(rows))
    )


NAN = float("nan")


@pytest.mark.parametrize(
    ("points", "k", "options", "reason"),
    [
        ([[0.1, 0.0]] * 5 + [[0.2, 0.0]], 3, {}, "can't make 3 clusters of fewer distinct points"),
        ([[0.1, 0.2], [0.1, 0.3]], 3, {}, "can't make 3 clusters of fewer distinct points"),
        ([[0.1, 0.2], [1.0, 0.0]], 1, {}, "outside the Poincare ball"),
        ([[0.1, 0.2], [0.6, 0.0]], 1, {"curvature": 4.0}, "outside the Poincare ball"),
        ([[0.1, 0.2], [NAN, 0.0]], 1, {}, "finite"),
        ([[0.1, 0.2], [math.inf, 0.0]], 1, {"curvature": None}, "finite"),
        ([0.1, 0.2], 1, {}, r"shape \(n, d\)"),
        ([[0.1, 0.2]], 0, {}, "at least 1 cluster"),
        ([[0.1, 0.2]], 1, {"n_init": 0}, "1 restart"),
        ([[0.1, 0.2]], 1, {"max_iter": 0}, "1 round"),
        ([[0.1, 0.2]], 1, {"weights": [1.0, 2.0]}, "as many weights"),
        ([[0.1, 0.2], [0.0, 0.0]], 1, {"weights": [1.0, 0.0]}, "positive"),
    ],
)
def test_says_in_a_sentence_what_it_can_not_cluster(points, k, options, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        hyperbolic_kmeans(points, k, **options)
    assert "\n" not in str(caught.value)
