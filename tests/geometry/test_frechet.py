"""Frechet means against scipy.optimize, a plain float64 loop, and the laws they must obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hypseg.geometry import (
    conformal_factor,
    distance,
    exp0,
    frechet_mean,
    frechet_means,
    geodesic,
    log0,
    logmap,
    mobius_add,
    project,
)


def _cloud(n, d, spread, seed, c=1.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    v = spread * torch.randn(n, d, generator=generator, dtype=torch.float64)
    weights = torch.rand(n, generator=generator, dtype=torch.float64)
    return exp0(v / math.sqrt(c), c).to(dtype), weights


@pytest.mark.parametrize(("d", "c", "spread"), [(2, 1.0, 0.7), (3, 0.4, 1.0), (5, 2.0, 0.5)])
def test_minimises_the_sum_of_squared_distances(d, c, spread):
    points, weights = _cloud(30, d, spread, seed=d, c=c)

    def cost(v):
        y = exp0(torch.from_numpy(v), c)
        return float((weights * distance(points, y, c).square()).sum())

    best = scipy.optimize.minimize(cost, np.zeros(d), method="BFGS", options={"gtol": 1e-4})
    mean = frechet_mean(points, weights, c=c)
    np.testing.assert_allclose(log0(mean, c).numpy(), best.x, atol=1e-5)
    assert cost(log0(mean, c).numpy()) <= best.fun + 1e-12


def _loop(points, weights, steps=200):
    """Lou et al.'s algorithm 1 as printed, one point after the other, curvature -1."""
    y = np.zeros(points.shape[1])
    for _ in range(steps):
        a, b, norms = 0.0, np.zeros_like(y), 0.0
        for x, w in zip(points, weights, strict=True):
            t = ((x - y) @ (x - y)) / ((1 - x @ x) * (1 - y @ y))
            slope = 2 / math.sqrt(t * (t + 1)) * math.acosh(1 + 2 * t) if t > 1e-12 else 4.0
            alpha = w * slope / (1 - x @ x)
            a, b, norms = a + alpha, b + alpha * x, norms + alpha * (x @ x)
        total = a + norms
        y = (total - math.sqrt(total**2 - 4 * b @ b)) / (2 * b @ b) * b
    return y


@pytest.mark.parametrize(("n", "d", "spread"), [(15, 2, 0.3), (25, 2, 1.2), (10, 4, 0.8)])
def test_agrees_with_a_plain_loop(n, d, spread):
    points, weights = _cloud(n, d, spread, seed=n)
    expected = _loop(points.numpy(), weights.numpy())
    np.testing.assert_allclose(frechet_mean(points, weights).numpy(), expected, atol=1e-9)
    one_step = frechet_mean(points, weights, max_iter=1)
    np.testing.assert_allclose(one_step, _loop(points.numpy(), weights.numpy(), 1), atol=1e-12)


@given(st.floats(0.05, 3.0), st.integers(0, 1000), st.integers(2, 4), st.sampled_from([0.5, 1, 3]))
@settings(max_examples=40)
def test_gradient_vanishes_at_the_mean(spread, seed, d, c):
    points, weights = _cloud(20, d, spread, seed, c)
    mean = frechet_mean(points, weights, c=c)
    pull = conformal_factor(mean, c) * (weights[:, None] * logmap(mean, points, c)).sum(0)
    assert math.sqrt(c) * float(pull.norm() / weights.sum()) < 1e-7


