"""The ball's maps against mpmath (60 digits), geoopt and their own laws, from centre to rim."""

from __future__ import annotations

import math

import geoopt.manifolds.stereographic.math as geoopt_math
import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from napari_hypseg.geometry import ball

CURVATURES = st.sampled_from([0.3, 1.0, 4.0])
# Greatest distance from the origin, in units of 1 / sqrt(c), that `project` leaves.
LIMIT = {torch.float64: 18.71497, torch.float32: 8.66436}


def _direction(seed: int, d: int) -> np.ndarray:
    v = np.random.default_rng(seed).normal(size=d)
    return v / np.linalg.norm(v)


@st.composite
def points(draw, count, c, dtype=torch.float64, reach=19.0, d=None):
    """``count`` points at hyperbolic radii from 0 to ``reach``, none below 1e-12 but 0."""
    d = d or draw(st.integers(1, 5))
    radii = draw(st.lists(st.floats(0.0, reach), min_size=count, max_size=count))
    seeds = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    radii = [r if r > 1e-12 else 0.0 for r in radii]
    x = [math.tanh(r / 2) * _direction(s, d) for r, s in zip(radii, seeds, strict=True)]
    return ball.project(torch.tensor(np.array(x), dtype=dtype) / math.sqrt(c), c).unbind()


@st.composite
def balls(draw, count, dtype=torch.float64, reach=19.0, d=None):
    c = draw(CURVATURES)
    return c, draw(points(count, c, dtype, reach, d))


def _exact(x: Tensor) -> list[mpmath.mpf]:
    return [mpmath.mpf(float(v)) for v in x]


def _dot(x, y):
    return mpmath.fsum(a * b for a, b in zip(x, y, strict=True))


def _exact_distance(x, y, c) -> mpmath.mpf:
    apart = [a - b for a, b in zip(x, y, strict=True)]
    gaps = (1 - c * _dot(x, x)) * (1 - c * _dot(y, y))
    return mpmath.acosh(1 + 2 * c * _dot(apart, apart) / gaps) / mpmath.sqrt(c)


def _exact_add(x, y, c):
    xy, xx, yy = _dot(x, y), _dot(x, x), _dot(y, y)
    c = mpmath.mpf(c)  # c * c must not be rounded
    bottom = 1 + 2 * c * xy + c * c * xx * yy
    return [
        ((1 + 2 * c * xy + c * yy) * a + (1 - c * xx) * b) / bottom
        for a, b in zip(x, y, strict=True)
    ]


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(60):
        yield


def _tolerance(dtype) -> float:
    """`project` keeps the distance from the rim to half of the digits; some factor for rounding."""
    return 8 * math.sqrt(torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(data=st.data())
def test_distance_is_right_up_to_the_rim(dtype, data):
    c, (x, y) = data.draw(balls(2, dtype))
    with mpmath.workdps(60):
        exact = float(_exact_distance(_exact(x), _exact(y), c))
    assert float(ball.distance(x, y, c)) == pytest.approx(exact, rel=1e-5, abs=_tolerance(dtype))


@given(st.floats(1e-12, 1e-3), st.integers(0, 5))
def test_small_distances_keep_their_digits(length, seed):
    x = torch.tensor([0.6, -0.3], dtype=torch.float64)
    y = x + torch.from_numpy(length * _direction(seed, 2))
    with mpmath.workdps(60):
        exact = float(_exact_distance(_exact(x), _exact(y), 1.0))
    assert float(ball.distance(x, y)) == pytest.approx(exact, rel=1e-13, abs=0)


def test_reach_of_each_dtype():
    for dtype, limit in LIMIT.items():
        rim = ball.project(torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=dtype))
        assert float(ball.distance(rim[0], torch.zeros_like(rim[0]))) == pytest.approx(
            limit, abs=1e-5 + _tolerance(dtype)
        )
        assert float(ball.distance(rim[0], rim[1])) == pytest.approx(2 * limit, rel=1e-3)


@given(balls(3))
def test_distance_is_a_metric(case):
    c, (x, y, z) = case
    xy, yz, xz = (float(ball.distance(*p, c)) for p in ((x, y), (y, z), (x, z)))
    assert xz <= xy + yz + _tolerance(torch.float64)
    assert float(ball.distance(y, x, c)) == xy
    assert float(ball.distance(x, x, c)) == 0.0
    assert (xy > 0) == bool((x != y).any())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(data=st.data())
def test_exp0_and_log0_undo_each_other(dtype, data):
    c, (x,) = data.draw(balls(1, dtype))
    v = ball.log0(x, c)
    torch.testing.assert_close(ball.exp0(v, c), x, rtol=4 * torch.finfo(dtype).eps, atol=0)
    far = float(ball.distance(x, torch.zeros_like(x), c))
    assert 2 * float(v.norm()) == pytest.approx(far, rel=1e-6, abs=1e-15)


