"""Proposals: figures, branches and voxels, counted again by other means."""

from __future__ import annotations

import numpy as np
import pytest

from napari_hypseg.jobs import finish
from napari_hypseg.session import Session
from napari_hypseg.volumes import Volume


@pytest.fixture(scope="module")
def session(voxels, tmp_path_factory):
    session = Session(Volume(voxels, (10.0, 8.0, 9.0)), tmp_path_factory.mktemp("proposals"))
    session.train(steps=2, device="cpu")
    session.discover(device="cpu")
    return session


@pytest.mark.parametrize("k", [1, 2, 7])
def test_rows_are_those_of_the_labels(session, k):
    proposals = session.proposals
    labels, points = proposals.labels(k), session.latents.read().astype(float)
    # Distance to the centre of the ball of curvature -1.
    radii = 2 * np.arctanh(np.linalg.norm(points, axis=-1))
    for row in proposals.rows(k):
        here = labels == row.label
        assert row.voxels == here.sum()
        assert row.volume_nm3 == pytest.approx(here.sum() * 0.72)
        assert row.distance == pytest.approx(radii[here].mean(), rel=1e-4)
    assert len(proposals.rows(k)) == labels.max() == k


def test_a_branch_is_all_its_proposals_together(session):
    proposals = session.proposals
    coarse, fine = proposals.nodes(2), proposals.labels(9)
    lookup = {row.node: row.label for row in proposals.rows(9)}
    mask, box = proposals.mask([coarse[1]])
    parts = {proposals.node_at(leaf, 9) for leaf in proposals.leaves_below(coarse[1])}
    assert box == tuple(slice(0, n) for n in mask.shape)
    np.testing.assert_array_equal(mask, np.isin(fine, [lookup[node] for node in parts]))
    both, _ = proposals.mask(coarse)
    assert both.all()


@pytest.mark.parametrize("nodes", [[], [-1], [10**6]])
def test_no_such_branch_is_told(session, nodes):
    with pytest.raises(ValueError, match="choose one or more proposals first"):
        session.proposals.mask(nodes)


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_voxels_take_the_label_of_the_nearest_point(voxels, tmp_path, stride):
    session = Session(Volume(voxels), tmp_path)
    session.train(steps=1, device="cpu")
    box = (slice(3, 17), slice(2, 24), slice(0, 22))
    proposals = finish(session.glance_job(box)) if stride == 1 else None
    if stride > 1:
        session.map(stride=stride, box=box, device="cpu")
        proposals = session.propose()
    labels = proposals.labels(6)
    whole = proposals.on_volume(labels)
    assert whole.shape == (14, 22, 22)
    for index in np.random.default_rng(0).integers(0, whole.shape, (200, 3)):
        # Ties lie between two points: either will do.
        near = [
            {i for i in (int(v // stride), int(v // stride) + 1)
             if i < n and abs(i * stride - v) == min(abs(j * stride - v) for j in range(n))}
            for v, n in zip(index, labels.shape, strict=True)
        ]  # fmt: skip
        allowed = {int(labels[z, y, x]) for z in near[0] for y in near[1] for x in near[2]}
        assert int(whole[tuple(index)]) in allowed
    assert proposals.box == box


def test_a_granularity_beyond_what_there_is_is_clipped(session):
    session.k = 10**6
    assert session.k == session.proposals.most <= 30
    session.k = 0
    assert session.k == 1
