"""Readers, writers and samples of the plugin, as napari calls them but without napari."""

from __future__ import annotations

import ast
import importlib.util
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from npe2 import read as npe2_read
from npe2 import write as npe2_write

from napari_hypseg.volumes import (
    READABLE_SUFFIXES,
    WRITABLE_SUFFIXES,
    Volume,
    VolumeError,
    read_volume,
    write_image,
    write_labels,
)
from napari_hypseg.widgets.files import get_reader, save_image, save_labels
from napari_hypseg.widgets.layers import layer_of, volume_of

SIZE, ORIGIN = (10.52, 8.0, 9.5), (-30.0, 12.5, 100.0)


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(str(files("napari_hypseg") / "napari.yaml"))


@pytest.fixture
def plugins(manifest, monkeypatch):
    """npe2 with this plugin alone, as napari would have it."""
    manager = PluginManager()
    manager.register(manifest)
    monkeypatch.setattr(PluginManager, "_PluginManager__instance", manager, raising=False)
    monkeypatch.setattr(PluginManager, "instance", lambda: manager)
    return manager


@pytest.fixture
def image() -> Volume:
    voxels = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    return Volume(voxels, SIZE, ORIGIN, "lump")


def test_the_manifest_names_every_ending(manifest):
    (reader,) = manifest.contributions.readers
    assert reader.filename_patterns == [f"*{suffix}" for suffix in READABLE_SUFFIXES]
    for writer in manifest.contributions.writers:
        assert writer.filename_extensions == list(WRITABLE_SUFFIXES)


def test_the_manifest_names_what_is_there(manifest):
    """Without importing: the docks need Qt."""
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())
        assert name in [getattr(node, "name", None) for node in tree.body]


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_an_image_goes_through_a_file_unchanged(plugins, image, tmp_path, suffix):
    path = str(tmp_path / f"lump{suffix}")
    written = npe2_write(path, [layer_of(image)], plugin_name="napari-hypseg")
    assert written == [path]
    ((data, keywords, kind),) = npe2_read([path], stack=False, plugin_name="napari-hypseg")
    assert kind == "image"
    np.testing.assert_array_equal(data, image.data)
    np.testing.assert_allclose(keywords["scale"], SIZE, rtol=1e-6)
    np.testing.assert_allclose(keywords["translate"], ORIGIN, rtol=1e-6)
    assert keywords["units"] == ("angstrom",) * 3
    assert keywords["name"] == "lump"


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_labels_go_through_a_file_unchanged(plugins, image, tmp_path, suffix):
    labels = np.random.default_rng(1).integers(0, 9, image.shape)
    path = str(tmp_path / f"lump_labels{suffix}")
    layer = (labels, layer_of(image)[1], "labels")
    assert npe2_write(path, [layer], plugin_name="napari-hypseg") == [path]
    ((data, keywords, kind),) = npe2_read([path], stack=False, plugin_name="napari-hypseg")
    assert kind == "labels"
    np.testing.assert_array_equal(data, labels)
    assert data.dtype.itemsize == 1
    np.testing.assert_allclose(keywords["translate"], ORIGIN, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "whole", "kind"),
    [
        ("leaves.tif", True, "labels"),
        ("A_Labels.tif", True, "labels"),
        ("tomogram.tif", True, "image"),
        ("labels.tif", False, "image"),
    ],
)
def test_labels_are_known_by_name_and_type(image, tmp_path, name, whole, kind):
    path = tmp_path / name
    if whole:
        write_labels(path, np.ones(image.shape, np.uint8), image)
    else:
        write_image(path, image.data, image)
    ((_, _, found),) = get_reader(str(path))(str(path))
    assert found == kind


def test_other_paths_are_left_to_others(tmp_path):
    (tmp_path / "folder.mrc").mkdir()
    assert get_reader(str(tmp_path)) is None
    assert get_reader(str(tmp_path / "folder.mrc")) is None
    assert get_reader("picture.png") is None
    assert get_reader(["a.mrc", "b.mrc"]) is None


