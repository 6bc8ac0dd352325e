"""Texture against plain sums, known noise, and waves of several directions."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hypseg.latents.texture import doubled, texture

STEPS = [(1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1)]
STEPS += [(2, 0, 0), (0, 2, 0), (0, 0, 2)]


@pytest.mark.parametrize("shape", [(9, 8, 7), (1, 5, 6), (2, 1, 1)])
def test_is_what_is_written_down(shape):
    residue = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    whole = residue.astype(np.float64)
    products = np.zeros([*shape, 10])
    for place in np.ndindex(*shape):
        for channel, step in enumerate([(0, 0, 0), *STEPS]):
            if any(abs(s) >= n for s, n in zip(step, shape, strict=True)):
                continue
            # The nearest place from which a step stays inside.
            here = tuple(
                min(max(p, -s, 0), n - 1 - max(s, 0))
                for p, s, n in zip(place, step, shape, strict=True)
            )
            there = tuple(p + s for p, s in zip(here, step, strict=True))
            products[*place, channel] = whole[here] * whole[there]
    means = np.zeros([-(-n // 2) for n in shape] + [10])
    for z, y, x in np.ndindex(*means.shape[:3]):
        part = products[2 * z : 2 * z + 2, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        means[z, y, x] = part.mean((0, 1, 2))
    for axis in range(3):
        # Four of these are more than six standard deviations; beyond the border the field is
        # mirrored. The filter of scipy ends at four.
        weights = np.exp(-0.5 * (np.arange(-4, 5) / 0.625) ** 2)
        padding = [(4, 4) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(means, padding, mode="symmetric")
        n = means.shape[axis]
        means = sum(
            w * np.take(padded, range(i, i + n), axis)
            for i, w in enumerate(weights / weights.sum())
        )
    strength = np.sqrt(means[..., :1])
    found = texture(residue)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., :1], strength, rtol=1e-3)
    np.testing.assert_allclose(found[..., 1:], means[..., 1:] / strength, rtol=1e-3, atol=1e-4)


def test_of_white_noise():
    rng = np.random.default_rng(1)
    residue = (3 * rng.normal(size=(40, 40, 40))).astype(np.float32)
    found = texture(residue)
    assert found.shape == (20, 20, 20, 10)
    # As strong as its standard deviation, and without grain.
    np.testing.assert_allclose(found.mean((0, 1, 2)), [3] + 9 * [0], atol=0.1)
    assert found[..., 0].std() < 0.5


@pytest.mark.parametrize("end", [0, -1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_faces_have_no_grain_of_their_own(axis, end):
    residue = np.random.default_rng(2).normal(size=(60, 60, 60)).astype(np.float32)
    found = texture(residue).take(end, axis).mean((0, 1))
    np.testing.assert_allclose(found, [1] + 9 * [0], atol=0.1)


@pytest.mark.parametrize(
    "turn", [(0.2, 0, 0), (0, 0.2, 0), (0, 0, 0.2), (0.1, 0.1, 0), (0.1, -0.1, 0)]
)
def test_tells_waves_of_the_same_strength_apart(turn):
    """Plane waves, by the turns that they make from a voxel to the next along z, y and x."""
    phase = sum(2 * np.pi * t * p for t, p in zip(turn, np.indices((48, 48, 48)), strict=True))
    residue = (np.sqrt(2) * np.sin(phase)).astype(np.float32)
    found = texture(residue)[8:-8, 8:-8, 8:-8].mean((0, 1, 2))
    # The same across the wave, the cosine of what it turns along it.
    wanted = [np.cos(2 * np.pi * np.dot(turn, step)) for step in STEPS]
    np.testing.assert_allclose(found, [1, *wanted], atol=0.05)


def test_nothing_has_no_texture():
    np.testing.assert_array_equal(texture(np.zeros((5, 6, 7), np.float32)), 0)


def test_doubling_keeps_edges_and_cuts_odd_ends():
    coarse = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1)
    found = doubled(coarse, (3, 4, 3))
    for z, y, x in np.ndindex(3, 4, 3):
        assert found[z, y, x] == coarse[z // 2, y // 2, x // 2]
