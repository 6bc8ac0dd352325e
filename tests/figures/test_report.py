"""The page: whole, by itself, with the right numbers, and never broken by a name."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from napari_hypseg.clustering import TreeClustering
from napari_hypseg.figures import class_table, label_colours, write_report
from napari_hypseg.figures.curves import draw_curve
from napari_hypseg.volumes import Volume

from .conftest import make_latents, make_model, tree_clustering

VOID = {"meta", "input", "br", "link", "img"}


class Page(HTMLParser):
    """Checks the nesting of elements; keeps ids, references, text and the rows of tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href", "data", "action", "srcset"):
                self.references.append(value)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open:
            self.rows[-1][-1] += data


RUN = {
    "command": "hypseg run 'a & b.mrc' --out result",
    "versions": {"torch": "2.9"},
    "seconds": {"training": 12.34},
    "peak_memory_gb": 1.5,
    "mapping": {"box": None, "stride": 1, "deep": {"inside": [1, 2]}},
    "ks": [2],
}


def written(tmp_path, **change):
    path = tmp_path / "report.html"
    write_report(path, **change)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def html(clustering, lump, model, latents, tmp_path_factory):
    return written(
        tmp_path_factory.mktemp("page"),
        volume=lump, clustering=clustering, model=model, ks=range(2, 13), run=RUN, latents=latents,
    )  # fmt: skip


def test_the_page_stands_by_itself(html):
    page = Page(html)
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    assert not re.search(r"https?://|url\(|@import", html)
    for reference in page.references:
        if reference.startswith("#"):
            assert reference[1:] in page.ids
        else:
            assert reference.startswith("data:image/png;base64,")
    assert len(set(page.ids)) == len(page.ids)


def test_the_page_holds_the_numbers_of_the_classes(html, clustering):
    rows = [[cell.strip() for cell in row] for row in Page(html).rows]
    for k in (2, 3, 4, 6, 8, 12):
        colours = label_colours(clustering, k)
        for entry, colour in zip(class_table(clustering, k, (10, 8, 9)), colours, strict=True):
            start = [str(entry.label), f"{entry.voxels:,}", f"{100 * entry.fraction:.2f}"]
            distance = f"{entry.distance:.3f}"
            assert any(row[:3] == start and row[4] == distance for row in rows if len(row) > 4)
            red, green, blue = (colour * 255).round().astype(int)
            assert f"background:#{red:02x}{green:02x}{blue:02x}" in html
    # Only the granularities that are easily looked through.
    assert 'id="k6"' in html
    assert 'id="k7"' not in html


def test_the_page_says_how_it_was_made(html):
    page = Page(html)
    for words in ("hypseg run 'a & b.mrc' --out result", "2.9", "12.34", "peak memory gb", "1.5",
                  "deep: inside", "1, 2", "labels_k02", "lump", "13 × 11 × 17",
                  "10 × 8 × 9 Å"):  # fmt: skip
        assert words in page.text


def test_each_space_is_called_by_its_name(lump, model, latents, tmp_path):
    ball = written(tmp_path, volume=lump, clustering=tree_clustering("kinds", lump.shape),
                   model=model, ks=[3], run={}, latents=latents)  # fmt: skip
    assert "Poincaré" in ball
    assert "latent dimensions the first two" not in ball

    flat = written(tmp_path, volume=lump, clustering=tree_clustering("kinds", lump.shape),
                   model=make_model(geometry="euclidean", gyroplane=False), ks=[3], run={},
                   latents=make_latents(lump.shape, geometry="euclidean"))  # fmt: skip
    assert "Poincaré" not in flat
    assert "Euclidean" in flat

    deep = written(tmp_path, volume=lump, clustering=tree_clustering("kinds", lump.shape, 3),
                   model=make_model(latent_dim=3), ks=[3], run={},
                   latents=make_latents(lump.shape, dim=3))  # fmt: skip
    assert "Of the 3 latent dimensions the first two are shown" in deep


def test_points_near_the_centre_are_enlarged(lump, model, tmp_path):
    tree = tree_clustering("kinds", lump.shape)
    near = replace(tree.tree, centroids=tree.tree.centroids * 0.1)
    near = TreeClustering("kinds", tree.leaves, near)
    rim = tree.tree.centroids.copy()
    rim[tree.tree.nodes(3)[0]] = [0.9, 0.0]
    far = TreeClustering("kinds", tree.leaves, replace(tree.tree, centroids=rim))
    same = {"volume": lump, "model": model, "ks": [3], "run": {}}
    assert "of the same disk, enlarged" in written(tmp_path, clustering=near, **same)
    assert "enlarged" not in written(tmp_path, clustering=far, **same)