@given(balls(1), st.floats(0.0, 60.0))
def test_exp0_stops_at_the_rim(case, length):
    c, (x,) = case
    assume(float(x.norm()) > 0)
    v = x / x.norm() * length / math.sqrt(c)
    expected = min(2 * length, LIMIT[torch.float64]) / math.sqrt(c)
    far = float(ball.distance(ball.exp0(v, c), torch.zeros_like(v), c))
    assert far == pytest.approx(expected, abs=1e-3 / math.sqrt(c))


@given(balls(2))
def test_logmap_is_right_up_to_the_rim(case):
    c, (x, y) = case
    with mpmath.workdps(60):
        ex, ey = _exact(x), _exact(y)
        moved = _exact_add([-a for a in ex], ey, c)
        norm = mpmath.sqrt(_dot(moved, moved))
        assume(norm > 0)
        length = _exact_distance(ex, ey, c) * (1 - c * _dot(ex, ex)) / 2
        exact = [float(length * a / norm) for a in moved]
        rounding = _tolerance(torch.float64) * float(length)
    np.testing.assert_allclose(ball.logmap(x, y, c).numpy(), exact, rtol=0, atol=rounding)


@given(balls(2, reach=6.0))
def test_expmap_undoes_logmap(case):
    c, (x, y) = case
    back = ball.expmap(x, ball.logmap(x, y, c), c)
    assert float(ball.distance(back, y, c)) < 1e-9


@given(balls(1, reach=6.0, d=3), st.integers(0, 5), st.floats(0.0, 6.0))
def test_logmap_undoes_expmap(case, seed, far):
    c, (x,) = case
    v = torch.from_numpy(far * _direction(seed, 3)) / ball.conformal_factor(x, c)
    back = ball.logmap(x, ball.expmap(x, v, c), c)
    torch.testing.assert_close(back, v, rtol=1e-8, atol=1e-12)


@given(balls(1, d=2), st.integers(0, 5), st.floats(0.0, 37.0))
def test_expmap_goes_as_far_as_told(case, seed, far):
    c, (x,) = case
    v = torch.from_numpy(far * _direction(seed, 2)) / ball.conformal_factor(x, c)
    z = ball.expmap(x, v, c)
    # Beyond the margin the way ends early.
    assume(math.sqrt(c) * float(z.norm()) < 1 - 1e-7)
    assert float(ball.distance(x, z, c)) == pytest.approx(far, rel=1e-6, abs=1e-5 / math.sqrt(c))


@given(balls(2))
def test_mobius_add_is_right_up_to_the_rim(case):
    c, (x, y) = case
    with mpmath.workdps(60):
        exact = _exact_add(_exact(x), _exact(y), c)
        size = 1 - c * _dot(exact, exact)
        assume(size > 1e-6)
        # How far rounding of x and y, half a digit of the last, may carry the result.
        gap = 1 - c * max(_dot(_exact(x), _exact(x)), _dot(_exact(y), _exact(y)))
        rounding = 8 * 2.3e-16 / float(gap)
    got = ball.mobius_add(x, y, c).numpy() * math.sqrt(c)
    expected = np.array([float(a) for a in exact]) * math.sqrt(c)
    np.testing.assert_allclose(got, expected, rtol=0, atol=rounding)


@given(balls(3, reach=5.0))
def test_mobius_translations_keep_distances(case):
    c, (a, x, y) = case
    moved = ball.distance(ball.mobius_add(a, x, c), ball.mobius_add(a, y, c), c)
    torch.testing.assert_close(moved, ball.distance(x, y, c), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        ball.mobius_add(-a, ball.mobius_add(a, x, c), c), x, rtol=0, atol=1e-10
    )


