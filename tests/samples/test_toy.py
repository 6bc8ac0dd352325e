"""Toy volumes: frozen by seed, as the papers' text has them, and the cell like a tomogram."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from napari_hypseg.samples import toy as toys
from napari_hypseg.samples.fields import frequencies, pink_noise, smooth_field
from napari_hypseg.samples.toy import PARENTS, Shape, make_toy, toy_seeds
from napari_hypseg.samples.toy_cell import LEVEL_2

SEEDS = range(12)
SMALL = ("regular", "irregular", "texture")
make = cache(make_toy)


def checksum(toy):
    """Hash of the truth and of the voxels in steps of 1/256: blind to a float's last bits."""
    digest = hashlib.sha256()
    for level in toy.levels:
        digest.update(level.tobytes())
    digest.update(np.rint(toy.volume.read() * 256).astype("<i2").tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize(
    ("kind", "seed", "expected"),
    [
        ("regular", 0, "e9d9e1930a4d5038"),
        ("regular", 7, "cbd4323c458629da"),
        ("irregular", 0, "bba3e7c093506d5a"),
        ("texture", 0, "76283410d4ec49d6"),
        ("regular", 119, "de4f1bbd82c8a832"),
        ("irregular", 119, "8bf7026d19fb2b31"),
        ("texture", 119, "be4301fed5d19a20"),
        ("cell", 0, "2a9125e40bf8ebf4"),
    ],
)
def test_frozen_by_seed(kind, seed, expected):
    assert checksum(make(kind, seed=seed)) == expected


@pytest.mark.parametrize("kind", SMALL)
def test_same_seed_same_volume_other_seed_other_volume(kind):
    first, again, other = make_toy(kind, seed=5), make_toy(kind, seed=5), make_toy(kind, seed=6)
    assert first.volume.fingerprint() == again.volume.fingerprint()
    assert first.volume.fingerprint() != other.volume.fingerprint()
    assert not np.array_equal(first.levels[2], other.levels[2])


@pytest.mark.parametrize("kind", SMALL)
def test_shape_type_and_place(kind):
    toy = make(kind, seed=1)
    assert toy.volume.shape == (50, 50, 50)
    assert toy.volume.data.dtype == np.float32
    assert toy.volume.voxel_size == (10, 10, 10)
    assert toy.volume.name == f"toy-{kind}-1"
    for level, classes in zip(toy.levels, (2, 4, 8), strict=True):
        assert level.dtype == np.uint8
        assert level.shape == toy.volume.shape
        assert np.unique(level).tolist() == list(range(classes))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", SMALL)
def test_levels_are_nested(kind, seed):
    coarse, middle, fine = make(kind, seed=seed).levels
    for value in range(8):
        inside = fine == value
        assert np.unique(middle[inside]).tolist() == [min(value, [0, 1, 2, 3, 2, 2, 3, 3][value])]
    assert np.array_equal(coarse, middle > 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_regular_shapes_have_the_sizes_of_the_text(seed):
    fine = make("regular", seed=seed).levels[2]
    middle = make("regular", seed=seed).levels[1]
    centre = 24.5
    # Along the diagonals the volume does not cut the cell off.
    reach = np.linalg.norm(np.argwhere(fine > 0) - centre, axis=1).max()
    assert 23 - 0.5 < reach <= 27

    def ball_radius(mask):
        return (mask.sum() * 3 / 4 / np.pi) ** (1 / 3)

    assert 7 - 0.2 < ball_radius(middle == 2) < 9 + 0.2
    for value in (4, 5):
        assert 1.5 < ball_radius(fine == value) < 2.6
    for level, value, low, high in [(middle, 3, 14, 18), (fine, 6, 5, 7), (fine, 7, 5, 7)]:
        box = ndimage.find_objects(level == value, 1)[0]
        edges = [s.stop - s.start for s in box]
        assert all(low <= edge <= high for edge in edges)
        # Nothing overlaps it and it overlaps nothing: every voxel of its box is its own.
        assert (level[box] == value).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_contents_keep_away_from_the_edge_of_the_cell(seed):
    middle = make("regular", seed=seed).levels[1]
    contents = middle >= 2
    assert not (ndimage.binary_dilation(contents) & (middle == 0)).any()
    vesicle, mitochondrion = ndimage.binary_dilation(middle == 2), middle == 3
    assert not (vesicle & mitochondrion).any()


@pytest.mark.parametrize("kind", SMALL)
def test_each_of_the_three_largest_shapes_is_one_piece(kind):
    for seed in SEEDS:
        middle = make(kind, seed=seed).levels[1]
        for mask in (middle > 0, middle == 2, middle == 3):
            pieces = ndimage.label(mask, np.ones((3, 3, 3)))[0]
            assert np.bincount(pieces[mask]).max() > 0.98 * mask.sum()


def test_irregular_is_the_regular_layout_bent():
    for seed in SEEDS:
        regular, irregular = make("regular", seed=seed), make("irregular", seed=seed)
        for value in (1, 2, 3):
            a, b = regular.levels[1] == value, irregular.levels[1] == value
            overlap = 2 * (a & b).sum() / (a.sum() + b.sum())
            assert 0.35 < overlap < 0.97
        # Far outside both cells only the noise is left, and that is the same.
        far = ~ndimage.binary_dilation((regular.levels[0] | irregular.levels[0]) > 0)
        assert np.array_equal(regular.volume.read()[far], irregular.volume.read()[far])


@pytest.mark.parametrize(
    ("first", "second", "parent", "gap"),
    [
        ((False, 18), (True, 18), (True, 46), 1.0),
        ((False, 17), (True, 18), (True, 46), 1.0),
        ((True, 4.8), (True, 4.8), (True, 14), 0.0),
        ((False, 7), (False, 7), (False, 14), 0.0),
        ((False, 7), (False, 7), (False, 15), 0.0),
    ],
)
def test_the_largest_contents_fit_into_the_smallest_parent(first, second, parent, gap):
    shapes = [Shape(is_ball, np.full(3, float(edge))) for is_ball, edge in (first, second, parent)]
    if not parent[0]:
        shapes[2].centre[:] = 20 + (parent[1] - 1) % 2 / 2
    grid = np.indices((50, 50, 50)).astype(float)
    room = shapes[2].depth(grid) >= 0
    for seed in range(3):
        placed = toys._place(np.random.default_rng(seed), *shapes, gap)
        one, other = (shape.depth(grid) >= 0 for shape in placed)
        assert one.any()
        assert other.any()
        assert not (one & other).any()
        assert (room[one]).all()
        assert (room[other]).all()


def test_every_shape_stands_out_from_its_parent():
    colours = np.array([toys._colours(np.random.default_rng(seed)) for seed in range(2000)])
    around = np.column_stack([np.zeros(2000), colours])[:, np.array(PARENTS) + 1]
    assert np.abs(colours - around).min() >= 0.75
    # Drawn again, not pushed away: what is left is the normal distribution with a gap.
    assert np.mean(np.abs(colours[:, 0]) > 1) == pytest.approx(0.3173 / 0.4533, abs=0.03)


def test_all_means_are_equal_in_texture_only_volumes():
    seen = []
    for seed in range(30):
        toy = make("texture", seed=seed)
        voxels, fine = toy.volume.read().astype(float), toy.levels[2]
        regular = make("regular", seed=seed)
        assert np.array_equal(fine, regular.levels[2])
        background = regular.levels[0] == 0
        assert np.array_equal(voxels[background], regular.volume.read()[background])
        noise = toys.NOISE * pink_noise(_after_layout(seed), (50, 50, 50))
        means = [abs((voxels - noise)[fine == value].mean()) for value in range(8)]
        assert max(means) < 1e-6
        seen.append((voxels - noise)[fine == 1].std())
    assert np.mean(seen) == pytest.approx(0.75 / np.sqrt(2), abs=0.01)


def _after_layout(seed):
    """The generator as it is before the noise is drawn."""
    rng = np.random.Generator(np.random.PCG64(seed))
    shapes = len(toys._layout(rng))
    toys._colours(rng)
    rng.permutation(shapes), rng.permutation(shapes)
    rng.standard_normal((shapes, 3)), rng.random(shapes)
    return rng


def test_splits_are_80_20_20_and_apart():
    splits = [toy_seeds(split) for split in ("train", "validation", "test")]
    assert [len(split) for split in splits] == [80, 20, 20]
    assert sorted(seed for split in splits for seed in split) == list(range(120))


def test_hollow_means_a_lumen_half_way_to_the_cell():
    differences = []
    for seed in range(30):
        toy = make("regular", seed=seed)
        voxels, fine = toy.volume.read(), toy.levels[2]
        whole = toy.levels[1] == 2
        depth = ndimage.distance_transform_edt(whole)
        wall = voxels[(depth <= 1.5) & (fine == 2)].mean()
        lumen = voxels[(depth > 3.5) & (fine == 2)].mean()
        differences.append(lumen - (wall + voxels[fine == 1].mean()) / 2)
    assert np.abs(np.median(differences)) < 0.05
    assert np.std(differences) < 0.1


def test_noise_of_the_background_is_pink_with_the_magnitude_of_the_text():
    deviations = []
    for seed in range(30):
        toy = make("regular", seed=seed)
        deviations.append(toy.volume.read()[toy.levels[0] == 0].std())
    assert np.mean(deviations) == pytest.approx(0.25, abs=0.01)


def test_pink_noise_falls_as_one_over_frequency():
    shape = (64, 64, 64)
    noise = pink_noise(np.random.default_rng(0), shape)
    assert noise.mean() == pytest.approx(0, abs=1e-12)
    assert noise.std() == pytest.approx(1)
    power = np.abs(np.fft.rfftn(noise)) ** 2
    frequency = np.sqrt(sum(axis**2 for axis in frequencies(shape)))
    edges = np.geomspace(0.03, 0.5, 12)
    bins = np.digitize(frequency, edges)
    x, y = zip(
        *[(frequency[bins == i].mean(), power[bins == i].mean()) for i in range(1, 12)],
        strict=True,
    )
    assert np.polyfit(np.log(x), np.log(y), 1)[0] == pytest.approx(-1, abs=0.1)


def test_smooth_field_is_smooth_and_standard():
    field = smooth_field(np.random.default_rng(0), (40, 50, 60), 5.0)
    assert field.std() == pytest.approx(1)
    # A field of kernels of this width has correlation exp(-1 / (4 sigma^2)) = 0.99 a voxel apart.
    assert np.corrcoef(field[1:].ravel(), field[:-1].ravel())[0, 1] == pytest.approx(
        0.99, abs=0.003
    )


@pytest.mark.parametrize("seed", [0, 1])
def test_cell_holds_all_of_its_parts(seed):
    toy = make("cell", seed=seed)
    assert toy.volume.shape == (64, 160, 160)
    assert toy.volume.voxel_size == (10, 10, 10)
    assert all(toy.volume.origin)
    coarse, middle, fine = toy.levels
    assert np.array_equal(coarse, fine > 0)
    assert np.array_equal(middle, LEVEL_2[fine])
    assert (np.bincount(fine.ravel(), minlength=11) > 2000).all()
    assert ndimage.label(middle == 4)[1] == 2
    assert ndimage.label(middle == 3)[1] >= 4
    assert ndimage.label(middle == 6)[1] >= 60
    # Vesicle, mitochondrion, microtubule and ribosome lie in cytoplasm, clear of each other.
    for value in (3, 4, 5, 6):
        around = ndimage.binary_dilation(middle == value) & (middle != value)
        assert np.isin(middle[around], [1, 2]).all()


def test_cell_is_bright_where_protein_is():
    toy = make("cell", seed=0)
    voxels, fine = toy.volume.read(), toy.levels[2]
    mean = [voxels[fine == value].mean() for value in range(11)]
    background, cytoplasm, membrane, vesicle, lumen, double, matrix, crista, tube, bore, dot = mean
    assert background < cytoplasm < membrane < dot
    assert lumen < vesicle
    assert matrix < crista
    assert bore < tube
    assert cytoplasm < double


def test_cell_misses_the_wedge_about_y():
    toy = make("cell", seed=0)
    power = np.abs(np.fft.rfftn(toy.volume.read().astype(float))) ** 2
    kz, ky, kx = frequencies(toy.volume.shape)
    angle = np.degrees(np.arctan2(np.abs(kz), np.abs(kx))) + 0 * ky
    # A plane of samples tilted by t about y holds the frequencies at the angle t to the x axis.
    assert power[angle > 60.5].max() < 1e-6 * power.max()
    assert power[(angle > 55) & (angle < 59.5)].min() > 0
    assert power[angle > 60.5].sum() < 1e-9 * power[angle < 59.5].sum()


def test_unknown_kind_is_refused_in_one_sentence():
    with pytest.raises(
        ValueError, match="no toy volume 'round', only regular, irregular, texture and cell"
    ):
        make_toy("round")
