"""A script does what clicks do: one discovery by the API, one by the docks, and the same folder."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from .conftest import ball, need_gui

need_gui()

from qtpy.QtCore import Qt  # noqa: E402
from qtpy.QtWidgets import QApplication, QFileDialog, QLineEdit, QPushButton, QSlider  # noqa: E402

from napari_hypseg.model import load_model  # noqa: E402
from napari_hypseg.session import Session  # noqa: E402
from napari_hypseg.volumes import Volume, read_volume, write_image  # noqa: E402

from .test_classes_layer import drag  # noqa: E402

LEFT, CONTROL = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier
STEPS, K, NAME = 3, 5, "membrane"
# What differs from one run to the next, and where the window was.
_PASSING = {"seconds", "peak_memory_gb", "window", "token", "created", "date", "outputs"}


@pytest.fixture
def path(tmp_path):
    write_image(tmp_path / "cell.mrc", ball(), Volume(ball(), (10.0,) * 3))
    return tmp_path / "cell.mrc"


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    return viewer


class Hand:
    """A mouse and a keyboard over the dock."""

    def __init__(self, qtbot, dock):
        self._qtbot, self._dock = qtbot, dock

    def press(self, made):
        """The button of an action."""
        buttons = self._dock.findChildren(QPushButton)
        (button,) = (b for b in buttons if b.text() == made.text() and b.isVisible())
        assert button.isEnabled(), button.toolTip()
        self._qtbot.mouseClick(button, LEFT)

    def click(self, table, *keys):
        """Rows of a table, one and then with Ctrl the others."""
        for at, key in enumerate(keys):
            row = table.item(table.keys.index(key), 1)
            table.scrollToItem(row)
            place = table.visualItemRect(row).center()
            held = CONTROL if at else Qt.KeyboardModifier.NoModifier
            self._qtbot.mouseClick(table.viewport(), LEFT, held, place)

    def write(self, table, text):
        """Over the name that is being edited."""
        (editor,) = table.findChildren(QLineEdit)
        editor.selectAll()
        self._qtbot.keyClicks(editor, text)
        self._qtbot.keyClick(editor, Qt.Key.Key_Return)


def by_docks(viewer, open_dock, press, qtbot, monkeypatch, path, folder):
    """What a person does, and which voxels they paint."""
    viewer.open(str(path), plugin="napari-hypseg")
    dock = open_dock(folder, steps=STEPS)
    hand, session, propose, classes = (
        Hand(qtbot, dock),
        dock.desk.session,
        dock.propose,
        dock.classes,
    )
    press(dock, dock.model.train)
    press(dock, dock.map.all)
    (slider,) = propose.slider.findChildren(QSlider)
    while session.k != K:
        qtbot.keyClick(slider, Qt.Key.Key_Right if session.k < K else Qt.Key.Key_Left)
    dock.volume.open(False)
    nodes = session.proposals.nodes(K)
    for wanted in (nodes[1:2], nodes[2:4], nodes[4:5]):
        hand.click(propose.table, *wanted)
        hand.press(propose.keep)
    first = session.classes.row(1)
    assert first.colour == pytest.approx(session.proposals.colour(nodes[1]))
    layer = dock.desk.classes_layer.layer
    np.testing.assert_allclose(
        layer.get_color(1)[:3], dock.desk.proposals_layer.layer.get_color(2)[:3], atol=1e-6
    )

    hand.click(classes.table, 1)
    hand.press(classes.paint)
    viewer.dims.set_current_step(0, 8)
    layer.brush_size = 6
    before = session.classes.labels.copy()
    drag(viewer, layer, (8, 6, 6), (8, 6, 16), (8, 14, 16))
    painted = np.nonzero(session.classes.labels != before)
    hand.click(classes.table, 1)
    classes.rename.trigger()
    hand.write(classes.table, NAME)
    hand.click(classes.table, 1, 3)
    hand.press(classes.merge)
    propose.keep_all.trigger()
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **_options: (str(folder / "classes.mrc"), "")
    )
    classes.exports.refresh()
    (save,) = (a for a in classes.exports.actions() if a.text() == "Classes…")
    save.trigger()
    dock.idle()
    QApplication.processEvents()
    dock.desk.session.save_view()
    return painted


def by_api(path, folder, painted):
    """The same, in the words of a script."""
    session = Session(read_volume(path), folder)
    session.train(steps=STEPS)
    session.discover()
    session.k = K
    nodes = session.proposals.nodes(K)
    session.keep(nodes[1])
    session.keep(nodes[2:4])
    session.keep(nodes[4])
    before = session.classes.labels[painted].copy()
    session.classes.labels[painted] = 1
    session.classes.painted(painted, before)
    session.classes.rename(1, NAME)
    session.classes.merge([1, 3])
    session.keep_all()
    session.write_classes(folder / "classes.mrc")
    session.save_view()


def lasting(values):
    """What does not pass, of JSON values."""
    if isinstance(values, dict):
        return {name: lasting(v) for name, v in values.items() if name not in _PASSING}
    return list(map(lasting, values)) if isinstance(values, list) else values


def contents(folder: Path):
    """Every file by its path in the folder: its bytes, or the values of a model and of JSON."""
    found = {}
    for each in folder.rglob("*"):
        if not each.is_file() or each.name.startswith("."):
            continue
        value = each.read_bytes()
        if each.suffix == ".hypseg":
            value = load_model(each).fingerprint()
        else:
            with suppress(ValueError):
                value = lasting(json.loads(value))
        found[str(each.relative_to(folder))] = value
    return found


def test_a_script_leaves_the_same_folder(
    viewer, open_dock, press, qtbot, monkeypatch, tmp_path, path
):
    painted = by_docks(viewer, open_dock, press, qtbot, monkeypatch, path, tmp_path / "docks")
    assert len(painted[0]) > 20
    by_api(path, tmp_path / "api", painted)
    docks, script = contents(tmp_path / "docks"), contents(tmp_path / "api")
    assert docks.keys() == script.keys()
    assert [name for name in docks if docks[name] != script[name]] == []
    kept = Session.open(tmp_path / "api").classes
    assert kept.labels.all()
    assert kept.row(1).name == NAME
    assert len(kept.history) == 7
