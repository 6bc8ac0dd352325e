"""Labels, tables and drawings for other programs, read back by other means."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import zarr
from PIL import Image

from napari_hypseg.clustering import cluster
from napari_hypseg.figures import (
    Partition,
    Tally,
    cloud_job,
    disk_svg,
    write_disk,
    write_levels_job,
    write_partition,
    write_table,
)
from napari_hypseg.jobs import finish
from napari_hypseg.latents import open_latents
from napari_hypseg.volumes import WRITABLE_SUFFIXES, read_volume

SIZE, ORIGIN = (10.0, 8.0, 9.0), (50.0, -40.0, 30.0)


@pytest.fixture(scope="module")
def latents():
    attributes = {
        "voxel_size": SIZE, "origin": ORIGIN, "name": "lump",
        "geometry": "hyperbolic", "curvature": 1.0,
    }  # fmt: skip
    latents = open_latents(None, (6, 7, 8, 2), attributes)
    points = np.random.default_rng(0).normal(size=(6, 7, 8, 2)) * 0.1
    points[:, :, 4:] += 0.4
    latents.array[:] = points.astype(np.float32)
    return latents


@pytest.fixture(scope="module")
def partition(latents):
    """Five classes, one of them named and one hidden, and an own one."""
    found = Partition.of(cluster(latents, tree="kinds", smoothing=0.0), 5)
    found = found.rename(found.nodes[1], "ER, rough").hide(found.nodes[2])
    mask = np.zeros(latents.shape, bool)
    mask[:2, :3, :2] = True
    return found.add_own(mask, "spike")


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_labels_go_out_with_their_names(latents, partition, tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_partition(path, partition, latents.as_volume())
    back = read_volume(path)
    np.testing.assert_array_equal(back.read(), partition.labels())
    np.testing.assert_allclose(back.voxel_size, SIZE, rtol=1e-6)
    np.testing.assert_allclose(back.origin, ORIGIN, rtol=1e-6)
    if suffix == ".zarr":
        label = zarr.open_group(path, mode="r").attrs["ome"]["image-label"]
        classes = label["properties"]
        assert [c["label-value"] for c in label["colors"]] == [1, 2, 3, 4, 5, 6]
        assert label["colors"][0]["rgba"] == [
            *(round(255 * v) for v in partition.classes[0].colour), 255
        ]  # fmt: skip
    else:
        classes = json.loads((tmp_path / "out.json").read_text())["classes"]
        assert [c["label"] for c in classes] == [1, 2, 3, 4, 5, 6]
    names = [c["name"] for c in classes]
    assert names == ["class 1", "ER, rough", "class 3", "class 4", "class 5", "spike"]
    assert [c["hidden"] for c in classes] == [False, False, True, False, False, False]


def test_every_granularity_in_a_file_of_its_own(latents, partition, tmp_path):
    job = write_levels_job(tmp_path, partition, latents.as_volume(), range(2, 400), ".tif")
    paths = finish(job)
    most = partition.tree.n_leaves
    assert [p.name for p in paths] == [f"lump_labels_k{k:02d}.tif" for k in range(2, most + 1)]
    for k in (2, 7):
        np.testing.assert_array_equal(
            read_volume(tmp_path / f"lump_labels_k{k:02d}.tif").read(), partition.at(k).labels()
        )


def test_the_table_can_be_read_by_others(latents, partition, tmp_path):
    cloud = finish(cloud_job(latents))
    figures = Tally(partition.clustering, cloud).figures(partition, SIZE)
    write_table(tmp_path / "a.csv", partition, figures)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = partition.labels()
    assert [int(r["voxels"]) for r in rows] == np.bincount(labels.ravel())[1:].tolist()
    assert rows[1]["name"] == "ER, rough"
    assert rows[2]["hidden"] == "yes"
    assert float(rows[0]["volume_nm3"]) == pytest.approx(int(rows[0]["voxels"]) * 0.72, rel=1e-5)
    norms = np.linalg.norm(latents.read()[labels == 6], axis=-1)
    assert float(rows[5]["distance_to_centre"]) == pytest.approx(
        2 * np.arctanh(norms).mean(), rel=1e-4
    )


def test_the_disk_is_drawn_with_the_classes_that_are_shown(latents, partition):
    cloud = finish(cloud_job(latents))
    figures = Tally(partition.clustering, cloud).figures(partition, SIZE)
    root = ET.fromstring(disk_svg(partition, cloud, figures))
    space = {"s": "http://www.w3.org/2000/svg"}
    marks = {mark.text for mark in root.findall(".//s:text[@class='mark']", space)}
    assert marks == {"1", "2", "4", "5", "6"}
    # Four merges above five classes, each with two branches.
    assert len(root.findall(".//s:polyline", space)) == 8
    assert len(root.findall(".//s:image", space)) == 1
    finer = partition.split(next(n for n in partition.nodes if partition.can_split(n)))
    again = ET.fromstring(
        disk_svg(finer, cloud, Tally(finer.clustering, cloud).figures(finer, SIZE))
    )
    assert len(again.findall(".//s:polyline", space)) == 10
    nothing = partition.hide(*partition.keys)
    assert "mark" not in disk_svg(nothing, cloud, figures).split("</style>")[1]


def test_the_disk_is_a_picture_too(latents, partition, tmp_path):
    cloud = finish(cloud_job(latents))
    figures = Tally(partition.clustering, cloud).figures(partition, SIZE)
    for name in ("disk.svg", "disk.png"):
        write_disk(tmp_path / name, partition, cloud, figures)
    with pytest.raises(ValueError, match=r"disk.jpg: .* \.svg or \.png"):
        write_disk(tmp_path / "disk.jpg", partition, cloud, figures)
    text = (tmp_path / "disk.svg").read_text()
    assert text == disk_svg(partition, cloud, figures)
    with Image.open(tmp_path / "disk.png") as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (1840, 1840, 3)
    # Each class has its dot where the drawing says, in its colour, with a number on it.
    space = {"s": "http://www.w3.org/2000/svg"}
    groups = ET.fromstring(text).findall("s:g", space)
    assert len(groups) == 5
    covered = np.zeros(pixels.shape[:2], bool)
    for group in groups[::-1]:
        x, y = map(float, group.get("transform")[len("translate(") : -1].split())
        dot = group.find("s:circle", space)
        colour = np.array([int(dot.get("fill")[i : i + 2], 16) for i in (1, 3, 5)])
        row, column = np.mgrid[:1840, :1840] / 4 - 230
        inside = np.hypot(column - x, row - y) < float(dot.get("r")) - 1
        seen, is_whole = pixels[inside & ~covered], not (inside & covered).any()
        covered |= np.hypot(column - x, row - y) < float(dot.get("r")) + 1
        same = (abs(seen - colour).max(-1) < 3).mean()
        # Of a dot below another its number may be covered.
        assert 0.4 < same < (0.99 if is_whole else 1.01)
    # The rim, and white beyond it.
    assert (pixels[920, 920 + 4 * 212 - 1] < 80).all()
    assert (pixels[:20] == 255).all()
