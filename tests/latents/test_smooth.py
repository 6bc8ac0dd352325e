"""Total variation against exact solutions and scikit-image, and smoothing tile by tile."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle

from napari_hypseg.geometry import exp0, log0
from napari_hypseg.jobs import finish
from napari_hypseg.latents import smooth, total_variation
from napari_hypseg.latents.smooth import smooth_job
from napari_hypseg.latents.store import open_latents
from napari_hypseg.latents.total_variation import denoise


def _denoise(field, weight, rounds=400):
    return _consume(denoise(np.ascontiguousarray(field, np.float32), weight, rounds))


def _consume(job):
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def _objective(u, field, weight):
    """``|u - field|^2 / 2 + weight TV(u)`` in float64, by numpy's differences."""
    u = np.asarray(u, np.float64)
    square = np.zeros(u.shape[:3])
    for axis in range(3):
        step = np.diff(u, axis=axis, append=np.take(u, [-1], axis))
        square += np.square(step).sum(-1)
    return 0.5 * np.square(u - field).sum() + weight * np.sqrt(square).sum()


def _noisy_ball(d, seed=0):
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[-5:6, -6:7, -7:8]
    inside = (z**2 + y**2 + x**2 < 20)[..., None]
    return (inside * np.linspace(2, -1, d) + 0.4 * rng.normal(size=(*z.shape, d))).astype("f4")


# --- the kernel ---


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_step_shrinks_by_what_the_theory_says(axis):
    # Two plateaus of n and m voxels come nearer by weight / n and weight / m.
    shape = [1, 1, 1]
    shape[axis] = 12
    field = np.where(np.arange(12) < 4, 0.0, 3.0).reshape(*shape, 1)
    found = _denoise(field, 0.8, 2000)
    wanted = np.where(np.arange(12) < 4, 0.8 / 4, 3.0 - 0.8 / 8)
    np.testing.assert_allclose(found.ravel(), wanted, atol=1e-4)
    # Beyond weight = 3 * 4 * 8 / 12 there is one plateau.
    np.testing.assert_allclose(_denoise(field, 9.0, 2000).ravel(), 2.0, atol=1e-3)


@pytest.mark.parametrize("weight", [0.1, 1.0, 2.0])
def test_no_worse_than_scikit_image_after_many_iterations(weight):
    field = _noisy_ball(1)
    theirs = denoise_tv_chambolle(field[..., 0], weight, eps=0, max_num_iter=3000)[..., None]
    ours = _denoise(field, weight)
    best = _objective(theirs, field, weight)
    assert _objective(ours, field, weight) < best * (1 + 1e-4)
    assert np.sqrt(np.square(ours - theirs).mean()) < 0.01
    # As many rounds as are used for volumes are nearly enough, at weights that are used.
    if weight <= 1:
        assert _objective(_denoise(field, weight, smooth._ROUNDS), field, weight) < 1.05 * best


def test_a_minimum_whose_neighbourhood_is_higher():
    field, weight = _noisy_ball(2), 0.5
    best = _objective(_denoise(field, weight, 2000), field, weight)
    found = _denoise(field, weight, 2000).astype(np.float64)
    rng = np.random.default_rng(1)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(5):
            step = size * rng.normal(size=field.shape)
            assert _objective(found + step, field, weight) > best
        assert _objective(found * (1 + size), field, weight) > best
        assert _objective(found * (1 - size), field, weight) > best


def test_more_rounds_lower_the_objective():
    field = _noisy_ball(2)
    values = [_objective(_denoise(field, 0.7, n), field, 0.7) for n in (1, 5, 20, 60, 300)]
    assert values == sorted(values, reverse=True)
    assert values[0] < _objective(field, field, 0.7)
    assert values[3] < 1.01 * values[4]


def test_channels_share_their_edges():
    field = _noisy_ball(2)
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    np.testing.assert_allclose(
        _denoise(field @ turn, 0.5, 60), _denoise(field, 0.5, 60) @ turn, atol=1e-4
    )
    # Two equal channels are one that is sqrt(2) times as high; each by itself would be another.
    one = _noisy_ball(1)
    both = _denoise(np.repeat(one, 2, -1) / math.sqrt(2), 0.5, 60)
    np.testing.assert_allclose(both[..., :1] * math.sqrt(2), _denoise(one, 0.5, 60), atol=1e-4)


def test_keeps_the_mean_and_what_is_constant():
    field = _noisy_ball(3)
    for weight in (0.2, 5.0):
        np.testing.assert_allclose(
            _denoise(field, weight, 60).mean((0, 1, 2)), field.mean((0, 1, 2)), atol=1e-5
        )
    flat = np.full((4, 5, 6, 2), 0.3, np.float32)
    np.testing.assert_array_equal(_denoise(flat, 1.0, 10), flat)


