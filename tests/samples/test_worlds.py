"""Worlds: the same seed makes the same one, with truth at every level, and no two alike."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hypseg.samples.worlds import make_world


@pytest.mark.parametrize("seed", range(12))
def test_a_world_is_normalised_and_its_levels_cover_it(seed):
    voxels, levels = make_world(seed)
    assert voxels.dtype == np.float32
    assert voxels.ndim == 3
    assert max(voxels.shape) <= 60
    assert np.isfinite(voxels).all()
    assert float(voxels.std()) == pytest.approx(1, abs=1e-3)
    assert 2 <= len(levels) <= 3
    assert all(level.shape == voxels.shape for level in levels)
    assert len(np.unique(levels[-1])) > 1


def test_the_same_seed_makes_the_same_world():
    first, again, other = (make_world(seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
