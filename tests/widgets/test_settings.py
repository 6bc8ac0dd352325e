"""The plugin's settings in napari's Preferences, its menus and its keys."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import need_gui

need_gui()

from qtpy.QtWidgets import QFileDialog  # noqa: E402

from napari_hypseg.widgets.settings import Settings, read_settings  # noqa: E402

napari_settings = pytest.importorskip("napari.settings")
if not hasattr(napari_settings, "get_plugin_settings"):
    pytest.skip("this napari has no settings of plugins: 0.9 has", allow_module_level=True)


@pytest.fixture
def settings(make_napari_viewer_proxy):
    viewer = make_napari_viewer_proxy()
    found = napari_settings.get_plugin_settings("napari-hypseg")
    yield viewer, found
    found.computing.update({"device": "auto", "threads": 0})
    found.results.update({"folder": ""})


@pytest.fixture
def dock(settings, qtbot):
    viewer, _ = settings
    _, dock = viewer.window.add_plugin_dock_widget("napari-hypseg", "Hyperbolic segmentation")
    qtbot.waitUntil(lambda: dock.model.is_ready)
    return dock


def test_settings_are_used(settings, dock, qtbot, tmp_path):
    viewer, found = settings
    assert read_settings() == Settings()
    found.results.folder = str(tmp_path / "all")
    found.computing.device = "cpu"
    found.computing.threads = 1
    viewer.add_image(np.zeros((9, 9, 9), np.float32), name="a b")
    qtbot.waitUntil(lambda: dock.desk.session is not None)
    assert dock.desk.session.folder == tmp_path / "all" / "a_b_hypseg"

    import torch

    seen = []

    def job():
        from napari_hypseg.jobs import Progress

        yield Progress("counting", 0, 1)
        seen.append(torch.get_num_threads())

    qtbot.waitUntil(lambda: not dock.desk.runner.title)
    dock.desk.start("counting", job(), lambda _: None)
    qtbot.waitUntil(lambda: not dock.desk.runner.title)
    assert seen == [1]
    # Another window begins with the device of the settings.
    from napari_hypseg.widgets.loading import Loader

    loader = Loader()
    loader.begin()
    qtbot.waitUntil(lambda: loader.choices is not None)
    assert loader.choices.device == "cpu"


def test_preferences_show_the_page(settings):
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    dialog = PreferencesDialog()
    names = [dialog._list.item(i).text() for i in range(dialog._list.count())]
    assert "Hyperbolic segmentation" in names
    dialog.close()
    dialog.deleteLater()


def test_menus_hold_our_entries(settings, monkeypatch):
    from napari._app_model import get_app_model

    menus = get_app_model().menus

    def commands(menu):
        return {
            item.command.id for item in menus.get_menu(menu)
            if getattr(item, "command", None) and "hypseg" in item.command.id
        }  # fmt: skip

    assert len(commands("napari/layers/segment")) == 1
    assert len(commands("napari/layers/visualize")) == 1
    assert commands("napari/file/io_utilities") == {
        "napari-hypseg.open_session", "napari-hypseg.export"
    }  # fmt: skip
    asked = []
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: asked.append(1) or "")
    get_app_model().commands.execute_command("napari-hypseg.open_session").result()
    assert asked == [1]


def test_keys_are_there_for_folded_steps_too(dock):
    from qtpy.QtWidgets import QShortcut

    keys = {s.key().toString(): s for s in dock.findChildren(QShortcut)}
    for button, key in (
        (dock.model.train, "Ctrl+Shift+L"), (dock.map.preview, "Ctrl+Shift+V"),
        (dock.map.all, "Ctrl+Shift+M"),
    ):  # fmt: skip
        assert key in button.property("own_tip")
        assert key in keys
