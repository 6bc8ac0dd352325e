"""The general model in the docks: nothing is trained, and the map is there."""

from __future__ import annotations

from .conftest import need_gui

need_gui()

from qtpy.QtCore import Qt  # noqa: E402

from napari_hypseg.model import GENERAL, load_model  # noqa: E402
from napari_hypseg.samples import make_toy  # noqa: E402
from napari_hypseg.volumes import write_image  # noqa: E402


def test_mapping_takes_the_general_model_where_there_is_none(
    make_napari_viewer_proxy, qtbot, tmp_path
):
    whole = make_toy("irregular", seed=3).volume.crop((slice(8, 36),) * 3)
    path = tmp_path / "cell.mrc"
    write_image(path, whole.read(), whole)
    viewer = make_napari_viewer_proxy()
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    desk = dock.desk
    viewer.open(str(path), plugin="napari-hypseg")
    qtbot.waitUntil(lambda: dock.model.is_ready and not desk.runner.title)
    assert dock.model.form["steps"].value == 0
    qtbot.waitUntil(lambda: desk.session is not None)
    assert "general model is used" in dock.model.status.text()
    qtbot.mouseClick(dock.map.all, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: desk.session.proposals is not None, timeout=60_000)
    general = load_model(GENERAL).fingerprint()
    assert desk.session.model.model.fingerprint() == general
    assert desk.session.proposals.latents.dim == 16
    # The disk shows 16 dimensions by their two main ones.
    qtbot.waitUntil(lambda: disk.scene is not None and disk.cloud is not None)
    assert disk.cloud.places.shape[1] == 2
