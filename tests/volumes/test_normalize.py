"""Normalising: against NumPy's percentiles, and its accuracy on sampled volumes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_hypseg.volumes import Normalization, Volume, VolumeError, fit_normalization
from napari_hypseg.volumes import normalize as module

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*voxels are not finite", "ignore:.*taken as padding:UserWarning"
)


def reference(voxels):
    """Low, high, mean and deviation of an array in float64 with NumPy alone."""
    finite = voxels[np.isfinite(voxels)].astype(np.float64)
    low, high = np.percentile(finite, (0.1, 99.9))
    clipped = finite.clip(low, high)
    return low, high, clipped.mean(), clipped.std()


def numbers(rule):
    return rule.low, rule.high, rule.mean, rule.std


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "u4", "f2", "f4", "f8", ">f4"])
def test_exact_on_small_volumes(dtype):
    voxels = np.random.default_rng(2).normal(60, 15, (20, 21, 22)).clip(0, 127).astype(dtype)
    if voxels.dtype.kind == "f":
        voxels[3, 4, :3] = np.nan, np.inf, -np.inf
    rule = fit_normalization(Volume(voxels))
    np.testing.assert_allclose(numbers(rule), reference(voxels), rtol=1e-7)
    result = rule.apply(voxels)
    assert result.dtype == np.float32
    finite = result[np.isfinite(voxels)].astype(float)
    np.testing.assert_allclose((finite.mean(), finite.std()), (0, 1), atol=1e-5)
    if voxels.dtype.kind == "f":
        assert result[3, 4, :3].tolist() == [0, 0, 0]


def test_negative_int16_in_many_slabs(monkeypatch):
    voxels = np.random.default_rng(0).integers(-32768, 32768, (9, 8, 7)).astype("i2")
    whole = numbers(fit_normalization(Volume(voxels)))
    monkeypatch.setattr(module, "slabs", _single_slices)
    assert numbers(fit_normalization(Volume(voxels))) == whole
    np.testing.assert_allclose(whole, reference(voxels), rtol=1e-9)
    assert numbers(fit_normalization(Volume(voxels.astype("f4")))) == pytest.approx(whole)


def _single_slices(shape, _=0):
    for z in range(shape[0]):
        yield slice(z, z + 1), slice(0, shape[1]), slice(0, shape[2])


def test_accuracy_of_the_sample(monkeypatch):
    """A sample of n voxels: errors within five standard errors, shrinking as 1 / sqrt(n)."""
    rng = np.random.default_rng(5)
    # Slices of different brightness: a sample that skipped slabs would be far off.
    voxels = (rng.normal(size=(60, 100, 100)) + np.linspace(-2, 2, 60)[:, None, None]).astype("f4")
    voxels[30, 50, 50] = 1e30
    exact = reference(voxels)
    monkeypatch.setattr(module, "slabs", _single_slices)
    n = 100_000
    monkeypatch.setattr(module, "_SAMPLE", n)
    rule = fit_normalization(Volume(voxels), gradient=False)
    assert rule == fit_normalization(Volume(voxels), gradient=False)
    for tail, bound in ((0.001, rule.low), (0.999, rule.high)):
        rank = (voxels <= bound).mean()
        assert abs(rank - tail) < 5 * np.sqrt(0.001 * 0.999 / n)
    assert abs(rule.mean - exact[2]) < 5 * exact[3] / np.sqrt(n)
    assert rule.std == pytest.approx(exact[3], rel=5 / np.sqrt(n))
    assert numbers(rule) != pytest.approx(exact, rel=1e-9)


def test_outliers_are_cut():
    voxels = np.random.default_rng(1).normal(size=(20, 20, 20)).astype("f4")
    spoiled = voxels.copy()
    spoiled[0, 0, :4] = 1e9
    clean, rule = (fit_normalization(Volume(v)) for v in (voxels, spoiled))
    assert rule.mean == pytest.approx(clean.mean, abs=0.01)
    assert rule.std == pytest.approx(clean.std, rel=0.01)
    assert rule.apply(spoiled).max() < 5


def test_nearly_constant_volume_keeps_its_range():
    voxels = np.zeros((20, 20, 20), "u1")
    voxels[0, 0, 0] = 9
    rule = fit_normalization(Volume(voxels))
    assert (rule.low, rule.high) == (0, 9)
    assert rule.apply(voxels)[0, 0, 0] > 10


@pytest.mark.parametrize(
    "voxels",
    [
        np.full((3, 3, 3), 7, "u1"),
        np.full((3, 3, 3), 0.1, "f4"),
        np.full((3, 3, 3), np.nan, "f4"),
        np.array([np.inf, -np.inf, np.nan, 2.0, 2.0, 2.0, 2.0, 2.0], "f8").reshape(2, 2, 2),
        np.zeros((2, 2, 2), bool),
    ],
)
def test_volume_without_spread(voxels):
    with pytest.raises(VolumeError, match=r"^tomo: "):
        fit_normalization(Volume(voxels, name="tomo"))


def test_wide_integers_keep_their_differences():
    voxels = (2**30 + np.arange(1000).reshape(10, 10, 10)).astype("i4")
    result = fit_normalization(Volume(voxels)).apply(voxels)
    assert np.diff(result.ravel())[5:-5].min() > 0


def test_json():
    rule = Normalization(low=-1.5, high=0.1 + 0.2, mean=0.1, std=1 / 3)
    for each in (rule, replace(rule, padding=0.0), replace(rule, gradient=(0.0, 0.1, 1 / 3))):
        assert Normalization.from_dict(json.loads(json.dumps(each.to_dict()))) == each
    for broken in ({}, rule.to_dict() | {"std": 0}, rule.to_dict() | {"low": float("nan")}):
        with pytest.raises(ValueError, match="a normalization"):
            Normalization.from_dict(broken)


@given(
    hnp.arrays(
        st.sampled_from(["f4", "f8", "i2", "u1"]),
        hnp.array_shapes(min_dims=3, max_dims=3, max_side=6),
        elements={"min_value": 0, "max_value": 100, "allow_nan": False},
    ),
)
def test_any_volume_is_normalised_or_refused(voxels):
    try:
        rule = fit_normalization(Volume(voxels))
    except VolumeError:
        assert np.ptp(voxels.astype(float)) < 1e-3
        return
    result = rule.apply(voxels).astype(float)
    assert np.isfinite(result).all()
    assert np.isfinite(rule.read(Volume(voxels))).all()
    order = np.argsort(voxels, axis=None)
    assert (np.diff(result.ravel()[order]) >= 0).all()


def test_apply_leaves_its_input_alone():
    voxels = np.array([np.nan, 5.0], "f4")
    Normalization(0, 1, 0.5, 1).apply(voxels)
    assert voxels[1] == 5
    assert np.isnan(voxels[0])


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("blank", [0, 40, 500])
def test_masked_voxels_do_not_count(dtype, blank):
    rng = np.random.default_rng(0)
    inside = rng.normal(100, 20, (20, 20, 20)).round(3).astype(dtype)
    masked = np.full((20, 20, 40), blank, dtype)
    masked[..., :20] = inside
    expected = fit_normalization(Volume(inside))
    with pytest.warns(UserWarning, match=rf"50\.0% .* the value {blank} .* padding"):
        found = fit_normalization(Volume(masked))
    assert found.padding == blank
    # Only measurements that happen to have the mask's value are lost with it.
    assert numbers(found) == pytest.approx(numbers(expected), rel=0.02)


def test_two_values_both_count():
    array = np.zeros((4, 4, 4), np.uint8)
    array[0] = 10
    fit = fit_normalization(Volume(array))
    assert (fit.low, fit.high, fit.mean) == (0, 10, 2.5)