def _plain_rounds(field, weight, rounds):
    """The method as it is written down, in float64 and with numpy's differences."""
    field = field.astype(np.float64)

    def gradient(u):
        steps = (np.diff(u, axis=a, append=np.take(u, [-1], a)) for a in range(3))
        return np.stack(list(steps), 3)

    def divergence(p):
        total = 0
        for a in range(3):
            part = p[:, :, :, a]
            edge = np.zeros_like(np.take(part, [0], a))
            # What leaves through the far border is 0.
            inner = np.concatenate([np.take(part, range(part.shape[a] - 1), a), edge], a)
            total = total + np.diff(inner, axis=a, prepend=edge)
        return total

    dual = ahead = np.zeros((*field.shape[:3], 3, field.shape[3]))
    momentum = 1.0
    for _ in range(rounds):
        moved = ahead + gradient(field + weight * divergence(ahead)) / (12 * weight)
        new = moved / np.maximum(1, np.sqrt(np.square(moved).sum((3, 4), keepdims=True)))
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead, dual = new + (momentum - 1) / following * (new - dual), new
        momentum = following
    return field + weight * divergence(dual)


@pytest.mark.parametrize("shape", [(7, 6, 9), (1, 5, 4), (4, 1, 6), (5, 4, 1), (1, 1, 1)])
@pytest.mark.parametrize("d", [1, 3])
def test_makes_the_rounds_that_are_written_down(shape, d):
    field = np.random.default_rng(d).normal(size=(*shape, d)).astype(np.float32)
    for rounds in (1, 2, 25):
        found = _denoise(field, 0.6, rounds)
        np.testing.assert_allclose(found, _plain_rounds(field, 0.6, rounds), atol=1e-5)


def test_the_slabs_between_reports_do_not_show(monkeypatch):
    field = _noisy_ball(2)
    whole = _denoise(field, 0.5, 20)
    # The order of the axes in memory is the caller's.
    turned = np.moveaxis(np.ascontiguousarray(np.moveaxis(field, 3, 2)), 2, 3)
    kept = turned.copy()
    monkeypatch.setattr(total_variation, "_SLAB", 40)
    for threads in (1, 2):
        monkeypatch.setattr(total_variation.numba, "get_num_threads", lambda n=threads: n)
        np.testing.assert_array_equal(_denoise(field, 0.5, 20), whole)
    np.testing.assert_array_equal(_consume(denoise(turned, 0.5, 20)), whole)
    np.testing.assert_array_equal(turned, kept)
    fractions = list(denoise(field, 0.5, 3))
    assert fractions == sorted(fractions)
    assert len(fractions) > 3 * 5
    assert fractions[0] == 0
    assert fractions[-1] == 1


# --- latents ---


def _latents(points, path=None, geometry="hyperbolic", curvature=1.0):
    attributes = {
        "voxel_size": [10.0, 10.0, 12.0],
        "origin": [1.0, 2.0, 3.0],
        "name": "lump",
        "geometry": geometry,
        "curvature": curvature,
        "volume": "0123",
    }
    latents = open_latents(path, points.shape, attributes)
    latents.array[:] = points
    return latents


