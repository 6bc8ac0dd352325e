"""Passes over all voxels give what numpy gives, in one part and in many."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hypseg.figures import voxels


@pytest.fixture(params=["one part", "many parts"], autouse=True)
def parts(request, monkeypatch):
    if request.param == "many parts":
        monkeypatch.setattr(voxels, "_FEW", 10)
        monkeypatch.setattr(voxels, "_THREADS", 3)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_relabel_and_burn(rng):
    values, lookup = (rng.integers(0, 256, n).astype(np.uint8) for n in (1000, 256))
    values = values.reshape(10, 10, 10)
    np.testing.assert_array_equal(voxels.relabel(values, lookup), lookup[values])
    values = values.clip(0, 254)
    np.testing.assert_array_equal(voxels.plus_one(values), values + 1)
    # Not in one piece in memory, as a mask that somebody else made may be.
    mask = (rng.random((10, 10, 20)) < 0.3)[..., ::2]
    expected = np.where(mask, 7, values)
    voxels.burn(values, mask, 7)
    np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("size", [9, 1000, 5001])
def test_counts(rng, size):
    owners, leaves = rng.integers(0, 3, size).astype(np.uint8), rng.integers(0, 5, size)
    leaves = leaves.astype(np.uint8)
    # Long stretches that have no owner, too.
    owners[size // 5 : size // 2] = 0
    expected = np.zeros((3, 5), int)
    np.add.at(expected, (owners, leaves), 1)
    np.testing.assert_array_equal(voxels.count(owners, leaves, 2, 5), expected[1:])
    # As many of the sample as there are voxels, in another order.
    some, values = rng.permutation(size), rng.random(size).astype(np.float32)
    counts, sums = voxels.count_sample(owners, some, leaves[some], values, 3, 5)
    np.testing.assert_array_equal(counts, expected)
    wanted = np.zeros((3, 5))
    np.add.at(wanted, (owners[some], leaves[some]), values)
    np.testing.assert_allclose(sums, wanted, rtol=1e-6)


@pytest.mark.parametrize("low", [(-9, 20), (100, -300), (65000, 65500)])
def test_inside(rng, low):
    table = np.zeros((64, 64), np.uint8)
    table[1:-1, 1:-1] = rng.random((62, 62)) < 0.5
    # More than are looked up together.
    x, y = rng.integers(0, 1 << 16, (2, 9000)) // [[1], [3]]
    x[::2], y[::2] = ((rng.integers(0, 512, 4500) + v).clip(0, 65535) for v in low)
    packed = (x.astype(np.uint32) << 16 | y.astype(np.uint32)).reshape(10, 900)
    column, row = ((v - first) // 8 for v, first in zip((x, y), low, strict=True))
    there = (column >= 0) & (column < 64) & (row >= 0) & (row < 64)
    expected = there & (table[column.clip(0, 63), row.clip(0, 63)] > 0)
    assert expected.any()
    found = np.ones(packed.shape, bool)
    voxels.inside(packed, table, low, 3, found)
    np.testing.assert_array_equal(found, expected.reshape(10, 900))
