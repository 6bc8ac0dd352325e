"""How long a person waits for the docks: a table and, with a path, JSON.

Run `python -m benchmarks.interface [results.json]`; it needs napari and a display. The voxels are
random, 100 thousand and 65 million of them, in clusters; every row is one function of a `Case`.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_hypseg.clustering import MergeTree, TreeClustering
from napari_hypseg.figures import Lasso, Tally, Translation, cloud_job, node_colours
from napari_hypseg.jobs import finish
from napari_hypseg.latents import Latents, open_latents
from napari_hypseg.widgets.disk import DiskDock
from napari_hypseg.widgets.state import Result

SHAPES = {"100 thousand": (20, 50, 100), "65 million": (250, 512, 512)}
LEAVES = 60
ROUNDS = 9
SIDE = 0.25
OUTLINE = [(-SIDE, -SIDE), (SIDE, -SIDE), (SIDE, SIDE), (-SIDE, SIDE)]


@dataclass(frozen=True)
class Case:
    """A result on show in both docks."""

    viewer: Any
    segmentation: Any
    disk: Any
    result: Result


def draw() -> None:
    """Let everything be drawn that has been asked for."""
    QApplication.processEvents()


def pause(seconds: float) -> None:
    """Let happen what happens after a while."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        draw()
        time.sleep(0.01)


