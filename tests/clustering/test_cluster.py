"""Whole clusterings: the three kinds, both geometries, and volumes that are hard to cluster."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
import torch
from skimage.measure import label as connected
from sklearn.metrics import adjusted_rand_score

from napari_hypseg.clustering import KMeans, MergeTree, cluster, cluster_job
from napari_hypseg.geometry import distance, exp0, frechet_means
from napari_hypseg.jobs import Progress, finish
from napari_hypseg.volumes.volume import VolumeError

SHAPE = (12, 14, 20)
KINDS = ("things", "kinds")


def _truth():
    """A body that holds two balls of one kind, and a layer; 0 is around them."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    truth = np.zeros(SHAPE, int)
    truth[2:10, 2:12, 2:14] = 1
    for centre in (5, 11):
        truth[(z - 6) ** 2 + (y - 7) ** 2 + (x - centre) ** 2 <= 6] = 2
    truth[:, :, 17:] = 3
    return truth


def _field(d=2, noise=0.08, seed=0):
    """Tangent vectors at the centre, of a kind each, and noise."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((4, d))
    centres[:, :2] = [[0.0, 0.0], [0.5, 0.1], [0.7, -0.4], [-0.5, 0.6]]
    return centres[_truth()] + noise * rng.normal(size=(*SHAPE, d))


def _points(latents_of, geometry="hyperbolic", d=2, c=1.0):
    vectors = _field(d)
    if geometry == "euclidean":
        return latents_of(vectors.astype(np.float32), geometry)
    ball = exp0(torch.from_numpy(vectors / math.sqrt(c)), c).numpy().astype(np.float32)
    return latents_of(ball, geometry, c)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("geometry", "d", "c"), [("hyperbolic", 2, 1.0), ("hyperbolic", 3, 0.5), ("euclidean", 2, 1.0)]
)
def test_finds_what_there_is(latents_of, kind, geometry, d, c):
    # Light smoothing: balls as small as these lose their contrast with more.
    found = cluster(_points(latents_of, geometry, d, c), tree=kind, smoothing=0.3)
    assert found.kind == kind
    truth = _truth()
    # The tree of the volume tells the two balls apart, the others don't.
    wanted = connected(truth, background=-1, connectivity=1) if kind == "things" else truth
    labels = found.labels(wanted.max() if kind == "things" else 4)
    assert labels.shape == SHAPE
    assert labels.dtype == np.uint8
    assert adjusted_rand_score(wanted.ravel(), labels.ravel()) > 0.97
    for k in (1, 2, 7, found.most):
        labels = found.labels(k)
        assert labels.dtype == np.uint8
        assert np.unique(labels).tolist() == list(range(1, k + 1))
    for k in (0, found.most + 1):
        with pytest.raises(ValueError, match=f"1 to {found.most} clusters, not {k}"):
            found.labels(k)


@pytest.mark.parametrize("kind", ["things", "kinds"])
@pytest.mark.parametrize(("geometry", "c"), [("hyperbolic", 0.5), ("euclidean", 1.0)])
def test_nodes_say_where_their_voxels_lie(latents_of, kind, geometry, c):
    latents = _points(latents_of, geometry, c=c)
    found = cluster(latents, tree=kind, smoothing=0)
    tree = found.tree
    np.testing.assert_array_equal(tree.counts[: found.most], np.bincount(found.leaves.ravel()))
    assert tree.counts[-1] == found.leaves.size
    points = torch.from_numpy(latents.read()).view(-1, 2).double()
    labels = torch.from_numpy(found.labels(6).ravel().astype(np.int64)) - 1
    nodes = tree.nodes(6)
    np.testing.assert_array_equal(tree.counts[nodes], np.bincount(labels))
    centroids = torch.from_numpy(tree.centroids[nodes])
    if geometry == "euclidean":
        sums = torch.zeros(6, 2, dtype=torch.float64).index_add_(0, labels, points)
        means = sums / torch.bincount(labels)[:, None]
        apart = (means - centroids).norm(dim=1)
    else:
        apart = distance(frechet_means(points, labels, 6, c=c), centroids, c=c)
    # Means of means: exact in R^d but for k-means' last round, and near it in the ball.
    assert float(apart.max()) < (1e-9 if (kind, geometry) == ("things", "euclidean") else 0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_repeats_itself(latents_of, kind):
    latents = _points(latents_of)
    one, again = (cluster(latents, tree=kind, seed=7) for _ in range(2))
    np.testing.assert_array_equal(one.labels(6), again.labels(6))


def test_a_tree_goes_through_json(latents_of):
    found = cluster(_points(latents_of), tree="kinds")
    kept = json.loads(json.dumps(found.to_dict()))
    assert kept["kind"] == "kinds"
    tree = MergeTree.from_dict(kept)
    np.testing.assert_array_equal(tree.lookup(5)[found.leaves], found.labels(5))


def test_labels_of_a_part_are_those_of_the_whole(latents_of):
    clusters = cluster(_points(latents_of))
    whole, level = clusters.labels(4), clusters.level(4)
    assert (level.shape, level.dtype) == (whole.shape, whole.dtype)
    for key in (np.s_[1:3, :, ::2], np.s_[2], (1, 2, 3), np.s_[...]):
        np.testing.assert_array_equal(level[key], whole[key])


def test_smoothing_makes_regions_whole(latents_of):
    vectors = _field(noise=0.3)
    latents = latents_of(exp0(torch.from_numpy(vectors)).numpy().astype(np.float32))
    scores = [
        adjusted_rand_score(
            _truth().ravel(), cluster(latents, tree="kinds", smoothing=s).labels(4).ravel()
        )
        for s in (0, 1.0)
    ]
    assert scores[1] > scores[0] + 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0, 1.0])
def test_a_volume_all_alike_does_not_break(latents_of, kind, smoothing):
    points = np.broadcast_to(np.float32([0.3, -0.2]), (7, 8, 9, 2))
    found = cluster(latents_of(points), tree=kind, smoothing=smoothing)
    assert (found.labels(1) == 1).all()
    if kind == "things":
        assert np.unique(found.labels(5)).tolist() == [1, 2, 3, 4, 5]
    else:
        # One place in the disk is one cluster.
        assert found.most == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (3, 4, 5), (1, 30, 40)])
def test_small_and_flat_volumes(latents_of, kind, shape):
    rng = np.random.default_rng(0)
    points = exp0(torch.from_numpy(0.4 * rng.normal(size=(*shape, 2)))).numpy()
    latents = latents_of(points.astype(np.float32))
    found = cluster(latents, tree=kind, smoothing=0)
    most = {"things": 240, "kinds": 60}[kind]
    assert found.most == min(most, math.prod(shape))
    smooth = cluster(latents, tree=kind)
    assert np.unique(smooth.labels(smooth.most)).tolist() == list(range(1, smooth.most + 1))
    assert np.unique(found.labels(found.most)).tolist() == list(range(1, found.most + 1))


def test_leaves_that_lose_all_voxels_are_left_out(latents_of, monkeypatch):
    # A fit with three centroids where no voxel is, as k-means may leave after its last round.
    centroids = np.array([[0.0, 2.0], [0.3, 0.0], [0.0, -2.0], [-0.3, 0.0], [2.0, 2.0]])

    def fit(points, k, **options):
        yield Progress("k-means", 0, 1)
        return KMeans(centroids, np.zeros(len(points), np.int64), 0.0)

    monkeypatch.setattr(sys.modules["napari_hypseg.clustering.kinds"], "hyperbolic_kmeans_job", fit)
    points = np.zeros((3, 4, 5, 2), np.float32)
    points[..., 0] = np.linspace(-0.4, 0.4, 5)
    found = cluster(latents_of(points), tree="kinds", smoothing=0)
    assert found.most == 2
    assert found.leaves[0, 0].tolist() == [1, 1, 0, 0, 0]
    assert found.tree.counts.tolist() == [36, 24, 60]


@pytest.mark.parametrize("kind", KINDS)
def test_reports_every_step(latents_of, kind):
    reports = []
    finish(cluster_job(_points(latents_of), tree=kind), reports.append)
    stages = list(dict.fromkeys(p.stage for p in reports))
    assert stages[:2] == ["measuring the spread", "smoothing"]
    for stage in stages:
        done = [p.fraction for p in reports if p.stage == stage]
        assert done == sorted(done)
        assert 0 <= done[0] <= done[-1] <= 1


def test_finds_smoothed_points_again(latents_of, tmp_path):
    latents = _points(latents_of)
    store = tmp_path / "smooth.zarr"
    one = finish(cluster_job(latents, store=store))
    stages = []
    again = finish(cluster_job(latents, store=store), lambda p: stages.append((p.stage, p.done)))
    np.testing.assert_array_equal(one.leaves, again.leaves)
    # Nothing is iterated anew: smoothing goes from nothing to all.
    assert {done for stage, done in stages if stage == "smoothing"} == {0, 1000}


def test_refuses_points_that_are_not_all_there(latents_of):
    points = np.zeros((40, 3, 3, 2), np.float32)
    points[35, 1, 1] = np.nan
    for kind in KINDS:
        with pytest.raises(VolumeError, match="lump: some latent points are missing"):
            cluster(latents_of(points), tree=kind)


def test_refuses_what_it_does_not_know(latents_of):
    latents = latents_of(np.zeros((2, 2, 2, 2), np.float32))
    with pytest.raises(ValueError, match="there is no tree 'oak'"):
        cluster(latents, tree="oak")
    with pytest.raises(ValueError, match="must be positive, not -1"):
        cluster(latents, smoothing=-1)
