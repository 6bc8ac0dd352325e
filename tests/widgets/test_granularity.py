"""Step 4 as a person uses it: clicks on the tree, the table, keys, undo; and no feedback loops."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.layers import Labels  # noqa: E402
from qtpy.QtCore import QPoint, Qt  # noqa: E402
from qtpy.QtGui import QHelpEvent  # noqa: E402
from qtpy.QtWidgets import QApplication, QInputDialog, QLineEdit, QToolTip  # noqa: E402

from napari_hypseg.clustering import cluster  # noqa: E402
from napari_hypseg.figures import (  # noqa: E402
    Figures,
    Partition,
    Tally,
    cloud_job,
    node_colours,
)
from napari_hypseg.jobs import finish  # noqa: E402
from napari_hypseg.latents import open_latents  # noqa: E402
from napari_hypseg.widgets.state import Result  # noqa: E402
from napari_hypseg.widgets.tree_view import branches  # noqa: E402

SHAPE = (6, 7, 8)
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture(scope="module")
def latents():
    attributes = {
        "voxel_size": (10.0, 8.0, 9.0), "origin": (5.0, 0.0, 1.0), "name": "lump",
        "geometry": "hyperbolic", "curvature": 1.0,
    }  # fmt: skip
    latents = open_latents(None, (*SHAPE, 2), attributes)
    points = np.random.default_rng(0).normal(size=(*SHAPE, 2)) * 0.1
    points[:, :, 4:] += 0.4
    latents.array[:] = points.astype(np.float32)
    return latents


def result_of(latents, tree):
    clustering = cluster(latents, tree=tree, smoothing=0.0)
    cloud, colours = finish(cloud_job(latents)), node_colours(clustering.tree)
    return Result(latents, clustering, cloud, colours, Tally(clustering, cloud), 0.0, 1, 1.0)


@pytest.fixture
def dock(make_napari_viewer_proxy, qtbot):
    viewer = make_napari_viewer_proxy(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    qtbot.waitUntil(lambda: dock.model.is_ready)
    yield dock
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)


@pytest.fixture
def step(dock, latents):
    dock.state.show(result_of(latents, "disk"))
    # Keys count only in the active window, and nobody manages windows here.
    dock.activateWindow()
    return dock.granularity


@pytest.fixture
def state(dock, step):
    return dock.state


@pytest.fixture
def layer(dock, step):
    (layer,) = (layer for layer in dock.viewer.layers if isinstance(layer, Labels))
    return layer


def click(qtbot, tree, node, button=LEFT, modifier=Qt.KeyboardModifier.NoModifier):
    place = QPoint(*(round(v) for v in tree.place_of(node)))
    assert tree.node_at(place.x(), place.y()) == node
    qtbot.mouseClick(tree, button, modifier, place)


def chosen_rows(table):
    return sorted(index.row() for index in table.selectionModel().selectedRows())


def editor_of(step):
    (editor,) = step.table.findChildren(QLineEdit)
    return editor


def settle(qtbot, step):
    with qtbot.waitSignal(step.rest.timeout):
        pass


# -- the drawing


@pytest.mark.parametrize("k", [1, 2, 6, 30, 45])
def test_every_place_of_the_drawing_is_one_branch(latents, k):
    partition = Partition.of(cluster(latents, tree="disk", smoothing=0.0), k)
    drawn = branches(partition)
    assert set(partition.nodes) | set(partition.wholes) <= set(drawn)
    columns = max(b.last for b in drawn.values())
    rows = max(b.bottom for b in drawn.values())
    assert rows == columns == max(k, 30)
    covered = np.zeros((rows, columns), int)
    for branch in drawn.values():
        covered[branch.top : branch.bottom, branch.first - 1 : branch.last] += 1
        if branch.parts:
            first, second = (drawn[part] for part in branch.parts)
            assert (first.top, first.bottom, second.bottom) == (
                branch.top, second.top, branch.bottom
            )  # fmt: skip
            assert first.first == second.first == branch.last + 1
            counts = partition.tree.counts
            assert counts[first.node] >= counts[second.node]
    assert (covered == 1).all()
    if k <= 30:
        # A granularity of the slider is a column of the drawing.
        at = {b.node for b in drawn.values() if b.first <= k <= b.last}
        assert at == set(partition.nodes)


def test_the_tree_has_the_colours_of_the_layer(qtbot, step, state, layer):
    tree = step.tree
    image = tree.grab().toImage()
    for shown in state.partition.classes:
        x, y = tree._room(state.partition, shown.key).left(), tree.place_of(shown.key)[1]
        pixel = image.pixelColor(round(x), round(y))
        expected = [round(255 * v) for v in layer.get_color(shown.label)[:3]]
        assert np.abs(np.array(pixel.getRgb()[:3]) - expected).max() < 25


# -- choosing


def test_a_click_on_a_branch_chooses_it_everywhere(qtbot, step, state, layer):
    changes = []
    state.chosen_changed.connect(lambda: changes.append(state.chosen))
    node = state.partition.nodes[3]
    click(qtbot, step.tree, node)
    assert state.chosen == (node,)
    assert chosen_rows(step.table) == [3]
    assert layer.selected_label == 4
    # The others are dimmed for a moment.
    assert layer.get_color(1)[3] < 0.5 < layer.get_color(4)[3]
    qtbot.waitUntil(lambda: layer.get_color(1)[3] == 1)
    assert changes == [(node,)]
    other = state.partition.nodes[1]
    click(qtbot, step.tree, other, modifier=CONTROL)
    assert set(state.chosen) == {node, other}
    assert chosen_rows(step.table) == [1, 3]
    assert len(changes) == 2


def test_a_click_above_the_cut_chooses_all_below(qtbot, step, state):
    whole = state.partition.wholes[0]
    click(qtbot, step.tree, whole)
    assert set(state.chosen) == set(state.partition.classes_in(whole))
    assert len(state.chosen) == 2
    click(qtbot, step.tree, state.partition.wholes[-1])
    assert chosen_rows(step.table) == list(range(6))


def test_a_click_below_the_cut_chooses_the_class(qtbot, step, state):
    part = step.tree._branches[state.partition.nodes[0]].parts[1]
    click(qtbot, step.tree, part)
    assert state.chosen == (state.partition.nodes[0],)


def click_head(qtbot, table, column):
    head = table.horizontalHeader()
    x = head.sectionViewportPosition(column) + head.sectionSize(column) // 2
    qtbot.mouseClick(head.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(x, head.height() // 2))


def test_a_click_on_the_head_of_a_column_sorts(qtbot, step, state):
    table, nodes = step.table, state.partition.nodes
    state.change(state.partition.rename(nodes[3], "Class 10").rename(nodes[0], "a wall"))
    state.highlight([nodes[3]])

    def column(index):
        return [table.item(row, index).text() for row in range(table.rowCount())]

    click_head(qtbot, table, 2)
    sizes = [int(text.replace(",", "")) for text in column(2)]
    assert sizes == sorted(sizes)
    assert state.chosen == (nodes[3],)
    assert [column(1)[row] for row in chosen_rows(table)] == ["Class 10"]
    click_head(qtbot, table, 2)
    assert [int(text.replace(",", "")) for text in column(2)] == sizes[::-1]
    click_head(qtbot, table, 1)
    assert column(1) == ["a wall", "class 2", "class 3", "class 5", "class 6", "Class 10"]
    # A row is still its class: to choose, to name, to hide; and it moves with its name.
    table.selectRow(1)
    assert state.chosen == (nodes[1],)
    table.item(1, 1).setText("zinc")
    assert state.partition.name(nodes[1]) == "zinc"
    assert column(1)[-1] == "zinc"
    table.item(5, 0).setCheckState(Qt.CheckState.Unchecked)
    assert state.partition.is_hidden(nodes[1])
    step.class_actions.name.trigger()
    editor_of(step).setText("iron")
    qtbot.keyClick(editor_of(step), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: state.partition.name(nodes[1]) == "iron")
    click_head(qtbot, table, 0)
    assert column(1)[:2] == ["a wall", "iron"]


def test_large_sizes_are_short_and_leave_names_room(qtbot, step, state, monkeypatch):
    sizes = [447_309, 99_999, 65_536_000, 100_000, 447_310, 7]
    figures = [Figures(size, 512.0 * size, 1.25) for size in sizes]
    monkeypatch.setattr(state.result.tally, "figures", lambda _partition, _size: figures)
    table = step.table
    table.refresh()

    def column(index):
        return [table.item(row, index) for row in range(table.rowCount())]

    shown = ["447 k", "99,999", "65.5 M", "100 k", "447 k", "7"]
    assert [item.text() for item in column(2)] == shown
    assert [item.toolTip() for item in column(2)] == [f"{size:,}" for size in sizes]
    assert [item.text() for item in column(3)][2:] == ["33.6 G", "51.2 M", "229 M", "3,584"]
    assert column(3)[2].toolTip() == "33,554,432,000"
    for item in column(1):
        wanted = table.fontMetrics().horizontalAdvance("own class 10")
        assert table.visualItemRect(item).width() > wanted
    # Where two look alike their numbers count.
    click_head(qtbot, table, 2)
    assert [item.text() for item in column(1)] == [f"class {i}" for i in (6, 2, 4, 1, 5, 3)]


def test_rows_chosen_in_the_table_are_chosen_everywhere(qtbot, step, state):
    changes = []
    state.chosen_changed.connect(lambda: changes.append(state.chosen))
    step.table.selectRow(2)
    assert state.chosen == (state.partition.nodes[2],)
    assert changes == [state.chosen]
    # What is chosen stays so while the granularity changes, as long as it is a class.
    step.slider.setValue(7)
    if state.chosen:
        assert chosen_rows(step.table) == [state.partition.nodes.index(state.chosen[0])]


def test_keys_walk_the_tree(qtbot, step, state):
    step.tree.setFocus()
    order = sorted(state.partition.nodes, key=lambda n: step.tree._branches[n].top)
    for expected in order[:3]:
        qtbot.keyClick(step.tree, Qt.Key.Key_Down)
        assert state.chosen == (expected,)
    qtbot.keyClick(step.tree, Qt.Key.Key_Up)
    assert state.chosen == (order[1],)
    qtbot.keyClick(step.tree, Qt.Key.Key_Left)
    assert set(state.chosen) == set(state.partition.classes_in(state.partition.whole([order[1]])))
    qtbot.keyClick(step.tree, Qt.Key.Key_Right)
    assert len(state.chosen) >= 1


def test_the_tip_of_a_branch(qtbot, step, state):
    node = state.partition.nodes[0]
    x, y = (round(v) for v in step.tree.place_of(node))
    where = QPoint(x, y)
    help_event = QHelpEvent(QHelpEvent.Type.ToolTip, where, step.tree.mapToGlobal(where))
    QApplication.sendEvent(step.tree, help_event)
    assert QToolTip.text().startswith("class 1\n")
    assert f"{state.partition.tree.counts[node]:,} voxels" in QToolTip.text()
    assert "of 6 classes" in step.tree.tip(state.partition.wholes[-1])


# -- what is done with classes


def button_of(step, action):
    from qtpy.QtWidgets import QPushButton

    (found,) = (b for b in step.findChildren(QPushButton) if b.text() == action.text())
    return found


def test_split_and_merge(qtbot, step, state, layer):
    actions, before = step.class_actions, state.partition
    node = before.nodes[1]
    assert not actions.split.isEnabled()
    assert "Choose a class first" in actions.split.toolTip()
    click(qtbot, step.tree, node)
    qtbot.mouseClick(button_of(step, actions.split), LEFT)
    assert state.k == 7
    assert set(state.chosen) == set(state.partition.classes_in(node))
    assert step.table.rowCount() == 7
    assert step.slider.value() == 7
    settle(qtbot, step)
    np.testing.assert_array_equal(layer.data, state.partition.labels())
    assert layer.data.max() == 7
    qtbot.mouseClick(button_of(step, actions.merge), LEFT)
    assert state.partition.nodes == before.nodes
    assert state.chosen == (node,)


def test_hide_only_and_all(qtbot, step, state, layer):
    actions, nodes = step.class_actions, state.partition.nodes
    click(qtbot, step.tree, nodes[2])
    step.tree.setFocus()
    qtbot.keyClick(step.tree, Qt.Key.Key_H)
    assert layer.get_color(3)[3] == 0
    assert [c.hidden for c in state.partition.classes] == [False, False, True] + 3 * [False]
    assert step.table.item(2, 0).checkState() == Qt.CheckState.Unchecked
    assert actions.hide.text() == "Show"
    # Hidden branches stay hidden, and exact labels stay as they are.
    settle(qtbot, step)
    np.testing.assert_array_equal(layer.data, state.partition.labels())
    qtbot.keyClick(step.tree, Qt.Key.Key_O)
    assert [c.hidden for c in state.partition.classes] == [True, True, False] + 3 * [True]
    qtbot.keyClick(step.tree, Qt.Key.Key_A)
    assert not any(c.hidden for c in state.partition.classes)
    step.table.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    assert state.partition.is_hidden(nodes[0])
    assert layer.get_color(1)[3] == 0


def test_names(qtbot, step, state, layer, monkeypatch):
    node = state.partition.nodes[4]
    click(qtbot, step.tree, node)
    step.class_actions.name.trigger()
    editor = editor_of(step)
    qtbot.keyClicks(editor, "spike")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: state.partition.name(node) == "spike")
    assert step.table.item(4, 1).text() == "spike"
    settle(qtbot, step)
    assert layer.features.set_index("index")["class"][5] == "spike"
    # A branch above the cut is named in a small window.
    whole = state.partition.wholes[0]
    click(qtbot, step.tree, whole)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("membranes", True))
    step.class_actions.name.trigger()
    step.class_actions.merge.trigger()
    assert [c.name for c in state.partition.classes].count("membranes") == 1


def test_letters_typed_into_a_name_are_no_shortcuts(qtbot, step, state):
    node = state.partition.nodes[0]
    click(qtbot, step.tree, node)
    step.class_actions.name.trigger()
    editor = editor_of(step)
    for key in (Qt.Key.Key_H, Qt.Key.Key_S, Qt.Key.Key_M, Qt.Key.Key_O, Qt.Key.Key_A):
        qtbot.keyClick(editor, key)
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: state.partition.name(node) == "hsmoa")
    assert state.k == 6
    assert not state.partition.hidden


def test_undo_and_redo(qtbot, dock, step, state, layer):
    first = state.partition
    assert not step.class_actions.undo.isEnabled()
    for k in (7, 8, 9):
        step.slider.setValue(k)
    settle(qtbot, step)
    step.slider.setValue(12)
    settle(qtbot, step)
    click(qtbot, step.tree, state.partition.nodes[0])
    step.class_actions.hide.trigger()
    # From anywhere in the window.
    dock.volume.setFocus()
    alt = Qt.KeyboardModifier.AltModifier
    for k in (12, 9, 6):
        qtbot.keyClick(dock, Qt.Key.Key_Z, alt)
        assert state.k == k
        assert step.slider.value() == k
    assert state.partition is first
    assert not step.class_actions.undo.isEnabled()
    settle(qtbot, step)
    np.testing.assert_array_equal(layer.data, first.labels())
    for _ in range(3):
        qtbot.keyClick(dock, Qt.Key.Key_Z, alt | Qt.KeyboardModifier.ShiftModifier)
    assert state.k == 12
    assert state.partition.hidden
    assert not step.class_actions.redo.isEnabled()


def test_classes_of_a_persons_own(qtbot, step, state, layer):
    mask = np.zeros(SHAPE, bool)
    mask[2:4, 1:3] = True
    before = [step.table.item(row, 2).text() for row in range(6)]
    key = state.add_own(mask, "drawn")
    assert state.chosen == (key,)
    assert chosen_rows(step.table) == [6]
    assert step.table.item(6, 1).text() == "drawn"
    # All voxels are counted once it rests: until then the others have the figures of before.
    counts = np.bincount(layer.data.ravel())[1:]
    assert [step.table.item(row, 2).text() for row in range(7)] == [*before, "…"]
    assert before != [str(n) for n in counts[:6]]
    settle(qtbot, step)
    assert [step.table.item(row, 2).text() for row in range(7)] == [str(n) for n in counts]
    assert counts[6] == mask.sum()
    # While the slider moves, own classes are values of their own.
    step.slider.setValue(9)
    value = np.unique(layer.data[mask])
    assert value.tolist() == [state.partition.tree.n_leaves + 1]
    np.testing.assert_allclose(
        layer.get_color(value[0])[:3], state.partition.own[0].colour, atol=0.01
    )
    settle(qtbot, step)
    np.testing.assert_array_equal(layer.data == 10, mask)
    assert step.table.item(9, 1).text() == "drawn"
    state.highlight([key])
    step.class_actions.remove.trigger()
    assert step.table.rowCount() == 9
    settle(qtbot, step)
    np.testing.assert_array_equal(layer.data, state.partition.labels())
    assert layer.data.max() == 9


@pytest.mark.parametrize("moving", [False, True])
def test_own_classes_one_over_the_other(qtbot, step, state, layer, moving):
    """Each is drawn once, at once, whether the layer holds labels or values."""
    masks = np.zeros((2, *SHAPE), bool)
    masks[0, 2:4], masks[1, 3:5] = True, True
    if moving:
        step.slider.setValue(9)
    for mask in masks:
        drawn = []
        layer.events.colormap.connect(drawn.append)
        state.add_own(mask)
        layer.events.colormap.disconnect(drawn.append)
        assert len(drawn) == 1
        partition = state.partition
        expected = partition.values() if moving else partition.labels()
        np.testing.assert_array_equal(layer.data, expected)
        value = layer.data[mask][0]
        np.testing.assert_allclose(layer.get_color(value), [*partition.own[-1].colour, 1], 0, 0.01)
    settle(qtbot, step)
    np.testing.assert_array_equal(layer.data, state.partition.labels())
    state.undo()
    settle(qtbot, step)
    np.testing.assert_array_equal(layer.data, state.partition.labels())


def test_splitting_beyond_the_slider(qtbot, step, state):
    step.slider.setValue(30)
    key = next(key for key in state.partition.nodes if state.partition.can_split(key))
    state.change(state.partition.split(key))
    assert step.slider.value() == 31
    assert step.table.rowCount() == 31
    assert max(b.bottom for b in step.tree._branches.values()) == 31
    state.change(state.partition.merge(state.partition.wholes[-1]))
    assert step.slider.value() == 1
    step.slider.setValue(5)
    assert (step.slider.minimum(), step.slider.maximum()) == (2, 30)


def test_the_other_tree_and_back(qtbot, dock, step, state, latents):
    mask = np.ones(SHAPE, bool)
    mask[1:] = False
    disk = state.result
    state.change(state.partition.rename(state.partition.nodes[0], "kind"))
    state.change(state.partition.add_own(mask, "drawn"))
    volume = result_of(latents, "volume")
    state.show(volume)
    assert step.kind.currentData() == "volume"
    assert [c.name for c in state.partition.classes if not c.name.startswith("class")] == ["drawn"]
    state.highlight([-1])
    step.class_actions.remove.trigger()
    state.show(disk)
    assert step.kind.currentData() == "disk"
    names = [c.name for c in state.partition.classes if not c.name.startswith("class")]
    assert names == ["kind"]
    labels = [layer for layer in dock.viewer.layers if isinstance(layer, Labels)]
    assert len(labels) == 1
    state.undo()
    assert "drawn" in [c.name for c in state.partition.classes]


def test_without_a_result_nothing_can_be_done(dock, step, state):
    state.show(None)
    for action in (*step.class_actions.of_classes(), step.class_actions.undo):
        assert not action.isEnabled()
        assert "step 3" in action.toolTip()
    assert step.table.rowCount() == 0
    assert step.tree.node_at(10, 10) is None
    step.tree.grab()
    with pytest.raises(ValueError, match="map the voxels"):
        state.add_own(np.ones(SHAPE, bool))


def test_removing_the_layer_is_safe(qtbot, dock, step, state, layer):
    dock.viewer.layers.remove(layer)
    step.slider.setValue(8)
    click(qtbot, step.tree, state.partition.nodes[1])
    step.class_actions.hide.trigger()
    settle(qtbot, step)
    assert step.table.rowCount() == 8
