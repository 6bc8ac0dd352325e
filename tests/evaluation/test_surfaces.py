"""Hausdorff distances, boundary F1 and surface Dice against brute force and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance

from napari_hypseg.evaluation import hausdorff, surface_distances

masks = arrays(bool, (4, 5, 6), elements=st.booleans())
sizes = st.tuples(*[st.floats(0.5, 20)] * 3)


def surface_by_loop(mask):
    padded = np.pad(mask, 1)
    surface = np.zeros_like(mask)
    for z, y, x in np.argwhere(mask):
        i, j, k = z + 1, y + 1, x + 1
        faces = [padded[i - 1, j, k], padded[i + 1, j, k], padded[i, j - 1, k]]
        faces += [padded[i, j + 1, k], padded[i, j, k - 1], padded[i, j, k + 1]]
        surface[z, y, x] = not all(faces)
    return surface


@settings(deadline=None)
@given(masks, masks, sizes)
def test_matches_brute_force(a, b, voxel_size):
    ours = hausdorff(a, b, voxel_size=voxel_size)
    if not a.any() and not b.any():
        assert np.isnan(ours).all()
        return
    if not a.any() or not b.any():
        assert np.isinf(ours).all()
        return
    points = [np.argwhere(surface_by_loop(mask)) * np.array(voxel_size) for mask in (a, b)]
    apart = cdist(*points)
    there, back = apart.min(axis=1), apart.min(axis=0)
    assert ours.maximum == pytest.approx(max(there.max(), back.max()))
    assert ours.percentile_95 == pytest.approx(
        max(np.percentile(there, 95), np.percentile(back, 95))
    )
    assert ours.average == pytest.approx(max(there.mean(), back.mean()))


@settings(deadline=None)
@given(masks.filter(np.any), masks.filter(np.any))
def test_maximum_matches_skimage_on_the_surfaces(a, b):
    expected = hausdorff_distance(surface_by_loop(a), surface_by_loop(b))
    assert hausdorff(a, b).maximum == pytest.approx(expected)


@settings(deadline=None)
@given(masks, masks, sizes)
def test_is_symmetric_and_zero_for_itself(a, b, voxel_size):
    assert hausdorff(a, b, voxel_size=voxel_size) == pytest.approx(
        hausdorff(b, a, voxel_size=voxel_size), nan_ok=True
    )
    if a.any():
        assert hausdorff(a, a, voxel_size=voxel_size) == (0, 0, 0)


def test_a_shift_by_two_slices_in_angstrom():
    a = np.zeros((20, 12, 12), bool)
    a[4:6, 3:9, 3:9] = True
    shifted = np.roll(a, 6, axis=0)
    ours = hausdorff(a, shifted, voxel_size=(7.0, 10.0, 10.0))
    assert ours.maximum == 42
    # The near plate is 5 slices from the other pair, the far one 6; both have 36 voxels.
    assert ours.average == pytest.approx(7 * 5.5)
    assert ours.percentile_95 == 42


def test_one_stray_voxel_moves_the_maximum_only():
    a = np.zeros((30, 30, 30), bool)
    a[5:20, 5:20, 5:20] = True
    stray = a.copy()
    stray[29, 12, 12] = True
    ours = hausdorff(stray, a)
    assert (ours.maximum, ours.percentile_95) == (10, 0)
    surface = 15**3 - 13**3
    assert ours.average == pytest.approx(10 / (surface + 1))


def test_distances_are_between_surfaces_not_solids():
    z, y, x = np.indices((41, 41, 41)) - 20
    r = np.sqrt(z**2 + y**2 + x**2)
    ours = hausdorff(r <= 8, r <= 18)
    # Every surface voxel of each ball is about 10 from the other ball's surface.
    assert ours.average == pytest.approx(10, abs=0.6)


def test_refuses_sets_of_two_volumes():
    with pytest.raises(ValueError, match=r"not \(2, 2, 2\), \(2, 2, 3\)"):
        hausdorff(np.ones((2, 2, 2)), np.ones((2, 2, 3)))
    with pytest.raises(ValueError, match="one volume"):
        hausdorff(np.ones((2, 2)), np.ones((2, 2)))


@settings(deadline=None)
@given(masks, masks, st.sampled_from([0.0, 1.0, 1.5, 2.0]))
def test_boundary_f1_and_surface_dice_match_brute_force(a, b, tolerance):
    ours = surface_distances(a, b)
    if not (a.any() and b.any()):
        assert ours.f1(tolerance) == ours.dice(tolerance) == float(a.any() == b.any())
        return
    points = [np.argwhere(surface_by_loop(mask)) for mask in (a, b)]
    near = cdist(*points) <= tolerance
    hits = [int(near.any(axis=1).sum()), int(near.any(axis=0).sum())]
    precision, recall = hits[0] / len(points[0]), hits[1] / len(points[1])
    both = precision + recall
    assert ours.f1(tolerance) == pytest.approx(2 * precision * recall / both if both else 0)
    assert ours.dice(tolerance) == pytest.approx(sum(hits) / (len(points[0]) + len(points[1])))


def test_a_sheet_one_voxel_off_is_found_within_one_voxel():
    sheet = np.zeros((20, 20, 20), bool)
    sheet[10] = True
    ours = surface_distances(np.roll(sheet, 1, 0), sheet)
    assert [ours.f1(t) for t in (0, 1, 2)] == [0, 1, 1]
    thick = sheet | np.roll(sheet, 2, 0) | np.roll(sheet, 1, 0)
    # Of its three planes the first is right, the rim of the second near, the third too far.
    precision = (400 + 76) / (400 + 76 + 400)
    ours = surface_distances(thick, sheet)
    assert ours.f1(2) == 1
    assert ours.f1(1) == pytest.approx(2 * precision / (precision + 1))
