"""The export menu of the dock, used on a session that is there."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from qtpy.QtGui import QImage  # noqa: E402
from qtpy.QtWidgets import QApplication, QFileDialog  # noqa: E402

from napari_hypseg.jobs import finish  # noqa: E402
from napari_hypseg.samples import make_toy  # noqa: E402
from napari_hypseg.session import Session  # noqa: E402
from napari_hypseg.volumes import Volume, read_volume  # noqa: E402


@pytest.fixture
def dock(make_napari_viewer_proxy, qtbot, tmp_path):
    voxels = make_toy("regular").volume.read()[10:30, 10:34, 12:34]
    session = Session(Volume(voxels, (10.0,) * 3, name="toy"), tmp_path / "out")
    finish(session.train_job(steps=2, device="cpu"))
    finish(session.map_job(stride=2, device="cpu"))
    finish(session.cluster_job(tree="disk"))
    viewer = make_napari_viewer_proxy()
    viewer.open(str(tmp_path / "out"), plugin="napari-hypseg")
    name = "Hyperbolic segmentation (Hyperbolic segmentation)"
    qtbot.waitUntil(lambda: name in viewer.window.dock_widgets)
    dock = viewer.window.dock_widgets[name]
    qtbot.waitUntil(lambda: dock.state.result is not None and not dock.runner.title)
    yield dock
    from superqt.utils import WorkerBase

    WorkerBase.await_workers(10_000)


def choose(dock, text):
    (action,) = (a for a in dock.exports.menu.actions() if a.text() == text)
    assert action.toolTip() != text
    action.trigger()


def test_everything_can_be_taken_elsewhere(dock, qtbot, tmp_path, monkeypatch):
    assert dock.exports.export.isEnabled()
    asked = []

    def answer(_parent, title, place, kinds):
        asked.append(kinds)
        return str(tmp_path / names[len(asked) - 1]), kinds

    names = ["a.tif", "b.zarr", "c.csv", "d.png", "d.svg"]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    for text in ("Save labels…", "Save labels at every granularity…", "Save table…",
                 "Save disk…", "Save disk…"):  # fmt: skip
        choose(dock, text)
        qtbot.waitUntil(lambda: not dock.runner.title)
        assert "wrote" in dock.progress.text.text()
    partition = dock.state.partition
    np.testing.assert_array_equal(read_volume(tmp_path / "a.tif").read(), partition.labels())
    for k in (2, 30):
        np.testing.assert_array_equal(
            read_volume(tmp_path / f"toy_labels_k{k:02d}.zarr").read(), partition.at(k).labels()
        )
    assert (tmp_path / "c.csv").read_text().count("\n") == 1 + partition.k
    assert (tmp_path / "d.svg").read_text().startswith("<svg xmlns=")
    image = QImage(str(tmp_path / "d.png"))
    assert image.width() == image.height() > 1000
    colours = {
        image.pixelColor(x, y).name()
        for x in range(0, image.width(), 8)
        for y in range(0, image.height(), 8)
    }
    # Classes' colours on white paper: neither blank nor black.
    assert "#ffffff" in colours
    assert len(colours) > 20


def test_the_run_can_be_copied(dock):
    choose(dock, "Copy as command")
    assert QApplication.clipboard().text().startswith("hypseg run ")
    choose(dock, "Copy as Python")
    assert f"labels = clusters.labels({dock.state.k})" in QApplication.clipboard().text()
    assert "copied" in dock.progress.text.text()


def test_a_place_that_can_not_be_written_is_told(dock, tmp_path):
    dock.exports.save_table(tmp_path / "nowhere" / "a.csv")
    assert "can't be written" in dock.progress.text.text()
