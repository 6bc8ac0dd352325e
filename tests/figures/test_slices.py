"""Slices lie where the voxels lie, with a stride and with a box."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.figures.slices import planes
from napari_hypseg.volumes import Volume, VolumeError

COLOURS = {2: np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])}


class OnlySlices:
    """Voxels that may be read one slice at a time."""

    def __init__(self, voxels):
        self.voxels, self.shape, self.dtype, self.boxes = voxels, voxels.shape, voxels.dtype, []

    def __getitem__(self, box):
        self.boxes.append(box)
        return self.voxels[box]


def two_classes(leaves):
    tree = MergeTree(
        np.array([[0, 1]]), np.ones(1), np.bincount([0, 0, 0, 1, *[2] * 4])[:3], np.zeros((3, 2))
    )
    return TreeClustering("things", leaves, tree)


def pixels(picture):
    data = picture.url.removeprefix("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def place(picture):
    return picture.x, picture.y, picture.width, picture.height


def test_labels_in_a_box_are_those_of_the_whole(clustering):
    whole = clustering.labels(5)
    for box in ((slice(2, 7), slice(0, 11), slice(5, 9)), (slice(None), 4, slice(None))):
        np.testing.assert_array_equal(clustering.level(5)[box], whole[box])


def test_planes_show_the_slices_that_they_name(clustering, lump):
    colours = {4: np.array([[0.2, 0.4, 0.6], [1, 0, 0], [0, 1, 0], [0, 0, 1]])}
    whole = clustering.labels(4)
    cuts = planes(lump, lump, clustering, colours, chosen=4, side=600)
    for cut, axis in zip(cuts, range(3), strict=True):
        labels = whole.take(cut.index, axis)
        expected = (colours[4] * 255).round().astype(np.uint8)[labels - 1]
        np.testing.assert_array_equal(pixels(cut.labels[4]), expected)
        voxels = lump.data.take(cut.index, axis)
        good = np.isfinite(voxels)
        grey = pixels(cut.image)[..., 0]
        assert np.corrcoef(grey[good], voxels[good])[0, 1] > 0.98
        assert place(cut.image) == pytest.approx((0, 0, cut.width, cut.height))
        assert place(cut.labels[4]) == pytest.approx((0, 0, cut.width, cut.height))
    assert [cut.name for cut in cuts] == ["xy", "xz", "yz"]
    # 17 voxels of 9 angstrom along x, 11 of 8 along y.
    assert (cuts[0].width, cuts[0].height) == pytest.approx((15.3, 8.8))


def test_the_slice_with_the_most_mixed_labels_is_shown():
    leaves = np.zeros((9, 8, 7), np.uint8)
    leaves[6, 2:5, 1:4] = 1
    volume = Volume(np.random.default_rng(0).normal(size=leaves.shape))
    cuts = planes(volume, volume, two_classes(leaves), COLOURS, chosen=2, side=600)
    # Along z there is one slice with both classes; of three equal ones the most central is shown.
    assert [cut.index for cut in cuts] == [6, 3, 3]


def test_only_the_slices_shown_are_read():
    leaves = np.random.default_rng(0).integers(0, 2, (20, 30, 40)).astype(np.uint8)
    data = OnlySlices(np.random.default_rng(1).normal(size=leaves.shape))
    volume = Volume(data)
    planes(volume, volume, two_classes(leaves), COLOURS, chosen=2, side=600)
    assert len(data.boxes) == 3
    for axis, box in enumerate(data.boxes):
        assert box[axis].stop - box[axis].start == 1


def test_stride_and_box_are_placed_in_space():
    """Labels at every third voxel of a part, drawn over that part only."""
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(size=(12, 20, 30)), (10.0, 10.0, 10.0), (100.0, 0.0, -50.0))
    # Voxels 3, 6, 9 along z; 4, 7, ... 16 along y; 6, 9, ... 27 along x.
    lattice = Volume(np.zeros((3, 5, 8), np.uint8), (30.0, 30.0, 30.0), (130.0, 40.0, 10.0))
    leaves = rng.integers(0, 2, lattice.shape).astype(np.uint8)
    cuts = planes(volume, lattice, two_classes(leaves), COLOURS, chosen=2, side=600)
    assert cuts[0].index in (3, 6, 9)
    # Labels fill whole cells of 3 nm; the part of the volume under them is 15 x 24 voxels.
    assert place(cuts[0].labels[2]) == pytest.approx((0, 0, 24, 15))
    assert place(cuts[0].image) == pytest.approx((0, 0, 24, 15))
    assert pixels(cuts[0].image).shape == (15, 24, 3)
    assert pixels(cuts[0].labels[2]).shape == (5, 8, 3)


def test_a_stride_at_the_border_is_cut_there():
    volume = Volume(np.random.default_rng(0).normal(size=(9, 9, 9)), (10.0,) * 3)
    lattice = Volume(np.zeros((3, 3, 3), np.uint8), (40.0,) * 3)
    leaves = np.random.default_rng(0).integers(0, 2, (3, 3, 3)).astype(np.uint8)
    cut = planes(volume, lattice, two_classes(leaves), COLOURS, chosen=2, side=600)[0]
    # The first cell begins 1.5 nm before the volume's face, the last one ends as far behind.
    assert place(cut.labels[2]) == pytest.approx((-1.5, -1.5, 12, 12))
    assert (cut.width, cut.height) == pytest.approx((9, 9))


def test_large_slices_are_reduced():
    leaves = np.random.default_rng(0).integers(0, 2, (2, 300, 500)).astype(np.uint8)
    volume = Volume(np.random.default_rng(1).normal(size=leaves.shape))
    cut = planes(volume, volume, two_classes(leaves), COLOURS, chosen=2, side=120)[0]
    assert pixels(cut.image).shape == pixels(cut.labels[2]).shape == (120, 120, 3)
    assert place(cut.image) == pytest.approx((0, 0, 50, 30))


def test_labels_outside_the_volume():
    volume = Volume(np.zeros((4, 4, 4)), name="here")
    lattice = Volume(np.zeros((4, 4, 4), np.uint8), origin=(0.0, 0.0, 90.0))
    leaves = np.zeros((4, 4, 4), np.uint8)
    with pytest.raises(VolumeError, match="here: the labels lie outside the volume"):
        planes(volume, lattice, two_classes(leaves), COLOURS, chosen=2, side=600)
