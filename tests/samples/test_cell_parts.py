"""Shapes: their sizes in angstrom, and the mass and place that a grid keeps of them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, signal

from napari_hypseg.samples.canvas import Canvas
from napari_hypseg.samples.molecules import (
    Beads,
    actin,
    crowd,
    microtubule,
    proteasome,
    random_turn,
    ribosome,
    tric,
)
from napari_hypseg.samples.organelles import (
    Blob,
    Sheet,
    paint_cell,
    paint_mitochondrion,
    paint_vesicle,
)


def peaks(profile, step):
    """Places of the maxima of a profile, between its samples, in order."""
    fine = np.linspace(0, len(profile) - 1, 20 * len(profile))
    smooth = ndimage.map_coordinates(profile, fine[None], order=3)
    found, _ = signal.find_peaks(smooth, height=0.3 * smooth.max())
    return fine[found] * step


@pytest.mark.parametrize("voxel_size", [4.0, 10.0, 13.0])
def test_beads_keep_mass_and_place_on_the_grid(voxel_size):
    rng = np.random.default_rng(0)
    canvas = Canvas((40, 45, 50), voxel_size)
    centre = np.array([19.3, 22.8, 25.1]) * voxel_size
    canvas.add_beads(Beads(centre[None], np.array([60.0]), np.array([25.0])), 9)
    # 60 kDa at 0.73 cm^3 / g, the partial specific volume of proteins.
    volume = 60e3 / 6.02214e23 * 0.73 * 1e24
    assert canvas.density.sum() * voxel_size**3 == pytest.approx(volume, rel=0.01)
    found = np.array(ndimage.center_of_mass(canvas.density)) * voxel_size
    np.testing.assert_allclose(found, centre, atol=0.02 * voxel_size)
    z, y, x = np.indices(canvas.truth.shape) * voxel_size
    away = np.sqrt((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2)
    np.testing.assert_array_equal(canvas.truth == 9, away <= 25.0)
    # What lies beyond the faces is left out, and nothing comes in at the other side.
    edge = Canvas((20, 20, 20), voxel_size)
    edge.add_beads(Beads(np.zeros((1, 3)), np.array([60.0]), np.array([25.0])), 9)
    assert (
        edge.density[10:].max() == edge.density[:, 10:].max() == edge.density[:, :, 10:].max() == 0
    )
    turned = random_turn(rng)
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turned) == pytest.approx(1)


@pytest.mark.parametrize("voxel_size", [2.5, 5.0, 10.0])
def test_the_leaflets_of_the_cell_membrane_are_4_nm_apart(voxel_size):
    count = int(400 / voxel_size)
    canvas = Canvas((4, count, 4), voxel_size)
    paint_cell(canvas, Sheet(200.0, np.zeros((1, 4))), 1, 2)
    low, high = peaks(canvas.density[2, :, 2], voxel_size)
    assert high - low == pytest.approx(40.0, abs=1.5)
    assert (low + high) / 2 == pytest.approx(200.0, abs=1.0)
    column = canvas.truth[2, :, 2]
    assert (column == 2).sum() * voxel_size == pytest.approx(60.0, abs=voxel_size)
    assert column[0] == 0
    assert column[-1] == 1
    assert (np.diff(column.astype(int)) != 0).sum() == 2


@pytest.mark.parametrize("seed", range(4))
def test_the_leaflets_of_a_bent_vesicle_are_4_nm_apart_all_around(seed):
    rng = np.random.default_rng(seed)
    canvas = Canvas((120, 120, 120), 5.0)
    middle = np.full(3, 297.5)
    blob = Blob(middle, np.array([220.0, 190.0, 170.0]), random_turn(rng), rng.uniform(0, 6, 3))
    paint_vesicle(canvas, blob, 3, 4)
    outline = np.gradient(ndimage.distance_transform_edt(canvas.truth == 4))
    gaps = []
    for _ in range(40):
        ray = rng.standard_normal(3)
        ray /= np.linalg.norm(ray)
        # From inside to outside, along the outline's own normal where the ray meets it.
        steps = 59.5 + np.arange(100)[:, None] * ray * 0.6
        hit = steps[ndimage.map_coordinates((canvas.truth == 3) * 1.0, steps.T, order=1) > 0.5][0]
        normal = -np.array(
            [
                ndimage.map_coordinates(g, hit[:, None] - 1.5 * ray[:, None], order=1)[0]
                for g in outline
            ]
        )
        normal /= np.linalg.norm(normal)
        line = hit + np.arange(-8, 26)[:, None] * normal * 0.5
        found = peaks(ndimage.map_coordinates(canvas.density, line.T, order=3), 2.5)
        assert len(found) == 2
        gaps.append(found[1] - found[0])
    assert np.median(gaps) == pytest.approx(40.0, abs=2.0)
    assert np.ptp(gaps) < 14.0
    assert ndimage.label(canvas.truth == 4)[1] == 1


def test_a_mitochondrion_has_two_membranes_and_one_matrix_with_folds():
    canvas = Canvas((96, 96, 160), 10.0)
    turn = np.array([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]])
    blob = Blob(np.array([475.0, 475, 795]), np.array([700.0, 440, 420]), turn, np.zeros(3))
    paint_mitochondrion(canvas, blob, 5, 6)
    membranes, matrix = canvas.truth == 5, canvas.truth == 6
    assert set(np.unique(canvas.truth)) == {0, 5, 6}
    # The matrix is closed in, and one room: cristae reach in from the sides but part nothing off.
    assert not (ndimage.binary_dilation(matrix) & (canvas.truth == 0)).any()
    pieces = np.bincount(ndimage.label(matrix)[0][matrix])
    assert pieces.max() > 0.95 * matrix.sum()
    solid = ndimage.binary_closing(matrix, iterations=10)
    assert (solid & membranes).sum() > 0.2 * matrix.sum()
    # Inwards between two cristae: two membranes of two leaflets, their middles 11 nm apart.
    line = canvas.density[48, :, 94].astype(float)
    outside_in = peaks(line[:40], 10.0)
    outer, inner = outside_in[:2].mean(), outside_in[2:4].mean()
    assert inner - outer == pytest.approx(110.0, abs=12.0)


def test_microtubules_have_13_protofilaments_of_tubulin():
    beads = microtubule(800.0)
    wall = beads.centres[beads.masses > 0]
    radius = np.hypot(wall[:, 1], wall[:, 2])
    assert np.ptp(radius) < 1e-9
    # 25 nm wide.
    outside = radius[0] + (beads.reaches[beads.masses > 0] - 4.0).max()
    assert 2 * outside == pytest.approx(250.0, abs=15.0)
    strands = np.unique(np.round(np.arctan2(wall[:, 1], wall[:, 2]), 6))
    assert len(strands) == 13
    # Tubulin has 1,625 dimers of 110 kDa in a micrometre.
    assert len(wall) / 2 == pytest.approx(1625 * 0.08, rel=0.02)
    one = wall[np.isclose(np.arctan2(wall[:, 1], wall[:, 2]), strands[5])]
    np.testing.assert_allclose(np.diff(np.sort(one[:, 0])), 40.0)
    # Three monomers further up after one turn of the helix: the lattice closes.
    next_up = wall[wall[:, 0] > 119.9]
    assert np.abs(next_up - [120.0, *wall[0, 1:]]).max(axis=1).min() < 1e-6


def test_actin_has_a_crossing_every_36_nm():
    centres = actin(1500.0).centres
    turn = np.unwrap(np.arctan2(centres[:, 1], centres[:, 2]))
    rise = 27.5
    np.testing.assert_allclose(np.diff(centres[:, 0]), rise)
    # Two strands: every second subunit is on the same, which goes half about in 36 nm.
    along = np.angle(np.exp(1j * (turn[2:] - turn[:-2])))
    assert np.pi / np.abs(along).mean() * 2 * rise == pytest.approx(370, abs=20)


def test_complexes_have_the_sizes_and_masses_of_life():
    large = ribosome()
    assert 3000 < large.masses.sum() / 1.4 < 3400
    assert 2 * large.radius < 340
    spread = np.ptp(large.centres, axis=0)
    assert 200 < spread.max() < 290
    # Two lobes, one larger: along z there is a waist between them.
    assert (
        large.masses[large.centres[:, 0] < 60].sum() / large.masses[large.centres[:, 0] > 60].sum()
        > 1.4
    )
    barrel = proteasome()
    assert 2000 < barrel.masses.sum() < 2600
    assert 300 < np.ptp(barrel.centres[:, 0]) < 480
    assert 900 < tric().masses.sum() < 1050
    assert 150 < 2 * tric().radius < 220
    assert [round(lump.masses.sum()) for lump in crowd()][::11] == [30, 500]
    for beads in (large, barrel, tric()):
        # The origin lies in the shape, and the balls hold all of it.
        assert (np.linalg.norm(beads.centres, axis=1) <= beads.reaches).any()
        centres, radii = beads.balls()
        away = np.linalg.norm(beads.centres[:, None] - centres, axis=-1) + beads.reaches[:, None]
        assert (away <= radii + 1e-9).any(axis=1).all()
