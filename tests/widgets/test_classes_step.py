"""Step 5 as a person uses it: the table, the buttons, files."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from napari.components import ViewerModel  # noqa: E402
from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtGui import QColor  # noqa: E402
from qtpy.QtWidgets import QColorDialog, QFileDialog, QLineEdit  # noqa: E402

import napari_hypseg.widgets.export as export  # noqa: E402
from napari_hypseg.volumes import Volume, read_volume, write_image, write_labels  # noqa: E402
from napari_hypseg.widgets.classes_step import ClassesStep  # noqa: E402
from napari_hypseg.widgets.desk import Desk  # noqa: E402

from .synthetic import ORIGIN, SHAPE, VOXEL, session_of  # noqa: E402

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def session(tmp_path):
    """With three classes, the first planes of the volume, and the proposals on the rest."""
    session = session_of(tmp_path / "out")
    session.k = 6
    for z in range(3):
        mask = np.zeros(SHAPE, bool)
        mask[z] = True
        session.classes.add(mask, name=f"plane {z}")
    return session


@pytest.fixture
def desk(qapp, session):
    desk = Desk(ViewerModel())
    desk.heard = []
    desk.said.connect(desk.heard.append)
    desk.show(session)
    return desk


@pytest.fixture
def step(desk, qtbot):
    step = ClassesStep(desk)
    qtbot.addWidget(step)
    step.resize(340, 300)
    step.show()
    step.activateWindow()
    return step


def item(step, number, column):
    return step.table.item(step.table.keys.index(number), column)


def click(qtbot, step, number, column=1, modifier=Qt.KeyboardModifier.NoModifier, double=False):
    place = step.table.visualItemRect(item(step, number, column)).center()
    press = qtbot.mouseDClick if double else qtbot.mouseClick
    press(step.table.viewport(), LEFT, modifier, place)


def test_the_table_says_what_there_is(session, step):
    voxels = SHAPE[1] * SHAPE[2]
    volume = round(voxels * np.prod(VOXEL) / 1000)
    for number in (1, 2, 3):
        texts = [item(step, number, column).text() for column in (1, 2, 3)]
        assert texts == [f"plane {number - 1}", f"{voxels:,}", f"{volume:,}"]
        assert item(step, number, 0).checkState() == Qt.CheckState.Checked
        assert item(step, number, 4).checkState() == Qt.CheckState.Unchecked


def test_a_click_chooses_the_class_to_paint(qtbot, desk, session, step):
    click(qtbot, step, 2)
    assert session.classes.chosen == (2,)
    assert desk.classes_layer.layer.selected_label == 2
    click(qtbot, step, 3, modifier=Qt.KeyboardModifier.ControlModifier)
    assert session.classes.chosen == (2, 3)


def test_a_name_is_edited_in_place(qtbot, session, step):
    click(qtbot, step, 2)
    step.rename.trigger()
    (editor,) = step.table.findChildren(QLineEdit)
    editor.setText("membrane")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: session.classes.row(2).name == "membrane")
    session.undo()
    assert item(step, 2, 1).text() == "plane 1"


def test_an_empty_name_is_refused(desk, session, step):
    item(step, 2, 1).setText("  ")
    assert item(step, 2, 1).text() == session.classes.row(2).name == "plane 1"
    assert "needs a name" in desk.heard[-1]


def test_boxes_hide_and_lock(desk, session, step):
    item(step, 1, 0).setCheckState(Qt.CheckState.Unchecked)
    assert session.classes.row(1).hidden
    item(step, 1, 4).setCheckState(Qt.CheckState.Checked)
    assert session.classes.row(1).locked
    session.classes.choose([1])
    step.remove.trigger()
    assert "locked" in desk.heard[-1]
    assert session.classes.row(1).locked
    item(step, 1, 0).setCheckState(Qt.CheckState.Checked)
    assert not session.classes.row(1).hidden


def test_a_double_click_on_the_colour_asks_for_another(qtbot, session, step, monkeypatch):
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor(10, 200, 30))
    click(qtbot, step, 2, column=0)
    click(qtbot, step, 2, column=0, double=True)
    assert session.classes.row(2).colour == pytest.approx((10 / 255, 200 / 255, 30 / 255), abs=0.01)


def test_merge_fill_subtract_clear_remove_and_undo(desk, session, step):
    classes, states = session.classes, []

    def done():
        states.append((classes.table, classes.labels.copy()))

    done()
    classes.choose([1, 3])
    step.merge.trigger()
    assert list(classes.counts) == [1, 2]
    assert (classes.labels[2] == 1).all()
    done()
    node = session.proposals.nodes(6)[0]
    mask, _ = session.proposals.mask([node])
    classes.choose([2])
    session.choose([node])
    step.fill.trigger()
    assert (classes.labels[mask] == 2).all()
    done()
    session.choose([node])
    step.subtract.trigger()
    assert (classes.labels[mask] == 0).all()
    done()
    classes.choose([1])
    count = classes.counts[1]
    step.clear.trigger()
    assert classes.counts[1] == 0
    assert f"{count:,} voxels" in desk.heard[-1]
    done()
    classes.choose([1, 2])
    step.remove.trigger()
    assert not classes.table
    assert not classes.labels.any()
    for table, labels in states[::-1]:
        assert step.undo.toolTip().startswith("Undo: ")
        step.undo.trigger()
        assert classes.table == table
        np.testing.assert_array_equal(classes.labels, labels)
    step.redo.trigger()
    assert list(classes.counts) == [1, 2]


def test_new_begins_a_class_with_the_brush(desk, session, step):
    step.new.trigger()
    layer = desk.classes_layer.layer
    assert desk.viewer.layers.selection.active is layer
    assert (layer.mode, layer.selected_label) == ("paint", 4)
    layer.paint((8, 20, 20), 4)
    assert session.classes.counts[4] > 0
    assert item(step, 4, 2).text() == f"{session.classes.counts[4]:,}"


def test_a_grey_button_says_why(desk, session, step):
    session.classes.choose([])
    for each in (step.merge, step.fill, step.clear, step.remove, step.paint):
        assert not each.isEnabled()
        assert each.toolTip().startswith("Choose ")
    assert not step.redo.isEnabled()
    desk.show(None)
    assert "step 1" in step.new.toolTip()
    assert "step 1" in step.status.text()


def test_classes_from_a_layer_and_a_file(desk, session, step, tmp_path):
    labels = np.zeros(SHAPE, np.int32)
    labels[1:5, :4], labels[5] = 7, 9
    layer = desk.viewer.add_labels(labels, name="from elsewhere")
    layer.features = {"index": [7, 9], "class": ["vesicle", "actin"]}
    step._list_sources()
    offered = {each.text(): each for each in step.sources.actions()}
    assert set(offered) == {"Layer from elsewhere", "", "File…"}
    before = session.classes.labels.copy()
    offered["Layer from elsewhere"].trigger()
    classes = session.classes
    assert [row.name for row in classes.table[3:]] == ["vesicle", "actin"]
    np.testing.assert_array_equal(classes.labels == 4, (labels == 7) & (before == 0))
    assert (classes.labels[before > 0] == before[before > 0]).all()
    session.undo()
    write_labels(tmp_path / "l.mrc", labels, session.volume)
    step.take_file(tmp_path / "l.mrc")
    assert list(classes.counts)[3:] == [4, 5]
    assert classes.row(5).source.detail == "l.mrc"
    write_labels(tmp_path / "small.mrc", labels[:4], Volume(labels[:4]))
    step.take_file(tmp_path / "small.mrc")
    assert desk.heard[-1].startswith("✗")


def save(step, monkeypatch, text, path):
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    step.exports.refresh()
    (found,) = (each for each in step.exports.actions() if each.text() == text)
    assert found.isEnabled(), found.toolTip()
    found.trigger()


def test_classes_are_saved_with_the_place_of_the_volume(desk, session, step, tmp_path, monkeypatch):
    save(step, monkeypatch, "Classes…", tmp_path / "all")
    found = read_volume(tmp_path / "all.mrc")
    np.testing.assert_array_equal(found.read(), session.classes.labels)
    assert found.voxel_size == pytest.approx(VOXEL)
    assert found.origin == pytest.approx(ORIGIN)
    with (tmp_path / "all.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["plane 0", "plane 1", "plane 2"]
    session.classes.choose([2, 3])
    save(step, monkeypatch, "Chosen classes alone…", tmp_path / "some.tif")
    kept = session.classes.labels * (session.classes.labels > 1)
    np.testing.assert_array_equal(read_volume(tmp_path / "some.tif").read(), kept)
    save(step, monkeypatch, "Mask of the chosen classes…", tmp_path / "mask.zarr")
    np.testing.assert_array_equal(read_volume(tmp_path / "mask.zarr").read(), kept > 0)


def test_proposals_table_and_disk_are_saved(desk, session, step, tmp_path, monkeypatch):
    save(step, monkeypatch, "Proposals…", tmp_path / "p.mrc")
    found = read_volume(tmp_path / "p.mrc").read()
    np.testing.assert_array_equal(found, session.proposals.labels(6))
    save(step, monkeypatch, "Table of classes…", tmp_path / "t")
    assert (tmp_path / "t.csv").exists()
    save(step, monkeypatch, "Disk…", tmp_path / "d.svg")
    assert (tmp_path / "d.svg").read_text().startswith("<svg")
    assert desk.heard[-1] == f"wrote {tmp_path / 'd.svg'}"


def test_no_ending_is_taken_for_another(desk, session, step, tmp_path, monkeypatch):
    save(step, monkeypatch, "Table of classes…", tmp_path / "t.xlsx")
    assert desk.heard[-1].startswith("✗")
    save(step, monkeypatch, "Classes…", tmp_path / "t.png")
    assert desk.heard[-1].startswith("✗")
    assert not list(tmp_path.glob("t.*"))


@pytest.mark.parametrize("agreed", [False, True])
def test_files_that_are_there_are_asked_for(
    desk, session, step, tmp_path, monkeypatch, agreed
):  # fmt: skip
    asked = []
    monkeypatch.setattr(export, "ask", lambda *words: asked.append(words) or agreed)
    (tmp_path / "a.csv").write_text("mine")
    save(step, monkeypatch, "Classes…", tmp_path / "a.mrc")
    assert len(asked) == 1
    assert (tmp_path / "a.mrc").exists() == agreed
    assert ((tmp_path / "a.csv").read_text() == "mine") == (not agreed)


def test_the_volume_itself_is_never_overwritten(desk, session, step, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ask", lambda *_: pytest.fail("nothing to ask"))
    path = tmp_path / "input.mrc"
    write_image(path, session.volume.read(), session.volume)
    session.use_volume(read_volume(path))
    before = path.read_bytes()
    save(step, monkeypatch, "Classes…", path)
    assert path.read_bytes() == before
    assert "volume itself" in desk.heard[-1]
