"""Step 4 as a person uses it: slider, tree, table, keys; and what it keeps."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.components import ViewerModel  # noqa: E402
from qtpy.QtCore import QPoint, Qt  # noqa: E402

from napari_hypseg.widgets.desk import Desk  # noqa: E402
from napari_hypseg.widgets.propose_step import ProposeStep  # noqa: E402
from napari_hypseg.widgets.tree_view import branches  # noqa: E402

from .synthetic import proposals_of, session_of  # noqa: E402

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def session(tmp_path):
    return session_of(tmp_path / "out")


@pytest.fixture
def desk(qapp, session):
    desk = Desk(ViewerModel())
    desk.heard = []
    desk.said.connect(desk.heard.append)
    desk.show(session)
    return desk


@pytest.fixture
def step(desk, qtbot):
    step = ProposeStep(desk)
    qtbot.addWidget(step)
    step.resize(340, 560)
    step.show()
    step.activateWindow()
    return step


def place_in(tree, node):
    place = QPoint(*(round(v) for v in tree.place_of(node)))
    assert tree.node_at(place.x(), place.y()) == node
    return place


def cell(table, node, column=1):
    return table.visualItemRect(table.item(table.keys.index(node), column)).center()


def shown(desk):
    """What each voxel of the map looks like."""
    layer = desk.proposals_layer.layer
    table = np.stack([layer.colormap.map(np.uint8(v)) for v in range(256)])
    return table[layer.data]


def expected(session, k):
    proposals = session.proposals
    colours = np.array([proposals.colour(node) for node in proposals.nodes(k)])
    return colours[proposals.labels(k) - 1]


def test_every_place_of_the_drawing_is_one_branch(session):
    proposals = session.proposals
    drawn = branches(proposals)
    covered = np.zeros((proposals.most, proposals.most), int)
    for branch in drawn.values():
        covered[branch.top : branch.bottom, branch.first - 1 : branch.last] += 1
    assert (covered == 1).all()
    for k in range(1, proposals.most + 1):
        at = {b.node for b in drawn.values() if b.first <= k <= b.last}
        assert at == set(proposals.nodes(k))


def test_the_slider_recolours_and_rests(qtbot, desk, session, step):
    for k in (9, 3, 14):
        step.slider.setValue(k)
        assert session.k == k == len(step.table.keys)
        np.testing.assert_allclose(shown(desk)[..., :3], expected(session, k), atol=0.01)
    qtbot.waitUntil(lambda: np.array_equal(
        desk.proposals_layer.layer.data, session.proposals.labels(14)))  # fmt: skip
    np.testing.assert_allclose(shown(desk)[..., :3], expected(session, 14), atol=0.01)


def test_the_session_moves_the_slider(desk, session, step):
    session.k = 11
    assert step.slider.value() == 11
    assert step.table.rowCount() == 11


@pytest.mark.parametrize("k", [2, 12])
def test_any_branch_stands_out_and_can_be_kept(qtbot, desk, session, step, k):
    session.k = 6
    proposals = session.proposals
    node = proposals.nodes(k)[1]
    qtbot.mouseClick(step.tree, LEFT, pos=place_in(step.tree, node))
    assert session.chosen == (node,)
    mask, _ = proposals.mask([node])
    opacity = shown(desk)[..., 3]
    assert (opacity[mask] == 1).all()
    assert (opacity[~mask] < 0.5).all()
    step.only.trigger()
    assert (shown(desk)[..., 3][~mask] == 0).all()
    step.keep.trigger()
    np.testing.assert_array_equal(session.classes.labels, mask)
    assert session.chosen == ()
    assert session.classes.chosen == (1,)
    assert (shown(desk)[..., 3] == 1).all()
    assert desk.heard[-1] == f"kept class 1, {mask.sum():,} voxels"


def test_clicks_with_control_add_and_take_away(qtbot, session, step):
    session.k = 6
    first, second = session.proposals.nodes(6)[:2]
    qtbot.mouseClick(step.tree, LEFT, pos=place_in(step.tree, first))
    qtbot.mouseClick(step.tree, LEFT, CONTROL, place_in(step.tree, second))
    assert session.chosen == tuple(sorted((first, second)))
    assert {step.table.keys[i.row()] for i in step.table.selectionModel().selectedRows()} == {
        first, second
    }  # fmt: skip
    qtbot.mouseClick(step.tree, LEFT, CONTROL, place_in(step.tree, first))
    assert session.chosen == (second,)


def test_a_double_click_keeps(qtbot, session, step):
    session.k = 6
    first, second = session.proposals.nodes(6)[:2]
    qtbot.mouseDClick(step.tree, LEFT, pos=place_in(step.tree, first))
    assert session.classes.counts == {1: int(session.proposals.mask([first])[0].sum())}
    viewport = step.table.viewport()
    qtbot.mouseClick(viewport, LEFT, pos=cell(step.table, second))
    assert session.chosen == (second,)
    qtbot.mouseDClick(viewport, LEFT, pos=cell(step.table, second))
    assert session.classes.counts[2] == session.proposals.mask([second])[0].sum()


def test_keep_all_leaves_what_is_there(session, step):
    session.k = 6
    before = session.keep(session.proposals.nodes(6)[4], name="mine")
    mine = session.classes.labels == before
    step.keep_all.trigger()
    assert len(session.classes.table) == 6
    assert (session.classes.labels[mine] == before).all()
    assert (session.classes.labels > 0).all()
    session.undo()
    assert session.classes.counts == {before: mine.sum()}


def test_a_grey_button_says_why(desk, session, step):
    assert not step.keep.isEnabled()
    assert "Choose a proposal first" in step.keep.toolTip()
    desk.show(None)
    for each in (step.keep, step.keep_all, step.slider, step.kind, step.cluster):
        assert not each.isEnabled()
        assert "step 3" in each.toolTip()
    assert "step 3" in step.status.text()
    assert step.table.rowCount() == 0


def test_points_are_gathered_in_the_background(qtbot, desk, session, step):
    other = proposals_of(session.volume, seed=3)
    del other.__dict__["cloud"]
    session.take(other)
    assert not other.is_gathered
    qtbot.waitUntil(lambda: step.table.rowCount() == session.k)
    assert other.is_gathered


def test_other_proposals_change_no_class(desk, session, step):
    session.keep(session.proposals.nodes(4)[0])
    kept = session.classes.labels.copy()
    session.take(proposals_of(session.volume, tree="things", seed=5, stride=2))
    assert step.kind.currentData() == "things"
    assert "One voxel in 2 along" in step.status.text()
    step.slider.setValue(3)
    np.testing.assert_array_equal(session.classes.labels, kept)
