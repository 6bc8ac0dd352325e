"""Regions of a volume: connected, complete, and the same through tiles."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from skimage.measure import label as connected
from sklearn.metrics import adjusted_rand_score

from napari_hypseg.clustering import regions
from napari_hypseg.clustering.regions import grid_edges, regions_job
from napari_hypseg.clustering.ward import to_hyperboloid
from napari_hypseg.geometry import distance, exp0
from napari_hypseg.jobs import finish


def _blocks(shape, seed=0, noise=0.15):
    """Five boxes with points of their own in R^2, and the truth."""
    rng = np.random.default_rng(seed)
    z, y, x = shape
    truth = np.zeros(shape, int)
    truth[: z // 2, y // 4 : 3 * y // 4, x // 4 : 3 * x // 4] = 1
    truth[z // 2 :, : y // 2, : x // 2] = 2
    truth[:, :, 4 * x // 5 :] = 3
    truth[z // 4 : 3 * z // 4, 2 * y // 3 :, : x // 5] = 4
    centres = np.array([[0.0, 0.0], [1.0, 0.3], [-0.8, 0.5], [0.2, -1.0], [0.9, -0.9]])
    return centres[truth] + noise * rng.normal(size=(*shape, 2)), truth


def _regions(points, leaves, *, curved=0):
    job = regions_job(
        points.shape[:3], lambda box: points[box].copy(), leaves=leaves, curved=curved
    )
    return _unpacked(job)


def _unpacked(job):
    labels, found = finish(job)
    return np.concatenate(list(labels.slabs())), found


def _contacts(labels):
    """Pairs of labels that touch, voxel by voxel."""
    found = set()
    for at in np.ndindex(*labels.shape):
        for axis in range(3):
            to = tuple(i + (a == axis) for a, i in enumerate(at))
            if to[axis] < labels.shape[axis] and labels[at] != labels[to]:
                found.add((min(labels[at], labels[to]), max(labels[at], labels[to])))
    return found


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 3), (1, 1, 1), (2, 1, 1)])
def test_grid_edges_are_all_pairs_of_neighbours(shape):
    places = list(np.ndindex(*shape))
    wanted = [
        (i, j)
        for (i, p), (j, q) in itertools.combinations(enumerate(places), 2)
        if sum(abs(a - b) for a, b in zip(p, q, strict=True)) == 1
    ]
    found = grid_edges(shape)
    assert found.dtype == np.int32
    assert sorted(map(tuple, found.tolist())) == wanted


@pytest.mark.parametrize("tile", [1 << 20, 600])
def test_regions_are_connected_and_described(monkeypatch, tile):
    monkeypatch.setattr(regions, "_TILE", tile)
    points, _ = _blocks((11, 13, 17))
    labels, found = _regions(points, 20)
    assert labels.shape == (11, 13, 17)
    assert set(labels.ravel().tolist()) == set(range(20))
    for region in range(20):
        assert connected(labels == region, connectivity=1).max() == 1
    flat = points.reshape(-1, 2)
    counts = np.bincount(labels.ravel())
    np.testing.assert_array_equal(found.weights, counts)
    # In R^d the mean of means is the mean, whatever the tiles.
    means = [np.bincount(labels.ravel(), weights=flat[:, i]) / counts for i in range(2)]
    np.testing.assert_allclose(found.points, np.stack(means, 1), atol=1e-12)
    assert {tuple(e) for e in found.edges.tolist()} == _contacts(labels)
    assert (found.heights[counts > 1] > 0).all()


def test_means_of_regions_are_near_their_frechet_means():
    tangent, _ = _blocks((8, 9, 10))
    ball = exp0(torch.from_numpy(tangent))
    labels, found = _regions(to_hyperboloid(ball.numpy(), 1.0), 6, curved=2)
    time = np.sqrt(1 + np.square(found.points).sum(1, keepdims=True))
    means = torch.from_numpy(found.points / (1 + time))

    def cost(at, inside):
        return float(distance(at, ball[inside]).square().sum())

    for region in range(6):
        inside = torch.from_numpy(labels == region)
        best = cost(means[region], inside)
        # Merged pair by pair, so not exactly the mean, but hardly any point does better.
        steps = 0.02 * torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
        assert all(cost(means[region] + s, inside) > 0.999 * best for s in steps)


def test_finds_the_same_through_tiles(monkeypatch):
    points, truth = _blocks((24, 32, 40), noise=0.25)
    whole, _ = _regions(points, 5)
    monkeypatch.setattr(regions, "_TILE", 4000)
    assert len(regions._tiles((24, 32, 40))) >= 8
    tiled, _ = _regions(points, 5)
    assert adjusted_rand_score(whole.ravel(), truth.ravel()) > 0.98
    assert adjusted_rand_score(tiled.ravel(), truth.ravel()) > 0.98
    assert adjusted_rand_score(tiled.ravel(), whole.ravel()) > 0.98
    # No tile's face shows: neighbours differ across faces no more often than elsewhere.
    fine, _ = _regions(points, 255)
    differ = [np.mean(np.take(fine, x, 2) != np.take(fine, x + 1, 2)) for x in range(39)]
    cuts = sorted({box[2].start for box in regions._tiles((24, 32, 40))} - {0})
    assert cuts
    for cut in cuts:
        assert differ[cut - 1] < 2 * np.median(differ) + 0.05


@pytest.mark.parametrize("shape", [(10, 30, 20), (1, 500, 7), (100, 3, 3), (4, 4, 4)])
def test_tiles_cover_a_volume_once(monkeypatch, shape):
    monkeypatch.setattr(regions, "_TILE", 300)
    covered = np.zeros(shape, int)
    for box in regions._tiles(shape):
        covered[box] += 1
        assert covered[box].size <= 300
    assert (covered == 1).all()
    assert len(regions._tiles(shape)) <= 3 * math.ceil(covered.size / 300)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 1), (1, 3, 4)])
def test_tiny_volumes(shape):
    points = np.random.default_rng(0).normal(size=(*shape, 2))
    size = math.prod(shape)
    labels, found = _regions(points, size)
    assert sorted(labels.ravel().tolist()) == list(range(size))
    np.testing.assert_array_equal(found.points[labels], points)


def test_reports_without_falling_back(monkeypatch):
    monkeypatch.setattr(regions, "_TILE", 600)
    points, _ = _blocks((11, 13, 17))
    reports = []
    job = regions_job(points.shape[:3], lambda box: points[box].copy(), leaves=9, curved=0)
    finish(job, reports.append)
    stages = [p.stage for p in reports]
    assert list(dict.fromkeys(stages)) == ["merging voxels", "merging regions"]
    assert stages == sorted(stages, key=stages.index)
    for stage in set(stages):
        mine = [p for p in reports if p.stage == stage]
        assert [p.done for p in mine] == sorted(p.done for p in mine)
        assert len({p.total for p in mine}) == 1
    voxels = [p for p in reports if p.stage == "merging voxels"]
    assert voxels[-1].done == voxels[-1].total


def test_tiles_merge_in_any_order(monkeypatch):
    monkeypatch.setattr(regions, "_TILE", 600)
    points, _ = _blocks((11, 13, 17))
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(regions.torch, "get_num_threads", lambda n=threads: n)
        found.append(_regions(points, 20))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1].points, found[1][1].points)
    np.testing.assert_array_equal(found[0][1].edges, found[1][1].edges)


def test_supervoxels_do_not_grow_in_number_with_the_volume(monkeypatch):
    monkeypatch.setattr(regions, "_TILE", 600)
    monkeypatch.setattr(regions, "_SUPERVOXEL", 2)
    monkeypatch.setattr(regions, "_MOST_SUPERVOXELS", 60)
    started = []
    merge = regions.merge_regions_job

    def watched(start, until, *, curved):
        started.append(len(start.weights))
        return merge(start, until, curved=curved)

    monkeypatch.setattr(regions, "merge_regions_job", watched)
    points, truth = _blocks((12, 16, 20))
    labels, _ = _regions(points, 5)
    assert sorted(started)[0] <= 60 + len(started)
    assert adjusted_rand_score(labels.ravel(), truth.ravel()) > 0.9


def test_a_stopped_job_leaves_no_thread_at_work(monkeypatch):
    monkeypatch.setattr(regions, "_TILE", 2000)
    points, _ = _blocks((30, 32, 34))
    reads = []

    def read(box):
        reads.append(box)
        return points[box].copy()

    job = regions_job(points.shape[:3], read, leaves=5, curved=0)
    next(job)
    job.close()
    assert len(reads) < len(regions._tiles((30, 32, 34)))


def test_a_tile_that_can_not_be_read_is_an_error():
    def read(box):
        raise ValueError("the disk is gone")

    with pytest.raises(ValueError, match="the disk is gone"):
        finish(regions_job((4, 4, 4), read, leaves=2, curved=0))
