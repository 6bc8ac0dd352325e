"""The made tomogram: truth and centres fit each other, the wedge is empty, protein is bright."""

from __future__ import annotations

import csv
from functools import cache

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_hypseg.samples import make_tomogram
from napari_hypseg.samples import tomogram as tomograms
from napari_hypseg.samples.tilt_series import add_noise

SHAPE = (48, 96, 96)
CLASS = {"ribosome": 9, "26S proteasome": 10, "TRiC": 11}
make = cache(make_tomogram)


@pytest.fixture(scope="module")
def large():
    """One with room for all twelve classes."""
    return make((64, 160, 192), snr=4.0, seed=2)


def test_the_same_seed_makes_the_same_one_with_any_number_of_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        first = make_tomogram(SHAPE, seed=5)
        torch.set_num_threads(3)
        again, other = make_tomogram(SHAPE, seed=5), make_tomogram(SHAPE, seed=6)
    finally:
        torch.set_num_threads(before)
    assert first.volume.fingerprint() == again.volume.fingerprint()
    assert all(map(np.array_equal, first.levels, again.levels))
    assert all(np.array_equal(first.picks[name], again.picks[name]) for name in CLASS)
    assert first.volume.fingerprint() != other.volume.fingerprint()
    assert not np.array_equal(first.levels[2], other.levels[2])


@pytest.mark.parametrize("shape", [(16, 16, 16), (33, 47, 64), (20, 90, 41)])
def test_any_shape(shape):
    tomogram = make_tomogram(shape, voxel_size=12.5, seed=1)
    assert tomogram.volume.shape == shape
    assert tomogram.volume.voxel_size == (12.5, 12.5, 12.5)
    voxels = tomogram.volume.read()
    assert voxels.dtype == np.float32
    assert voxels.mean() == pytest.approx(0, abs=1e-5)
    assert voxels.std() == pytest.approx(1, abs=1e-5)
    assert all(level.shape == shape and level.dtype == np.uint8 for level in tomogram.levels)


def test_levels_are_nested_and_all_classes_there(large):
    coarse, middle, fine = large.levels
    assert np.unique(fine).tolist() == list(range(12))
    groups = {0: [0], 1: [1], 2: [2, 3, 5], 3: [4], 4: [6], 5: [7, 8], 6: [9, 10, 11]}
    for value, members in groups.items():
        np.testing.assert_array_equal(middle == value, np.isin(fine, members))
    np.testing.assert_array_equal(coarse, fine > 0)
    # Things lie in cytosol, clear of each other and of the outside.
    for value in range(3, 12):
        around = ndimage.binary_dilation(fine == value) & (fine != value)
        inside_of = {3: [4], 4: [3], 5: [6], 6: [5]}.get(value, [])
        assert np.isin(fine[around], [1, *inside_of]).all()


@pytest.mark.parametrize("seed", range(4))
def test_centres_lie_in_their_complexes_and_each_complex_has_one(seed):
    tomogram = make(SHAPE, seed=seed)
    fine = tomogram.levels[2]
    assert set(tomogram.picks) == set(CLASS)
    assert len(tomogram.picks["ribosome"]) >= 2
    for name, centres in tomogram.picks.items():
        assert centres.shape[1:] == (3,)
        assert (fine[tuple(centres.T)] == CLASS[name]).all()
    # A ribosome that lies wholly inside is a body of its own, about its centre.
    bodies, _ = ndimage.label(fine == 9, np.ones((3, 3, 3)))
    for centre in tomogram.picks["ribosome"]:
        if (centre > 20).all() and (centre < np.array(SHAPE) - 20).all():
            body = np.argwhere(bodies == bodies[tuple(centre)])
            assert np.abs(body.mean(axis=0) - centre).max() < 3.5
            assert 3000 < len(body) < 8000


