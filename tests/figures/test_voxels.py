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


def test_relabel(rng):
    values, lookup = (rng.integers(0, 256, n).astype(np.uint8) for n in (1000, 256))
    values = values.reshape(10, 10, 10)
    np.testing.assert_array_equal(voxels.relabel(values, lookup), lookup[values])


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
