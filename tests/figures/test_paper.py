"""The disk on paper, read back by other means."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from napari_hypseg.figures import cloud_job, disk_svg, write_disk
from napari_hypseg.jobs import finish

SPACE = {"s": "http://www.w3.org/2000/svg"}


@pytest.fixture(scope="module")
def cloud(latents):
    return finish(cloud_job(latents))


@pytest.mark.parametrize("k", [2, 5])
def test_the_disk_is_drawn_with_its_classes_and_tree(clustering, cloud, k):
    root = ET.fromstring(disk_svg(clustering, k, cloud))
    marks = {mark.text for mark in root.findall(".//s:text[@class='mark']", SPACE)}
    assert marks == {str(label) for label in range(1, k + 1)}
    # k - 1 merges above the classes, each with two branches.
    assert len(root.findall(".//s:polyline", SPACE)) == 2 * (k - 1)
    assert len(root.findall(".//s:image", SPACE)) == 1


def test_the_disk_is_a_picture_too(clustering, cloud, tmp_path):
    for name in ("disk.svg", "disk.png"):
        write_disk(tmp_path / name, clustering, 5, cloud)
    with pytest.raises(ValueError, match=r"disk.jpg: .* \.svg or \.png"):
        write_disk(tmp_path / "disk.jpg", clustering, 5, cloud)
    text = (tmp_path / "disk.svg").read_text()
    with Image.open(tmp_path / "disk.png") as picture:
        pixels = np.asarray(picture).astype(int)
    assert pixels.shape == (1840, 1840, 3)
    # Each class has its dot where the drawing says, in its colour, with a number on it.
    groups = ET.fromstring(text).findall("s:g", SPACE)
    assert len(groups) == 5
    covered = np.zeros(pixels.shape[:2], bool)
    for group in groups[::-1]:
        x, y = map(float, group.get("transform")[len("translate(") : -1].split())
        dot = group.find("s:circle", SPACE)
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