@given(balls(2, reach=4.0, d=3))
def test_agrees_with_geoopt_near_the_centre(case):
    c, (x, y) = case
    k = torch.tensor(-c, dtype=torch.float64)
    v = 0.3 * y
    for ours, theirs in (
        (ball.distance(x, y, c), geoopt_math.dist(x, y, k=k)),
        (ball.mobius_add(x, y, c), geoopt_math.mobius_add(x, y, k=k)),
        (ball.expmap(x, v, c), geoopt_math.expmap(x, v, k=k)),
        (ball.logmap(x, y, c), geoopt_math.logmap(x, y, k=k)),
        (ball.exp0(v, c), geoopt_math.expmap0(v, k=k)),
        (ball.log0(x, c), geoopt_math.logmap0(x, k=k)),
        (ball.conformal_factor(x, c), geoopt_math.lambda_x(x, k=k)),
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(data=st.data(), t=st.floats(0.0, 1.0))
def test_geodesics_are_shortest_and_even(dtype, data, t):
    c, (x, y) = data.draw(balls(2, dtype))
    at = ball.geodesic(x, y, t, c)
    whole = float(ball.distance(x, y, c))
    rounding = 4 * _tolerance(dtype)
    assert float(ball.distance(x, at, c)) == pytest.approx(t * whole, rel=1e-4, abs=rounding)
    assert float(ball.distance(at, y, c)) == pytest.approx((1 - t) * whole, rel=1e-4, abs=rounding)


def test_geodesic_broadcasts_fractions_against_points():
    x = torch.tensor([[[0.1, 0.2]], [[0.0, 0.0]], [[-0.5, 0.1]]])
    y = torch.tensor([0.3, -0.4])
    t = torch.linspace(0, 1, 5)
    path = ball.geodesic(x, y, t)
    assert path.shape == (3, 5, 2)
    torch.testing.assert_close(path[:, 0], x[:, 0])
    torch.testing.assert_close(path[:, -1], y.expand(3, 2))
    torch.testing.assert_close(ball.geodesic(y, y, 0.5), y)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=4), CURVATURES)
def test_project_moves_only_what_is_too_far_out(coordinates, c):
    x = torch.tensor(coordinates, dtype=torch.float64)
    y = ball.project(x, c)
    margin = math.sqrt(torch.finfo(x.dtype).eps)
    if math.sqrt(c) * float(x.norm()) <= 1 - margin:
        assert torch.equal(y, x)
    else:
        assert math.sqrt(c) * float(y.norm()) == pytest.approx(1 - margin, abs=1e-14)
        torch.testing.assert_close(y / y.norm(), x / x.norm())
    torch.testing.assert_close(ball.project(y, c), y, rtol=1e-15, atol=0)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), st.floats(0.1, 10.0))
def test_clip_tangent_bounds_the_norm_and_keeps_the_direction(coordinates, most):
    v = torch.tensor(coordinates, dtype=torch.float64)
    clipped = ball.clip_tangent(v, most)
    if float(v.norm()) <= most * (1 - 1e-14):  # nearer to equality rounding decides
        assert torch.equal(clipped, v)
    else:
        assert float(clipped.norm()) == pytest.approx(most)
        torch.testing.assert_close(clipped / most, v / v.norm())


FUNCTIONS = {
    "exp0": lambda x, y, c: ball.exp0(20 * x, c),
    "log0": lambda x, y, c: ball.log0(x, c),
    "expmap": lambda x, y, c: ball.expmap(x, 20 * y, c),
    "logmap": ball.logmap,
    "mobius_add": ball.mobius_add,
    "distance": ball.distance,
    "conformal_factor": lambda x, y, c: ball.conformal_factor(x, c),
    "project": lambda x, y, c: ball.project(3 * x, c),
    "geodesic": lambda x, y, c: ball.geodesic(x, y, 0.3, c),
    "clip_tangent": lambda x, y, c: ball.clip_tangent(x, 0.3),
}
RELATIONS = {
    "any": lambda x, y: y,
    "equal": lambda x, y: x.clone(),
    "opposite": lambda x, y: -x,
    "almost equal": lambda x, y: x * (1 - 4 * torch.finfo(x.dtype).eps),
    "origin": lambda x, y: torch.zeros_like(x),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=40)
@given(data=st.data(), relation=st.sampled_from(list(RELATIONS)), swap=st.booleans())
def test_values_and_gradients_are_finite_everywhere(dtype, name, data, relation, swap):
    c, (x, y) = data.draw(balls(2, dtype))
    y = RELATIONS[relation](x, y)
    x, y = (y, x) if swap else (x, y)
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    value = FUNCTIONS[name](x, y, c)
    (value.sum() + 0.0 * (x + y).sum()).backward()
    assert value.isfinite().all()
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


@pytest.mark.parametrize("name", ["exp0", "log0", "expmap", "logmap", "mobius_add", "distance"])
def test_gradients_match_finite_differences(name):
    generator = torch.Generator().manual_seed(1)
    x, y = ball.exp0(torch.randn(2, 8, 3, generator=generator, dtype=torch.float64) / 2)
    inputs = ((0.05 * x).requires_grad_(), (0.05 * y).requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: FUNCTIONS[name](a, b, 1.0), inputs)
    if name not in ("exp0", "expmap"):  # those multiply by 20
        inputs = (x.requires_grad_(), y.requires_grad_())
        assert torch.autograd.gradcheck(lambda a, b: FUNCTIONS[name](a, b, 2.0 / 3.0), inputs)


def test_distance_has_a_zero_gradient_between_equal_points():
    x = torch.tensor([0.3, 0.4], requires_grad=True)
    ball.distance(x, torch.tensor([0.3, 0.4])).backward()
    assert torch.equal(x.grad, torch.zeros(2))
