"""Points at the rim of the ball and beyond what training keeps to: values and gradients finite."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_hypseg.geometry import (
    distance,
    exp0,
    expmap,
    geodesic,
    log0,
    logmap,
    mobius_add,
    project,
)

FUNCTIONS = {
    "distance": distance,
    "logmap": logmap,
    "log0": lambda x, y: log0(x) + log0(y),
    "exp0": lambda x, y: exp0(50 * x) + exp0(y),
    "expmap": lambda x, y: expmap(x, 50 * y),
    "mobius_add": mobius_add,
    "geodesic": lambda x, y: geodesic(x, y, 0.5),
}


def at(radius: float, angle: float, dtype: torch.dtype) -> torch.Tensor:
    """A point at a hyperbolic distance from the centre, not pulled back from the rim."""
    direction = torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float64)
    return (np.tanh(radius / 2) * direction).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=60)
@given(
    radii=st.tuples(st.floats(0, 25), st.floats(0, 25)),
    angles=st.tuples(st.floats(0, 6.3), st.sampled_from([0.0, 1e-12, 1e-3, 1.0, np.pi])),
)
def test_finite_everywhere(name, dtype, radii, angles):
    """In float64 also beyond where `project` keeps points; float32 has no digits left there."""
    x, y = at(radii[0], angles[0], dtype), at(radii[1], angles[0] + angles[1], dtype)
    if dtype == torch.float32:
        x, y = project(x), project(y)
    x, y = x.requires_grad_(), y.requires_grad_()
    value = FUNCTIONS[name](x, y)
    gradients = torch.autograd.grad(value.sum() + 0 * (x + y).sum(), (x, y))
    assert value.isfinite().all()
    assert all(g.isfinite().all() for g in gradients)


@settings(max_examples=100)
@given(st.floats(0, 17), st.floats(0, 17), st.floats(0, 6.3), st.floats(0, np.pi))
def test_distances_to_34_are_right(a, b, angle, apart):
    """Against 60 digits, from the coordinates as float64 has them."""
    x, y = at(a, angle, torch.float64), at(b, angle + apart, torch.float64)
    with mpmath.workdps(60):
        p, q = ([mpmath.mpf(float(v)) for v in point] for point in (x, y))
        far = mpmath.fsum((i - j) ** 2 for i, j in zip(p, q, strict=True))
        gaps = (1 - mpmath.fsum(i * i for i in p)) * (1 - mpmath.fsum(j * j for j in q))
        exact = float(mpmath.acosh(1 + 2 * far / gaps))
    # The last digit of a coordinate is worth exp(radius) of them in the gap to the rim.
    slack = 4e-16 * np.exp(max(a, b))
    assert float(distance(x, y)) == pytest.approx(exact, rel=1e-9 + slack, abs=1e-9 + slack)


def test_distances_go_up_to_40_and_beyond():
    for radius in (10.0, 15.0, 20.0):
        x, y = at(radius, 0.0, torch.float64), at(radius, np.pi, torch.float64)
        assert float(distance(x, y)) == pytest.approx(2 * radius, rel=1e-6)