def timed(run: Callable[[int], object], rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each round but the first, until all is drawn."""
    taken = []
    for index in range(rounds + 1):
        draw()
        began = time.perf_counter()
        run(index)
        draw()
        taken.append(1e3 * (time.perf_counter() - began))
    return taken[1:]


# -- rows


def slider_step(case: Case) -> list[float]:
    case.segmentation.state.choose(6)
    return timed(lambda i: case.segmentation.state.choose(7 + i))


def slider_rests(case: Case) -> list[float]:
    return timed(lambda _: case.segmentation.state.settle())


def disk_drag(case: Case) -> list[float]:
    scene, still = case.disk.scene, Translation()
    scene.show_whole()
    return timed(lambda i: scene.translate(still.dragged((0.0, 0.0), (0.05 * i, 0.03 * i))))


def disk_drag_of_dots(case: Case) -> list[float]:
    """Every point drawn by itself, up to 100 thousand."""
    scene = case.disk.scene
    places = case.result.cloud.places[:100_000]
    scene._alone.set_data(places, np.full((len(places), 4), 0.5, np.float32))
    taken = disk_drag(case)
    case.disk._draw_classes()
    return taken


def disk_recolours(case: Case) -> list[float]:
    return timed(lambda _: case.disk._draw_classes())


def click_to_highlight(case: Case) -> list[float]:
    places = case.result.cloud.places
    return timed(lambda i: case.disk._on_picked(tuple(places[i].tolist())))


def nearest_voxels(case: Case) -> list[float]:
    cloud = case.result.cloud
    return timed(lambda i: cloud.nearest(cloud.points[i], 4000))


def lasso_to_voxels(case: Case) -> list[float]:
    cloud = case.result.cloud

    def hold(index: int) -> None:
        lasso = Lasso(OUTLINE, Translation((0.1, 0.02 * index)), cloud.projection)
        assert lasso.voxels(cloud) is not None

    return timed(hold)


def voxels_to_class(case: Case) -> list[float]:
    mask = np.zeros(case.result.latents.shape, bool)
    mask[::2] = True
    return _classes(case, lambda: case.disk.state.add_own(mask))


def lasso_to_class(case: Case) -> list[float]:
    """From the end of the line: on the slice, and in the table with its figures."""
    case.disk.scene.translate(Translation((0.1, 0.1)))
    return _classes(case, lambda: case.disk._on_lasso(OUTLINE))


def _classes(case: Case, add: Callable[[], object]) -> list[float]:
    """Milliseconds until a class of one's own is drawn, again and again after the last is gone."""
    taken, state = [], case.disk.state
    for _ in range(ROUNDS):
        pause(0.5)
        began = time.perf_counter()
        add()
        draw()
        taken.append(1e3 * (time.perf_counter() - began))
        pause(0.5)
        assert len(state.partition.own) == 1
        state.undo()
    return taken[1:]


def _open_disk(case: Case, until: Callable[[Any], object]) -> list[float]:
    """Open the disk a few times; what ``until`` gives of the new dock, or milliseconds."""
    window, taken = case.viewer.window, []
    (disk,) = (d for d in window.dock_widgets.values() if isinstance(d, DiskDock))
    for _ in range(4):
        window.remove_dock_widget(disk)
        # The canvas of the other goes with it.
        pause(0.2)
        began = time.perf_counter()
        _, disk = window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
        found = until(disk)
        taken.append(found if found is not None else 1e3 * (time.perf_counter() - began))
        pause(0.5)
    return taken


def disk_opens(case: Case) -> list[float]:
    """Until the points are drawn."""
    return _open_disk(case, lambda _: draw())


def disk_is_complete(case: Case) -> list[float]:
    """Until numbers and tree are drawn, too."""

    def wait(disk: Any) -> None:
        while not disk.scene.is_complete:
            draw()
        draw()

    return _open_disk(case, wait)


def gap_of_disk(case: Case) -> list[float]:
    """How long the event loop stands still after the points are drawn."""

    def look(disk: Any) -> float:
        draw()
        longest, last = 0.0, time.perf_counter()
        for _ in range(200):
            draw()
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
            time.sleep(0.002)
        assert disk.scene.is_complete
        return 1e3 * longest

    return _open_disk(case, look)


ROWS: dict[str, Callable[[Case], list[float]]] = {
    "slider step": slider_step,
    "slider rests": slider_rests,
    "drag of the disk, a frame": disk_drag,
    "  with 100 thousand dots": disk_drag_of_dots,
    "disk takes new colours": disk_recolours,
    "nearest voxels found": nearest_voxels,
    "click on the disk to highlight": click_to_highlight,
    "lasso to voxels": lasso_to_voxels,
    "voxels to class": voxels_to_class,
    "lasso to class, all in all": lasso_to_class,
    "disk opens: points": disk_opens,
    "  until all of it is drawn": disk_is_complete,
    "  longest gap meanwhile": gap_of_disk,
}


# -- what is measured on


def random_tree(counts: np.ndarray, rng: np.random.Generator) -> MergeTree:
    """A tree of random merges."""
    sizes, places = counts.tolist(), list(rng.normal(size=(len(counts), 2)) * 0.2)
    alive, merges = list(range(len(counts))), []
    while len(alive) > 1:
        a, b = (int(i) for i in rng.choice(alive, 2, replace=False))
        merges.append((a, b))
        alive = [i for i in alive if i not in (a, b)] + [len(sizes)]
        sizes.append(sizes[a] + sizes[b])
        places.append((sizes[a] * places[a] + sizes[b] * places[b]) / sizes[-1])
    return MergeTree(
        np.array(merges), np.arange(len(merges), dtype=float), np.array(sizes), np.array(places)
    )


def random_latents(shape: tuple[int, int, int], rng: np.random.Generator) -> Latents:
    where = {"voxel_size": (10.0,) * 3, "origin": (0.0,) * 3, "name": "random"}
    latents = open_latents(None, (*shape, 2), {**where, "geometry": "hyperbolic", "curvature": 1.0})
    centres = rng.normal(size=(8, 2)) * 0.25
    for box in latents.chunk_boxes():
        size = (*(s.stop - s.start for s in box), 2)
        points = rng.normal(size=size, scale=0.08) + centres[rng.integers(8)]
        latents.array[box] = points.clip(-0.69, 0.69).astype(np.float32)
    return latents


def random_result(shape: tuple[int, int, int]) -> Result:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, LEAVES, [-(-n // 10) for n in shape]).astype(np.uint8)
    leaves = coarse.repeat(10, 0).repeat(10, 1).repeat(10, 2)[tuple(slice(n) for n in shape)].copy()
    tree = random_tree(np.bincount(leaves.ravel(), minlength=LEAVES), rng)
    clustering = TreeClustering("things", leaves, tree)
    latents = random_latents(shape, rng)
    began = time.perf_counter()
    cloud = finish(cloud_job(latents))
    print(f"{leaves.size:,} points gathered in {time.perf_counter() - began:.1f} s")
    tally = Tally(clustering, cloud)
    return Result(latents, clustering, cloud, node_colours(tree), tally, 0.0, 1, 1.0)


def measure(viewer: Any, name: str) -> dict[str, list[float]]:
    """All rows of one case."""
    result = random_result(SHAPES[name])
    _, segmentation = viewer.window.add_plugin_dock_widget(
        "napari-hypseg", "Hyperbolic segmentation"
    )
    while segmentation.runner.title or not segmentation.model.is_ready:
        draw()
    segmentation.state.show(result)
    _, disk = viewer.window.add_plugin_dock_widget("napari-hypseg", "Poincaré disk")
    pause(0.5)
    case = Case(viewer, segmentation, disk, result)
    found = {row: function(case) for row, function in ROWS.items()}
    # The disk was opened anew last: what was measured on is gone.
    segmentation.state.show(None)
    return found


def main() -> None:
    """Measure, print a table, and write what was seen."""
    viewer = napari.Viewer()
    viewer.window._qt_window.setFixedSize(1280, 800)
    found = {name: measure(viewer, name) for name in SHAPES}
    print(f"napari {napari.__version__}, {platform.processor() or platform.machine()}; ms, median")
    print(f"{'':<32}" + "".join(f"{name:>16}" for name in found))
    for row in ROWS:
        medians = (statistics.median(found[name][row]) for name in found)
        print(f"{row:<32}" + "".join(f"{median:>16.0f}" for median in medians))
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(found, indent=1) + "\n")
    viewer.close()


if __name__ == "__main__":
    main()
