"""What lies outside is not clustered and has label 0, in both trees."""

from __future__ import annotations

import numpy as np
import pytest

import napari_hypseg as hs
from napari_hypseg.volumes import Volume

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*taken as padding:UserWarning", "ignore:.*not finite:UserWarning"
)


def half_bright(frame, value=0):
    """A volume of two halves in noise, with a frame of one value; what lies inside is told."""
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=(22, 30, 30)).astype(np.float32) + 10
    voxels[..., 15:] += 4
    inside = np.ones(voxels.shape, bool)
    if frame:
        inside[:] = False
        inside[:, frame:-frame, frame:-frame] = True
    return Volume(np.where(inside, voxels, np.float32(value))), inside


@pytest.mark.parametrize("tree", ["things", "kinds"])
@pytest.mark.parametrize(("stride", "value"), [(1, 0), (2, 0), (2, np.nan)])
def test_a_frame_gets_label_0(tree, stride, value):
    volume, inside = half_bright(4, value)
    latents = hs.embed(hs.train(volume, steps=3), volume, stride=stride)
    clusters = hs.cluster(latents, volume, tree=tree)
    inside = inside[::stride, ::stride, ::stride]
    truth = np.broadcast_to(1 + (np.arange(30) >= 15), volume.shape)[::stride, ::stride, ::stride]
    for k in (1, 2, 5):
        labels = clusters.labels(k)
        np.testing.assert_array_equal(labels == 0, ~inside)
        assert set(np.unique(labels[inside])) == set(range(1, k + 1))
    labels = clusters.labels(2)[inside]
    same = (labels == truth[inside]).mean()
    assert max(same, 1 - same) > 0.9
    # Nothing outside is counted.
    assert clusters.tree.counts[-1] == inside.sum()


@pytest.mark.parametrize("tree", ["things", "kinds"])
def test_without_padding_every_voxel_has_a_label(tree):
    volume, _ = half_bright(0)
    clusters = hs.cluster(hs.embed(hs.train(volume, steps=3), volume), volume, tree=tree)
    assert clusters.labels(4).min() == 1
    assert clusters.tree.counts[-1] == volume.data.size