def test_units_become_angstrom(tmp_path):
    data = np.zeros((2, 3, 4), np.float32)
    attributes = {"name": "a", "scale": (1, 2, 3), "translate": (0, 1, 0), "units": ["nm"] * 3}
    path = str(tmp_path / "a.mrc")
    save_image(path, data, attributes)
    back = read_volume(path)
    np.testing.assert_allclose(back.voxel_size, (10, 20, 30))
    np.testing.assert_allclose(back.origin, (0, 10, 0))


def test_pixels_count_as_angstrom():
    volume = volume_of(np.zeros((2, 3, 4)), {"name": "a", "units": ("pixel",) * 3})
    assert volume.voxel_size == (1.0, 1.0, 1.0)


def test_the_finest_level_of_a_multiscale_layer_is_taken():
    levels = [np.zeros((4, 4, 4)), np.zeros((2, 2, 2))]
    assert volume_of(levels, {"name": "a", "multiscale": True}).shape == (4, 4, 4)


def test_a_layer_that_is_no_volume_is_refused(tmp_path):
    flat = {"name": "photo", "scale": (1, 1)}
    with pytest.raises(VolumeError, match="photo: a volume needs 3 axes"):
        save_labels(str(tmp_path / "a.mrc"), np.zeros((3, 4), int), flat)
    with pytest.raises(VolumeError, match="photo: a volume needs 3 axes"):
        volume_of(np.zeros((9, 9, 3)), {"name": "photo", "rgb": True})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["tomogram", "regular", "irregular", "texture"])
def test_samples_bring_their_truth(manifest, key):
    (sample,) = (s for s in manifest.contributions.sample_data if s.key == key)
    command = next(c for c in manifest.contributions.commands if c.id == sample.command)
    module, function = command.python_name.split(":")
    layers = getattr(__import__(module, fromlist=[function]), function)()
    (image, keywords, kind), *truths = layers
    assert kind == "image"
    assert keywords["scale"] == (10.0, 10.0, 10.0)
    assert [t[2] for t in truths] == ["labels"] * 3
    assert all(t[0].shape == image.shape and not t[1]["visible"] for t in truths)
    assert [t[0].max() for t in truths] == sorted(t[0].max() for t in truths)


@pytest.mark.parametrize("name", ["immunolabelled_TS_01", "unlabeled_bin4", "ground_truth_3"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8])
def test_a_tomogram_with_label_in_its_name_is_an_image(tmp_path, name, dtype):
    voxels = np.random.default_rng(0).normal(120, 40, (8, 60, 60)).clip(0, 255).astype(dtype)
    path = str(tmp_path / f"{name}.mrc")
    write_image(path, voxels, Volume(voxels))
    ((_, _, kind),) = get_reader(path)(path)
    assert kind == "image"


def test_many_labels_are_labels(tmp_path):
    """A thousand things with a number each."""
    labels = np.arange(1000).reshape(10, 10, 10).repeat(8, 2).repeat(8, 1).astype(np.uint16)
    path = str(tmp_path / "instance_labels.mrc")
    write_labels(path, labels, Volume(labels))
    ((_, _, kind),) = get_reader(path)(path)
    assert kind == "labels"


def test_nested_labels_are_claimed(image, tmp_path):
    """As the format has them: in the group ``labels`` of an image."""
    store = tmp_path / "image.zarr"
    write_image(store, image.data, image)
    labels = np.random.default_rng(1).integers(0, 4, image.shape).astype(np.uint8)
    (store / "labels").mkdir()
    write_labels(tmp_path / "membrane.zarr", labels, image)
    (tmp_path / "membrane.zarr").rename(store / "labels" / "membrane")
    path = str(store / "labels" / "membrane")
    ((data, keywords, kind),) = get_reader(path)(path)
    assert (keywords["name"], kind) == ("membrane", "labels")
    np.testing.assert_array_equal(data, labels)
    assert get_reader(str(store)) is not None
    assert get_reader(str(store / "labels" / "nothing")) is None
