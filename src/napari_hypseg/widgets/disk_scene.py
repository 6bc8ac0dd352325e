"""The drawing of the Poincaré disk with vispy: points, rings, centroids and the tree."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from vispy.scene import PanZoomCamera, SceneCanvas
from vispy.scene.visuals import Image, Line, Markers, Text
from vispy.visuals.transforms import STTransform

from napari_hypseg.discovery.cloud import Cloud
from napari_hypseg.discovery.disk import nice
from napari_hypseg.discovery.partition import Partition
from napari_hypseg.geometry import geodesic

__all__ = ["DiskScene"]

Colour = tuple[float, ...]

# Points that give the picture its colours; its density comes from all of them.
_MOST = 500_000
# Where the points fill less of the disk than this, it is first shown enlarged.
_SMALL = 0.7
_STEPS = torch.linspace(0, 1, 17, dtype=torch.float64)


class DiskScene:
    """A canvas with the disk on it, in units of the ball's radius.

    The points are one image: its opacity is the density of all voxels' points, its colours are
    the mean colours of a sample's labels. An image of 512 x 512 costs the same for a thousand
    points and for 65 million.

    Attributes
    ----------
    canvas : vispy.scene.SceneCanvas
    most : int
        Points that give the picture its colours at most.
    scale : float
        From latent coordinates to the drawing's.
    """

    most = _MOST

    def __init__(self) -> None:
        self.scale = 1.0
        self._curvature: float | None = 1.0
        self._reach = 1.0
        self._cells = np.zeros(0, np.int64)
        self._opacity = np.zeros((2, 2), np.float32)
        self._text: Colour = (1.0, 1.0, 1.0)
        self.canvas = SceneCanvas(keys=None, size=(300, 300))
        self._view = self.canvas.central_widget.add_view()
        self._view.camera = PanZoomCamera(aspect=1)
        scene = self._view.scene
        nothing = np.zeros((2, 2))
        self._points = Image(np.zeros((2, 2, 4), np.float32), parent=scene)
        self._rings = Line(nothing, connect="segments", parent=scene)
        self._distances = Text(" ", font_size=7, anchor_x="left", parent=scene)
        self._tree = Line(nothing, connect="segments", width=1.5, parent=scene)
        self._centroids = Markers(parent=scene)
        self._pick = Markers(parent=scene)
        drawn = (self._points, self._rings, self._distances, self._tree, self._centroids,
                 self._pick)  # fmt: skip
        for order, visual in enumerate(drawn):
            visual.order = order
            visual.set_gl_state("translucent", depth_test=False)
        self.clear()

    def use_colours(self, text: Colour, paper: Colour) -> None:
        """Draw in the theme's colours, from the next drawing on."""
        self._text = text
        self.canvas.bgcolor = (*paper, 1.0)

    def clear(self) -> None:
        """An empty disk."""
        for visual in (self._points, self._tree, self._centroids, self._pick):
            visual.visible = False
        self._curvature, self.scale, self._reach = 1.0, 1.0, 1.0
        self.show_whole()

    def show_whole(self) -> None:
        """Show all of the disk."""
        self._look(1.0 if self._curvature is not None else self._reach)

    def draw_cloud(self, cloud: Cloud) -> None:
        """Take other points, and look at where they are; `draw_points` draws them."""
        self._curvature = cloud.curvature
        self.scale = 1.0 if cloud.curvature is None else math.sqrt(cloud.curvature)
        side, sample = len(cloud.density), cloud.points[:_MOST, :2]
        column, row = ((sample / cloud.reach + 1) * (side / 2)).astype(np.int64).clip(0, side - 1).T
        self._cells = row * side + column
        most = max(1.0, float(cloud.density.max()))
        self._opacity = np.where(
            cloud.density > 0, 0.3 + 0.7 * np.log1p(cloud.density) / np.log1p(most), 0.0
        ).astype(np.float32)
        reach = cloud.reach * self.scale
        self._points.transform = STTransform((2 * reach / side,) * 2, (-reach, -reach))
        far = float(np.quantile(np.linalg.norm(sample, axis=1), 0.999)) * self.scale * 1.15
        self._reach = max(far, 1e-6)
        whole = cloud.curvature is not None and self._reach > _SMALL
        self._look(1.0 if whole else self._reach)

    def draw_points(self, labels: npt.NDArray[np.uint8], colours: npt.NDArray[np.float64]) -> None:
        """Draw the points in the colours of their labels.

        Parameters
        ----------
        labels : array of uint8, shape (n,)
            Labels from 1 on of the cloud's first `most` points.
        colours : array, shape (k, 3)
            Of the labels.
        """
        size = self._opacity.size
        total = np.bincount(self._cells, minlength=size)
        image = np.empty((size, 4), np.float32)
        image[:, 3] = self._opacity.ravel()
        for channel in range(3):
            weights = colours[labels - 1, channel]
            summed = np.bincount(self._cells, weights, minlength=size)
            image[:, channel] = np.where(
                total > 0, summed / np.maximum(total, 1), self._text[channel]
            )
        self._points.set_data(image.reshape(*self._opacity.shape, 4))
        self._points.visible = True
        self.canvas.update()

    def draw_tree(self, partition: Partition) -> None:
        """Draw the centroids of the classes, and the merges above them as geodesics."""
        tree, nodes = partition.tree, list(partition.nodes)
        ways = []
        for merged in partition.wholes:
            whole = torch.from_numpy(tree.centroids[merged])
            for node in tree.merges[merged - tree.n_leaves].tolist():
                part = torch.from_numpy(tree.centroids[node])
                if self._curvature is None:
                    way = whole + _STEPS[:, None] * (part - whole)
                else:
                    way = geodesic(whole, part, _STEPS, self._curvature)
                ways.append(_segments(way[:, :2].numpy() * self.scale))
        self._tree.visible = bool(ways)
        if ways:
            self._tree.set_data(np.concatenate(ways), color=(*self._text, 0.8))
        shares = tree.counts[nodes] / tree.counts[nodes].sum()
        self._centroids.set_data(
            tree.centroids[nodes, :2] * self.scale,
            face_color=np.insert(partition.colours[nodes], 3, 1.0, axis=1),
            edge_color=self._text, edge_width=1.2, size=9 + 9 * np.sqrt(shares),
        )  # fmt: skip
        self._centroids.visible = True

    def draw_pick(self, point: npt.NDArray[np.float32] | None) -> None:
        """Draw a cross at the picked point."""
        self._pick.visible = point is not None
        if point is not None:
            self._pick.set_data(
                point[None, :2] * self.scale, symbol="+", size=17,
                face_color=self._text, edge_width=0,
            )  # fmt: skip

    def point_at(self, position: Any) -> tuple[float, float] | None:
        """Latent coordinates at a position on the canvas; None outside the disk."""
        x, y = self.canvas.scene.node_transform(self._view.scene).map(position)[:2]
        if self._curvature is not None and math.hypot(x, y) >= 1:
            return None
        return float(x) / self.scale, float(y) / self.scale

    def position_of(self, x: float, y: float) -> tuple[float, float]:
        """Position on the canvas of latent coordinates; inverse of `point_at`."""
        place = (x * self.scale, y * self.scale)
        px, py = self._view.scene.node_transform(self.canvas.scene).map(place)[:2]
        return float(px), float(py)

    def _look(self, reach: float) -> None:
        half = 1.04 * reach
        self._view.camera.rect = (-half, -half, 2 * half, 2 * half)
        self._draw_rings(reach)

    def _draw_rings(self, reach: float) -> None:
        """The rim, and circles at equal steps of distance from the centre."""
        root = None if self._curvature is None else math.sqrt(self._curvature)
        farthest = reach if root is None else 2 * math.atanh(min(reach, 0.999)) / root
        step = nice(farthest / 3.5) if reach < 1 or root is None else 1.0
        turn = np.linspace(0, 2 * np.pi, 129)
        circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
        parts, faint = [], []
        places, texts = [], []
        for index in range(1, 7):
            distance = index * step
            radius = distance if root is None else math.tanh(root * distance / 2)
            # Beyond, rings would crowd at the rim or lie outside the view's corners.
            if radius > 1.4 * reach or (root is not None and radius > 0.95):
                break
            parts.append(_segments(radius * circle))
            faint.append(0.3)
            places.append((radius * 0.7071, -radius * 0.7071))
            texts.append(f"{distance:g}")
        if root is not None:
            parts.append(_segments(circle))
            faint.append(0.9)
        colours = [(*self._text, alpha) for alpha, part in zip(faint, parts, strict=True)
                   for _ in part]  # fmt: skip
        self._rings.set_data(np.concatenate(parts), color=np.array(colours))
        self._distances.text = texts
        self._distances.pos = places
        self._distances.color = (*self._text, 0.7)


def _segments(line: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ends of the segments of a line, two for each: (n, 2) to (2 n - 2, 2)."""
    return np.repeat(line, 2, axis=0)[1:-1]