def test_stride_is_told(lump, model, tmp_path):
    coarse = make_latents((7, 6, 9), voxel_size=(20.0, 16.0, 18.0))
    html = written(tmp_path, volume=lump, clustering=tree_clustering("things", coarse.shape),
                   model=model, ks=[2], run={}, latents=coarse)  # fmt: skip
    assert "7 × 6 × 9 points 20 × 16 × 18 Å apart" in Page(html).text
    row = class_table(tree_clustering("things", coarse.shape), 2, coarse.voxel_size)[0]
    assert f"{row.volume_nm3:,.0f}" in Page(html).text


def test_names_and_values_are_escaped(lump, model, tmp_path):
    nasty = "<script>alert('x')</script> & \"more\""
    html = written(
        tmp_path, volume=replace(lump, name=nasty), model=model, ks=[2],
        clustering=tree_clustering("things", lump.shape),
        run={"command": ["hypseg", "run", nasty], nasty: {nasty: nasty}, "list": [{nasty: nasty}],
             "labels": {"files": [nasty]}},
    )  # fmt: skip
    page = Page(html)
    assert "script" not in page.tags
    assert page.text.count("alert") >= 6
    assert nasty in page.text


def test_large_noise_stays_small(model, tmp_path):
    rng = np.random.default_rng(0)
    shape = (70, 640, 640)
    voxels = rng.normal(size=shape).astype(np.float32)
    html = written(tmp_path, volume=Volume(voxels), model=model, ks=[2, 3, 4, 6, 8, 12], run={},
                   clustering=tree_clustering("things", shape))  # fmt: skip
    assert 1e5 < len(html.encode()) < 3e6


def test_a_page_is_replaced_whole_or_not_at_all(lump, model, tmp_path, monkeypatch):
    def broken(*args):
        raise OSError("no space left")

    same = {"volume": lump, "model": model, "run": {}}
    clustering = tree_clustering("things", lump.shape)
    before = written(tmp_path, clustering=clustering, ks=[2], **same)
    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="no space left"):
        write_report(tmp_path / "report.html", clustering=clustering, ks=[3], **same)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before


def test_what_does_not_fit_is_refused_in_a_sentence(lump, model, latents, tmp_path):
    path = tmp_path / "report.html"
    same = {"volume": lump, "model": model, "run": {}}
    fitting, other = (tree_clustering("kinds", s) for s in (lump.shape, (3, 4, 5)))
    with pytest.raises(ValueError, match="at least one number of classes"):
        write_report(path, clustering=fitting, ks=[], **same)
    with pytest.raises(ValueError, match="16 clusters, not 17"):
        write_report(path, clustering=fitting, ks=[17], **same)
    for given, name in ((None, "volume"), (latents, "latents")):
        words = rf"lump: the labels have shape \(3, 4, 5\), the {name} \(13, 11, 17\)"
        with pytest.raises(ValueError, match=words):
            write_report(path, clustering=other, ks=[2], latents=given, **same)
    assert not path.exists()


def test_a_model_without_a_record_of_its_training(lump, model, tmp_path):
    html = written(tmp_path, volume=lump, clustering=tree_clustering("kinds", lump.shape),
                   model=replace(model, training={}), ks=[2], run={})  # fmt: skip
    assert "no record of its training" in Page(html).text


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0, 0.0], [1e-6, 3e-6], [280.0, 225.5], [-2, 9]])
def test_curves_lie_between_their_ticks(values):
    history = [{"step": 20 * i, "kl": v} for i, v in enumerate(values, 1)]
    svg = draw_curve(history, "kl")
    Page(svg)
    points = re.search(r'class="curve" points="([^"]+)"', svg)[1].split()
    heights = [float(point.split(",")[1]) for point in points]
    grid = sorted(float(y) for y in re.findall(r'class="grid"[^>]* y1="([\d.]+)"', svg))
    marks = [float(m) for m in re.findall(r'class="tick row"[^>]*>([^<]+)<', svg)]
    assert 2 <= len(marks) <= 8
    assert grid[0] - 0.1 <= min(heights)
    assert max(heights) <= grid[-1] + 0.1
    # A curve's point is at the height that the marks give its value.
    expected = np.interp(values, marks, sorted(grid, reverse=True))
    assert heights == pytest.approx(expected.tolist(), abs=0.15)
