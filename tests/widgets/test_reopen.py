"""A session's folder opened in napari: everything is as it was left."""

from __future__ import annotations

import json

import numpy as np
import pytest

from .conftest import ball, need_gui

need_gui()

from napari.layers import Image  # noqa: E402

from napari_hypseg.classes import Source  # noqa: E402
from napari_hypseg.session import SESSION_FILE, Session, read_record  # noqa: E402
from napari_hypseg.volumes import Volume, VolumeError, read_volume, write_image  # noqa: E402
from napari_hypseg.widgets.desk import desk_of  # noqa: E402
from napari_hypseg.widgets.files import get_reader  # noqa: E402
from napari_hypseg.widgets.looks import camera_of, look_of, show_look  # noqa: E402

SIZE, ORIGIN = (10.0, 8.0, 9.0), (50.0, -40.0, 30.0)
DOCK = "Hyperbolic segmentation (Hyperbolic segmentation)"


@pytest.fixture
def folder(tmp_path):
    """What a run leaves behind."""
    write_image(tmp_path / "toy.mrc", ball(), Volume(ball(), SIZE, ORIGIN))
    session = Session(read_volume(tmp_path / "toy.mrc"), tmp_path / "out")
    session.train(steps=2, device="cpu", seed=3)
    session.map(device="cpu")
    session.propose(tree="kinds", smoothing=0.5)
    session.classes.add(ball() > 1, name="mine", source=Source("brush"))
    return tmp_path / "out"


@pytest.fixture
def drop(make_napari_viewer_proxy, qtbot):
    """A function that drops a folder onto a new napari and gives viewer and dock."""

    def open_folder(folder, viewer=None):
        viewer = viewer or make_napari_viewer_proxy()
        viewer.open(str(folder), plugin="napari-hypseg")
        qtbot.waitUntil(lambda: DOCK in viewer.window.dock_widgets)
        dock = viewer.window.dock_widgets[DOCK]
        desk = dock.desk

        def is_open():
            here = desk.session is not None and desk.session.folder == folder
            return dock.model.is_ready and here and not desk.runner.title

        qtbot.waitUntil(is_open)
        return viewer, dock

    return open_folder


def edit(folder, change):
    path = folder / SESSION_FILE
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_a_folder_opens_as_it_was_left(qtbot, drop, folder):
    viewer, dock = drop(folder)
    session = dock.desk.session
    (image,) = (layer for layer in viewer.layers if isinstance(layer, Image))
    assert image.name == "toy"
    assert session.proposals.kind == "kinds"
    assert session.proposals.smoothing == 0.5
    assert dock.model.form["seed"].value == 3
    assert dock.model.form["steps"].value == 2
    assert "cihs" in dock.model.form["preset"].choices
    assert "All voxels of the volume are mapped" in dock.map.status.text()
    assert [row.name for row in session.classes.table] == ["mine"]

    # Where one looks is kept, without anything else being done.
    session.k = 7
    viewer.dims.set_point(range(3), (ORIGIN[0] + 5 * SIZE[0], 0, 60))
    viewer.dims.ndisplay = 3
    camera = camera_of(viewer)
    camera.zoom, camera.center, camera.angles = 3.5, (10, 20, 30), (10, 20, 30)
    dock.desk.keep_look("disk", {"half_width": 2.0})
    before = look_of(viewer)
    qtbot.waitUntil(lambda: read_record(folder).view.window.get("zoom") == 3.5)
    viewer.close()

    viewer, dock = drop(folder)
    assert dock.desk.session.k == 7
    after = look_of(viewer)
    for name in before:
        assert after[name] == pytest.approx(before[name]), name
    assert dock.desk.look("disk") == {"half_width": 2.0}


def test_closing_at_once_keeps_where_one_looked(qtbot, drop, folder):
    viewer, dock = drop(folder)
    desk = dock.desk
    camera_of(viewer).zoom = 2.25
    # What the end of the window calls.
    desk.end()
    assert read_record(folder).view.window["zoom"] == 2.25


def test_the_viewer_coming_to_rest_is_no_look(qtbot, drop, folder):
    """Layers that come and go move the viewer; no person has looked anywhere."""
    edit(folder, lambda values: values["view"].update(window={"zoom": 1.75}))
    viewer, _ = drop(folder)
    extra = viewer.add_labels(np.zeros((90, 5, 5), np.uint8))
    viewer.layers.remove(extra)
    qtbot.wait(1500)
    assert read_record(folder).view.window["zoom"] == 1.75