@given(st.integers(0, 1000), st.integers(2, 4), st.floats(0.0, 2.0), st.floats(0.1, 1.0))
@settings(max_examples=40)
def test_moves_with_the_points(seed, d, far, spread):
    points, weights = _cloud(12, d, spread, seed)
    shift = _cloud(1, d, 1.0, seed + 1)[0][0]
    shift = exp0(far / 2 * shift / shift.norm())
    rotation = torch.from_numpy(scipy.stats.ortho_group.rvs(d, random_state=seed))
    moved = frechet_mean(mobius_add(shift, points @ rotation.T), weights)
    expected = mobius_add(shift, rotation @ frechet_mean(points, weights))
    assert float(distance(moved, expected)) < 1e-7


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_groups_are_independent(dtype):
    points, weights = _cloud(500, 2, 0.8, seed=0, dtype=dtype)
    labels = torch.arange(500) % 7
    means = frechet_means(points, labels, 7, weights)
    assert means.dtype == dtype
    for group, mean in enumerate(means):
        here = labels == group
        alone = frechet_mean(points[here], weights[here])
        torch.testing.assert_close(mean, alone, rtol=0, atol=1e-9 if dtype.itemsize == 8 else 1e-6)


def test_small_integer_labels_are_labels_not_masks():
    points, _ = _cloud(60, 2, 0.8, seed=0)
    labels = torch.arange(60) % 2
    expected = frechet_means(points, labels, 2)
    assert torch.equal(frechet_means(points, labels.to(torch.uint8), 2), expected)


def test_a_weight_is_so_many_copies():
    points, _ = _cloud(9, 3, 0.8, seed=4)
    copies = torch.tensor([1, 2, 3, 0, 5, 1, 1, 2, 4])
    torch.testing.assert_close(
        frechet_mean(points, copies.double()), frechet_mean(points.repeat_interleave(copies, 0))
    )


@pytest.mark.parametrize("c", [0.5, 1.0, 2.0])
def test_start_does_not_matter_and_an_empty_group_stays(c):
    points, _ = _cloud(80, 2, 0.8, seed=5, c=c)
    labels = torch.arange(80) % 2
    start = torch.tensor([[0.5, 0.1], [-0.3, 0.2], [0.1, -0.4]], dtype=torch.float64)
    means = frechet_means(points, labels, 3, c=c, start=start)
    torch.testing.assert_close(means[:2], frechet_means(points, labels, 2, c=c))
    torch.testing.assert_close(means[2], start[2])
    assert torch.equal(frechet_means(points, labels, 3, c=c)[2], torch.zeros(2).double())


@pytest.mark.parametrize("angle", [1e-6, 1e-3, 0.5, math.pi])
@pytest.mark.parametrize("margin", [1e-2, 1e-5, 1e-7])
def test_mean_of_two_points_is_their_midpoint_even_at_the_rim(margin, angle):
    direction = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    points = (1 - margin) * direction
    assert float(distance(frechet_mean(points), geodesic(*points, 0.5))) < 1e-7


def test_mean_of_one_point_is_the_point():
    for norm in (0.0, 0.5, 0.999, 1 - 1e-6):
        point = project(torch.tensor([[norm, 0.0]], dtype=torch.float64))
        assert float(distance(frechet_mean(point), point[0])) < 1e-8


def test_bad_input_is_refused():
    points, weights = _cloud(5, 2, 0.5, seed=0)
    labels = torch.zeros(5, dtype=torch.int64)
    with pytest.raises(ValueError, match="no points"):
        frechet_mean(points[:0])
    with pytest.raises(ValueError, match="all 0"):
        frechet_mean(points, 0 * weights)
    with pytest.raises(ValueError, match="shape"):
        frechet_means(points[0], labels, 1)
    with pytest.raises(ValueError, match="as many labels"):
        frechet_means(points, labels[1:], 1)
    with pytest.raises(ValueError, match="0 to 1"):
        frechet_means(points, labels + 2, 2)
    with pytest.raises(ValueError, match="as many weights"):
        frechet_mean(points, weights[1:])
    with pytest.raises(ValueError, match="0 or more"):
        frechet_means(points, labels, 1, weights - 1)
    with pytest.raises(ValueError, match="inside the ball"):
        frechet_mean(10 * points / points.norm(dim=-1, keepdim=True))
    with pytest.raises(ValueError, match="start"):
        frechet_means(points, labels, 2, start=points[:1])