def test_picks_are_written_as_a_table(tmp_path):
    tomogram = make(SHAPE, seed=0)
    tomogram.write_picks(tmp_path / "picks.csv")
    with (tmp_path / "picks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["class", "z", "y", "x"]
    for name, centres in tomogram.picks.items():
        read = [[int(row[a]) for a in "zyx"] for row in rows if row["class"] == name]
        assert read == centres.tolist()


def test_protein_is_bright_and_noise_hides_it(large):
    def contrast(tomogram):
        voxels, fine = tomogram.volume.read(), tomogram.levels[2]
        cytosol = voxels[fine == 1]
        return [(voxels[fine == k].mean() - cytosol.mean()) / cytosol.std() for k in range(12)]

    clear, noisy = contrast(large), contrast(make((64, 160, 192), snr=0.2, seed=2))
    for label in (2, 3, 5, 7, 8, 9, 10, 11):
        assert clear[label] > 0.1
        assert noisy[label] < 0.7 * clear[label]
    assert clear[9] > clear[2] > abs(clear[4])


@pytest.mark.parametrize("snr", [0.3, 2.0])
def test_the_untilted_projection_has_the_signal_to_noise_that_was_asked_for(monkeypatch, snr):
    seen = []

    def watched(series, angles, *rest, **more):
        noisy = add_noise(series, angles, *rest, **more)
        middle = int(np.abs(angles).argmin())
        clean = series[middle].double()
        # The field of view: what was mirrored around it is left out.
        clean, whole = clean[15:-15, 48:-48], noisy[middle, 15:-15, 48:-48].double()
        seen.append(float(clean.var() / (whole - clean).var()))
        return noisy

    monkeypatch.setattr(tomograms, "add_noise", watched)
    make_tomogram(SHAPE, snr=snr, seed=1)
    assert seen == pytest.approx([snr], rel=0.05)


def test_the_wedge_about_y_is_empty(large):
    voxels = large.volume.read().astype(float)
    for axis, size in enumerate(voxels.shape):
        voxels = voxels * np.moveaxis(np.hanning(size)[:, None, None], 0, axis)
    power = np.abs(np.fft.fftn(voxels)) ** 2
    kz, ky, kx = np.meshgrid(*map(np.fft.fftfreq, voxels.shape), indexing="ij")
    angle, radius = np.degrees(np.arctan2(np.abs(kz), np.abs(kx))), np.hypot(kz, kx)
    ring = (radius > 0.12) & (radius < 0.35)
    seen = power[ring & (angle < 55)].mean()
    assert power[ring & (angle > 66)].mean() < 0.003 * seen
    assert power[ring & (angle > 50) & (angle < 57)].mean() > 0.3 * seen
    # Only about y: along y and z together all that is not near the z axis is there.
    across = np.degrees(np.arctan2(np.abs(kz), np.abs(ky)))
    assert power[ring & (angle < 55) & (across > 70)].mean() > 0.1 * seen


def test_a_wider_range_of_angles_fills_the_wedge():
    voxels = make(SHAPE, seed=1, tilt_limit=75.0).volume.read()
    narrow = make(SHAPE, seed=1, tilt_limit=40.0).volume.read()
    angle = np.degrees(np.arctan2(*np.meshgrid(
        np.abs(np.fft.fftfreq(48)), np.abs(np.fft.fftfreq(96)), indexing="ij"
    )))[:, None]  # fmt: skip

    def share(data, low, high):
        power = np.abs(np.fft.fftn(data)) ** 2
        return (power * ((angle > low) & (angle < high))).sum() / power.sum()

    assert share(voxels, 50, 70) > 10 * share(narrow, 50, 70)


def test_a_slab_has_its_thickness():
    tomogram = make((64, 64, 64), thickness=400.0, seed=3)
    fine = tomogram.levels[2]
    filled = np.flatnonzero((fine > 0).any(axis=(1, 2)))
    assert filled.tolist() == list(range(12, 52))
    assert all((np.abs(c[:, 0] - 31.5) <= 20).all() for c in tomogram.picks.values())
    voxels = tomogram.volume.read()
    assert voxels[14:50].var() > 1.1 * voxels[:8].var()


@pytest.mark.parametrize("voxel_size", [8.0, 10.0, 16.0])
def test_things_are_as_large_in_angstrom_whatever_the_voxel_size(voxel_size):
    count = int(960 / voxel_size)
    fine = make((count // 2, count, count), voxel_size=voxel_size, seed=4).levels[2]
    # Along y, across the cell membrane: 6 nm.
    through = (fine == 2).sum(axis=1) * voxel_size
    assert np.median(through[(through > 0) & (fine[:, 0] == 0)]) == pytest.approx(
        60, abs=voxel_size
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": (8, 64, 64)}, "16 voxels"),
        ({"shape": (64, 64)}, "16 voxels"),
        ({"shape": SHAPE, "snr": 0.0}, "signal to noise of a tomogram must be a positive number"),
        ({"shape": SHAPE, "defocus": float("nan")}, "defocus"),
        ({"shape": SHAPE, "tilt_limit": 90.0}, "below 90"),
        ({"shape": SHAPE, "tilt_step": 70.0}, "step"),
        ({"shape": SHAPE, "thickness": -5.0}, "thickness"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_tomogram(**arguments)