def _two_halves(shape=(20, 24, 70), noise=0.2, seed=0):
    """Tangent vectors of two kinds, one an ellipsoid within the other, and noise."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.linspace(-1, 1, n).reshape([-1 if a == i else 1 for a in range(3)])
               for i, n in enumerate(shape))  # fmt: skip
    inside = z**2 + y**2 + x**2 < 0.5
    clean = np.where(inside[..., None], [0.6, 0.2], [-0.1, -0.4])
    return inside, (clean + noise * rng.normal(size=clean.shape)).astype(np.float32)


@pytest.mark.parametrize("curvature", [1.0, 0.25])
def test_smooths_in_the_tangent_space_by_its_own_spread(curvature):
    inside, vectors = _two_halves((12, 14, 16))
    c = curvature
    latents = _latents(exp0(torch.from_numpy(vectors), c).numpy(), curvature=c)
    found = finish(smooth_job(latents, 0.5))
    spread = math.sqrt(vectors.astype(float).reshape(-1, 2).var(0).mean())
    wanted = _denoise(vectors / np.float32(spread), 0.5, smooth._ROUNDS) * spread
    back = log0(torch.from_numpy(found.read()).double(), c).numpy()
    np.testing.assert_allclose(back, wanted, atol=1e-5)
    # Voxels of a kind agree, the kinds stay apart.
    assert back[inside].std(0).max() < 0.5 * vectors[inside].std(0).min()
    assert np.linalg.norm(back[inside].mean(0) - back[~inside].mean(0)) > 0.7
    assert (found.geometry, found.curvature, found.name) == ("hyperbolic", c, "lump")
    assert found.voxel_size == (10.0, 10.0, 12.0)
    assert found.origin == (1.0, 2.0, 3.0)
    # What was given is as it was.
    np.testing.assert_array_equal(latents.read(), exp0(torch.from_numpy(vectors), c).numpy())


def test_points_of_euclidean_space_are_their_own_tangent_vectors():
    _, vectors = _two_halves((8, 9, 10))
    found = finish(smooth_job(_latents(vectors, geometry="euclidean"), 0.5))
    far = finish(smooth_job(_latents(100 * vectors, geometry="euclidean"), 0.5))
    assert np.abs(found.read() - vectors).max() > 0.1
    # The weight means the same at any scale.
    np.testing.assert_allclose(far.read(), 100 * found.read(), rtol=1e-3, atol=1e-3)


def test_points_all_alike_stay():
    points = np.broadcast_to(np.float32([0.3, -0.2]), (5, 6, 7, 2))
    found = finish(smooth_job(_latents(points), 1.0)).read()
    np.testing.assert_allclose(found, points, atol=1e-6)


def test_tiles_do_not_show(monkeypatch):
    _, vectors = _two_halves((20, 24, 128))
    latents = _latents(exp0(torch.from_numpy(vectors)).numpy())
    whole = finish(smooth_job(latents, 1.0)).read()
    monkeypatch.setattr(smooth, "_MOST_FLOATS", 1000)
    assert len(smooth._tiles(latents.shape, 2)) == 2
    tiled = finish(smooth_job(latents, 1.0)).read()
    apart = np.abs(tiled - whole).max(-1)
    assert apart.max() > 0  # there are tiles
    # The noise that is taken away is 0.2.
    assert apart.max() < 2e-3
    assert apart.mean() < 2e-5


@pytest.mark.parametrize("dim", [2, 16])
@pytest.mark.parametrize("shape", [(250, 512, 512), (1024, 1024, 512), (1, 9000, 9000), (5, 6, 7)])
def test_tiles_cover_a_volume_once_and_fit_the_memory(shape, dim):
    tiles = smooth._tiles(shape, dim)
    assert sum(math.prod(s.stop - s.start for s in box) for box in tiles) == math.prod(shape)
    assert len({tuple(s.start for s in box) for box in tiles}) == len(tiles)
    work = 0
    for box in tiles:
        assert all(0 <= s.start < s.stop <= n for s, n in zip(box, shape, strict=True))
        # Whole chunks, so that no two tiles write to one.
        assert all(s.start % 64 == 0 for s in box)
        sides = [
            min(n, s.stop + smooth._HALO) - max(0, s.start - smooth._HALO)
            for s, n in zip(box, shape, strict=True)
        ]
        assert dim * math.prod(sides) <= smooth._MOST_FLOATS
        work += math.prod(sides)
    assert work < (1.45 if dim == 2 else 1.8) * math.prod(shape)


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(smooth, "_MOST_FLOATS", 1000)
    _, vectors = _two_halves()
    latents = _latents(exp0(torch.from_numpy(vectors)).numpy())
    wanted = finish(smooth_job(latents, 1.0)).read()

    job = smooth_job(latents, 1.0, store=tmp_path / "s.zarr")
    for progress in job:
        if progress.done > 1200:  # the first of two tiles is written
            break
    job.close()
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "s.zarr" / "c").rglob("*") if p.is_file()}
    assert kept
    reports = []
    found = finish(smooth_job(latents, 1.0, store=tmp_path / "s.zarr"), reports.append)
    np.testing.assert_array_equal(found.read(), wanted)
    assert all(p.stat().st_mtime_ns == before for p, before in kept.items())
    reports = [p for p in reports if p.stage == "smoothing"]
    # Nothing of the first tile is iterated anew.
    assert not any(0 < p.done < 1000 for p in reports)
    assert any(1000 < p.done < 2000 for p in reports)

    # Another weight is another store.
    other = finish(smooth_job(latents, 0.1, store=tmp_path / "s.zarr")).read()
    assert np.abs(other - wanted).max() > 0.05


def test_reports_without_falling_back():
    reports = []
    _, vectors = _two_halves((8, 9, 70))
    finish(smooth_job(_latents(exp0(torch.from_numpy(vectors)).numpy()), 1.0), reports.append)
    reports = [p for p in reports if p.stage == "smoothing"]
    done = [p.done for p in reports]
    assert done == sorted(done)
    assert done[-1] == reports[-1].total
    assert len({p.total for p in reports}) == 1


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan])
def test_refuses_weights_that_are_not_positive(weight):
    latents = _latents(np.zeros((2, 2, 2, 2), np.float32))
    with pytest.raises(ValueError, match="must be positive"):
        finish(smooth_job(latents, weight))