@pytest.mark.parametrize(
    "junk", [None, [], {}, "x", -1, 1e300, 10**400, float("nan"), True, ["a", "b", "c"], [1], [[1]]]
)
def test_hostile_looks_are_passed_over_field_by_field(viewer, junk):
    viewer.add_image(ball(), name="a")
    before = look_of(viewer)
    show_look(viewer, dict.fromkeys(before, junk))
    assert look_of(viewer) == before
    for name in before:
        if name != "zoom":
            show_look(viewer, {name: junk, "zoom": 2.5})
            assert look_of(viewer) == before | {"zoom": 2.5}


def test_a_hostile_look_opens(drop, folder):
    junk = {"point": [1e999], "order": [0, 0, 7], "displayed": 99, "center": {}, "zoom": "big",
            "angles": None, "disk": [[]]}  # fmt: skip
    edit(folder, lambda values: values["view"].update(window=json.loads(json.dumps(junk).replace(
        "Infinity", "1e400"))))  # fmt: skip
    _, dock = drop(folder)
    assert dock.desk.session.proposals is not None


def test_a_damaged_folder_is_told(qtbot, make_napari_viewer_proxy, folder):
    edit(folder, lambda values: values["volume"].update(shape=[0, 1, 2]))
    viewer = make_napari_viewer_proxy()
    with pytest.raises(ValueError, match="damaged"):
        viewer.open(str(folder), plugin="napari-hypseg")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_model_is_no_model(drop, folder):
    (folder / "models/0001.hypseg").write_bytes(b"cut")
    _, dock = drop(folder)
    assert dock.desk.session.model is None
    assert dock.model.train.isEnabled()
    assert [row.name for row in dock.desk.session.classes.table] == ["mine"]


def test_no_url_of_a_stranger_is_contacted_unasked(folder, viewer, asked, monkeypatch):
    from napari_hypseg.session import places

    url = "https://example.org/secret.mrc"
    edit(folder, lambda values: values["volume"]["place"].update(path=url))
    opened = []
    monkeypatch.setattr(places, "_read", lambda source, _: opened.append(source.path))
    asked.answer = False
    with pytest.raises(VolumeError, match="nothing has contacted yet"):
        get_reader(str(folder))(str(folder))
    assert len(asked) == 1
    assert url in asked[0]
    assert opened == []


def test_only_folders_of_ours_are_claimed(folder, tmp_path):
    assert get_reader(str(folder)) is not None
    (tmp_path / "other").mkdir()
    assert get_reader(str(tmp_path / "other")) is None
    assert get_reader([str(folder), str(folder)]) is None


def test_the_desk_is_one(viewer):
    assert desk_of(viewer) is desk_of(viewer.__wrapped__)


def test_a_folder_beside_other_work(viewer, open_dock, qtbot, drop, folder, tmp_path):
    """What was on show before, painted over and kept, is there again when it is chosen."""
    other = viewer.add_image(ball(seed=5), name="other")
    mine = viewer.add_labels(np.ones((16, 24, 24), np.uint8), name="by hand")
    dock = open_dock(tmp_path / "elsewhere")
    first = dock.desk.session
    first.classes.add(ball(seed=5) > 1, name="kept")
    before = first.classes.labels.copy()
    viewer.open(str(folder), plugin="napari-hypseg")
    qtbot.waitUntil(lambda: dock.desk.session is not None and dock.desk.session.folder == folder)
    dock.idle()
    assert [row.name for row in dock.desk.session.classes.table] == ["mine"]
    assert {"other", "by hand", "toy"} <= {layer.name for layer in viewer.layers}
    assert mine.data.all()
    again = Session.open(tmp_path / "elsewhere", first.volume)
    np.testing.assert_array_equal(again.classes.labels, before)
    dock.volume.layer.setCurrentIndex(dock.volume.layer.findText("other"))
    dock.volume.layer.activated.emit(dock.volume.layer.currentIndex())
    dock.idle()
    assert dock.desk.layer == other
    assert [row.name for row in dock.desk.session.classes.table] == ["kept"]
