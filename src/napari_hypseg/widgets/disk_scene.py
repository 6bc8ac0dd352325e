"""The drawing of the Poincaré disk with vispy: points, rings, centroids and the tree."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication
from vispy.scene import Node, PanZoomCamera, SceneCanvas
from vispy.scene.visuals import Image, Line, Markers, Text
from vispy.visuals.text.text import FontManager
from vispy.visuals.transforms import STTransform

from napari_hypseg.figures.cloud import Cloud
from napari_hypseg.figures.disk import branches, nice
from napari_hypseg.figures.translation import Translation
from napari_hypseg.widgets.dots import Dots
from napari_hypseg.widgets.moved import Moved

if TYPE_CHECKING:
    from napari_hypseg.session import Proposals

__all__ = ["DiskScene"]

Colour = tuple[float, ...]
Place = tuple[float, float]

# Points that give the picture its colours; its density comes from all of them.
_MOST = 500_000
# Points that are drawn one by one at most, in pixels of this size: those that lie alone.
_ALONE, _DOT = 100_000, 2.0
# Sizes of the dots at the points nearest to what is picked, with their edge and without.
_NEAR = 5.0, 4.0
# Points in a cell that are few, and the opacity of each.
_FEW, _FAINT = 2, 0.55
# Where the points fill less of the disk than this, it is first shown enlarged.
_SMALL = 0.7
# The most that the wheel enlarges.
_NEAREST = 1e-3
# Pixels from points within which a click means them, and from a number's middle.
_CLOSE, _ON = 16, 11
# Milliseconds between drawings of what is first seen and of the rest: for mouse and keys.
_PAUSE = 10
_TURN = np.linspace(0, 2 * np.pi, 361)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


class DiskScene:
    """A canvas with the disk on it, in units of the ball's radius.

    The points are one image: its opacity is the density of all voxels' points, its colours are
    the mean colours of a sample's labels. It costs the same for a thousand points and for 65
    million. Where few lie, those of the sample are drawn one by one on top. All that lies on the
    disk hangs on one node, which the translation moves.

    Parameters
    ----------
    on_lost : callable
        Called when nothing can be drawn on the canvas any more, and another scene is needed: Qt
        gives a canvas that comes into another window, as a dock that is torn off does, a new
        OpenGL context, and what vispy has made lies in the one before.

    Attributes
    ----------
    canvas : vispy.scene.SceneCanvas
    most : int
        Points that give the picture its colours at most.
    """

    most = _MOST

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._cloud: Cloud | None = None
        # Those whose centroids are drawn, and where.
        self._nodes: tuple[int, ...] = ()
        self._centres: npt.NDArray[np.floating] = np.zeros((0, 2))
        self._curved = True
        self._reach = 1.0
        self._text: Colour = (1.0, 1.0, 1.0)
        self._paper: Colour = (0.0, 0.0, 0.0)
        # vispy would start another program to ask the screen.
        dpi = QGuiApplication.primaryScreen().logicalDotsPerInch()
        # Qt puts what was drawn on the screen itself: swapping buffers would only wait for it.
        self.canvas = SceneCanvas(keys=None, size=(300, 300), dpi=dpi, autoswap=False)
        self._view = self.canvas.central_widget.add_view()
        self._view.camera = PanZoomCamera(aspect=1)
        # The dock takes the mouse itself; vispy would draw all once more to know what is clicked.
        self._view.camera.interactive = False
        scene = self._view.scene
        self._moved = Node(parent=scene)
        self._moved.transform = Moved()
        self._visuals: list[Any] = []
        self._density = self._add(
            Image, 0, data=np.zeros((2, 2, 4), np.uint8), method="impostor", interpolation="linear"
        )
        # Colours times opacity: so that cells without points lend no colour to their neighbours.
        self._density.set_gl_state(
            depth_test=False, blend=True, blend_func=("one", "one_minus_src_alpha")
        )
        nothing = np.zeros((2, 2))
        self._rings = self._add(Line, 1, pos=nothing, connect="segments")
        self._rim = self._add(Line, 1, scene, pos=_CIRCLE, width=1.5)
        # Programs and glyphs take long to make: what is in these is drawn after the rest is seen.
        fonts = FontManager()
        points, numbers, words = (self._node(order, self._moved) for order in (2, 3, 4))
        far = self._node(2, scene)
        self._later = [points, numbers, words, far]
        self._alone = self._add(Dots, 0, points, size=_DOT)
        self._tree = self._add(Line, 1, points, pos=nothing, connect="segments", width=1.5)
        self._centroids = self._add(Markers, 3, points)
        self._points = points
        self._distances = self._add(
            Text, 0, words, text=" ", font_size=7, bold=True, anchor_x="left", font_manager=fonts
        )
        self._labels = self._add(Text, 0, numbers, text=" ", font_size=7, bold=True,
                                 font_manager=fonts)  # fmt: skip
        self._infinity = self._add(
            Text, 0, far, text="∞", pos=(0.72, -0.72), font_size=9, bold=True, anchor_x="left",
            font_manager=fonts,
        )  # fmt: skip
        self._next = QTimer(self.canvas.native)
        self._next.setSingleShot(True)
        self._next.timeout.connect(self._draw_more)
        self.canvas.events.draw.connect(self._on_drawn, position="last")
        self._window: int | None = None
        self._lost = QTimer(self.canvas.native)
        self._lost.setSingleShot(True)
        self._lost.timeout.connect(on_lost)
        self.canvas.events.initialize.connect(self._on_context)
        self.clear()

    def _node(self, order: int, parent: Node) -> Node:
        """A node for what is drawn later."""
        node = Node(parent=parent)
        node.order, node.visible = order, False
        return node

    def _add(self, kind: Any, order: int, parent: Node | None = None, **given: Any) -> Any:
        """A visual above those of lower order; on the disk, which the translation moves."""
        visual = kind(parent=self._moved if parent is None else parent, **given)
        visual.order = order
        visual.set_gl_state("translucent", depth_test=False)
        self._visuals.append(visual)
        return visual

    # Not needed until a person picks something, draws around something, looks at many dimensions.

    @cached_property
    def _near(self) -> list[Any]:
        # The larger ones in the paper's colour: an edge, so that they are seen on any colour.
        return [self._add(Dots, 2, self._points, size=size) for size in _NEAR]

    @cached_property
    def _pick(self) -> Any:
        return self._add(Markers, 5)

    @cached_property
    def _lasso(self) -> Any:
        return self._add(Line, 3, self._view.scene, pos=np.zeros((2, 2)), width=2)

    @cached_property
    def _name(self) -> Any:
        return self._add(
            Text, 1, self.canvas.scene, text="", pos=(8, 10), font_size=7, bold=True,
            anchor_x="left", anchor_y="bottom", color=(*self._text, 1.0),
        )  # fmt: skip

    def _on_context(self, _event: Any) -> None:
        window = int(self.canvas.native.window().winId())
        if self._window is None:
            self._window = window
        # Without OpenGL in its windows (offscreen) Qt gives a new context at each new size, too:
        # there another scene would be no better.
        elif self._window != window:
            self.canvas.events.draw.disconnect()
            # Not now: Qt is in the middle of moving the canvas.
            self._lost.start(0)

    def _on_drawn(self, _event: Any) -> None:
        if self._later:
            self._next.start(_PAUSE)

    def _draw_more(self) -> None:
        self._later.pop(0).visible = True
        self.canvas.update()

    @property
    def is_complete(self) -> bool:
        """Whether everything has been drawn: some of it follows after what is first seen."""
        return not self._later

    # -- what is drawn

    def use_colours(self, text: Colour, paper: Colour) -> None:
        """Draw in the theme's colours, from the next drawing on."""
        self._text, self._paper = text, paper
        self.canvas.bgcolor = (*paper, 1.0)
        self._rim.set_data(color=(*text, 0.9))
        self._infinity.color = self._distances.color = (*text, 1.0)
        if "_name" in vars(self):
            self._name.color = (*text, 1.0)
        self._draw_rings()

    def clear(self) -> None:
        """An empty disk."""
        self._cloud, self._nodes = None, ()
        self._curved, self._reach = True, 1.0
        for visual in self._visuals:
            visual.visible = False
        self._rings.visible = True
        self.show_whole()

    def draw_cloud(self, cloud: Cloud) -> None:
        """Take other points, and look at where they are; `draw_points` draws them."""
        self._cloud = cloud
        self._curved = cloud.curvature is not None
        density, sample = cloud.density, cloud.places[:_MOST]
        counts = density.counts.ravel()
        self._used = np.flatnonzero(counts)
        # Not the very densest: where voxels are all alike, one cell holds a great many.
        most = float(np.quantile(counts[self._used], 0.99)) if len(self._used) else 1.0
        dense = np.log1p(counts[self._used]) / math.log1p(most)
        self._opacity = (0.25 + 0.75 * dense).clip(0, 1)
        cells = density.cells(sample)
        # Each cell's place among those that are used.
        ranks = np.zeros(counts.size, np.int32)
        ranks[self._used] = np.arange(len(self._used))
        self._cells = ranks[cells]
        self._sampled = np.bincount(self._cells, minlength=len(self._used))
        # In the emptier cells the points are seen one by one, in the others as a density.
        self._few = np.flatnonzero(counts[cells] <= max(_FEW, most / 100))[:_ALONE]
        side = len(density.counts)
        self._density.transform = STTransform(
            (2 * density.reach / side,) * 2, (-density.reach, -density.reach)
        )
        far = float(np.quantile(np.linalg.norm(sample, axis=1), 0.999)) * 1.15
        self._reach = max(far, 1e-6)
        if cloud.projection.name:
            self._name.text, self._name.visible = cloud.projection.name, True
        self.show_whole(enlarged=not (self._curved and self._reach > _SMALL))

    def draw_points(self, labels: npt.NDArray[np.uint8], colours: npt.NDArray[np.float64]) -> None:
        """Draw the points in the colours of their labels.

        Parameters
        ----------
        labels : array of uint8, shape (n,)
            Of the cloud's first `most` points.
        colours : array, shape (k, 4)
            Row i belongs to label i; points of an opacity of 0 are not drawn.
        """
        assert self._cloud is not None  # noqa: S101
        shown = np.concatenate([colours[:, :3] * colours[:, 3:], colours[:, 3:]], axis=1)
        # How many points of each label lie in each cell.
        n, k = len(self._used), len(colours)
        counts = np.bincount(self._cells * k + labels, minlength=n * k).reshape(n, k)
        sums = counts @ shown
        total = sums[:, 3]
        # Cells without a point of the sample are drawn in the colour of text.
        share = np.where(self._sampled > 0, total / np.maximum(self._sampled, 1), 1.0)
        opacity = self._opacity * share
        seen = (total > 0)[:, None]
        mean = np.divide(sums[:, :3], total[:, None], out=np.tile(self._text, (n, 1)), where=seen)
        image = np.zeros((self._cloud.density.counts.size, 4), np.uint8)
        image[self._used, :3] = 255 * opacity[:, None] * mean
        image[self._used, 3] = 255 * opacity
        self._density.set_data(image.reshape(*self._cloud.density.counts.shape, 4))
        self._density.visible = True
        self._alone.visible = len(self._few) > 0
        if len(self._few):
            faint = colours * (1.0, 1.0, 1.0, _FAINT)
            self._alone.set_data(self._cloud.places[self._few], faint[labels[self._few]])
        self.canvas.update()

    def draw_tree(self, proposals: Proposals, k: int, chosen: Collection[int]) -> None:
        """Draw the centroids of the proposals, and the merges above them as geodesics.

        Parameters
        ----------
        proposals : Proposals
        k : int
            The granularity.
        chosen : collection of int
            Nodes at this granularity that are drawn with a thicker edge.
        """
        assert self._cloud is not None  # noqa: S101
        tree, nodes = proposals.tree, list(proposals.nodes(k))
        seen = self._cloud.projection.apply
        # The highest merges are those that a coarser granularity has not split.
        wholes = range(2 * tree.n_leaves - k, 2 * tree.n_leaves - 1)
        self._tree.visible = k > 1
        if k > 1:
            ways = branches(tree, wholes, self._cloud.curvature)
            places = seen(ways.reshape(-1, ways.shape[2])).reshape(*ways.shape[:2], 2)
            segments = np.concatenate([_segments(way) for way in places])
            self._tree.set_data(segments, color=(*self._text, 0.8))
        shares = tree.counts[nodes] / tree.counts[nodes].sum()
        faces = proposals.colours[nodes]
        self._nodes, self._centres = proposals.nodes(k), seen(tree.centroids[nodes])
        self._centroids.set_data(
            self._centres, face_color=np.insert(faces, 3, 1.0, axis=1), edge_color=self._text,
            edge_width=np.where(np.isin(nodes, list(chosen)), 3.5, 1.2),
            size=13 + 9 * np.sqrt(shares),
        )  # fmt: skip
        self._labels.text = [str(label) for label in range(1, len(nodes) + 1)]
        self._labels.pos = self._centres
        # Black on the lighter colours, white on the darker.
        light = (faces @ (0.299, 0.587, 0.114) > 0.5)[:, None]
        self._labels.color = np.where(light, (0.0, 0.0, 0.0, 1.0), (1.0, 1.0, 1.0, 1.0))
        self._centroids.visible = self._labels.visible = True

    def draw_pick(
        self, point: npt.NDArray[np.float32] | None, near: npt.NDArray[np.float32]
    ) -> None:
        """Draw a ring at the picked point, and dots at the points nearest to it."""
        if point is None or self._cloud is None:
            self._hide("_pick")
            for dots in self._near if "_near" in vars(self) else []:
                dots.visible = False
            return
        self._pick.visible = True
        seen = self._cloud.projection.apply
        for dots, colour in zip(self._near, (self._paper, self._text), strict=True):
            dots.visible = True
            dots.set_data(seen(near), np.tile((*colour, 1.0), (len(near), 1)))
        # Two rings, so that it is seen on points of any colour.
        self._pick.set_data(
            np.repeat(seen(point[None]), 2, axis=0), face_color=(0, 0, 0, 0),
            size=np.array([19.0, 16.0]), edge_width=np.array([5.0, 2.5]),
            edge_color=np.array([(*self._paper, 1.0), (*self._text, 1.0)]),
        )  # fmt: skip

    def draw_lasso(self, outline: Sequence[Place]) -> None:
        """Draw a polygon on what is seen; none, if it has fewer than two corners."""
        if len(outline) < 2:
            self._hide("_lasso")
        else:
            self._lasso.visible = True
            self._lasso.set_data(np.array([*outline, outline[0]]), color=(*self._text, 1.0))

    def _hide(self, *names: str) -> None:
        """Hide visuals, those that were ever needed."""
        for name in names:
            if name in vars(self):
                getattr(self, name).visible = False

    # -- where one looks

    @property
    def translation(self) -> Translation:
        """From places on the disk to where they are seen."""
        translation: Translation = self._moved.transform.translation
        return translation

    @property
    def half_width(self) -> float:
        """Of what is seen, in units of the disk's radius."""
        return float(min(self._view.camera.rect.size)) / 2

    @property
    def view(self) -> dict[str, list[float]]:
        """Where one looks, to be kept in JSON; `look` looks there again."""
        rect = self._view.camera.rect
        return {
            "centre": list(self.translation.centre),
            "rect": [float(v) for v in (*rect.pos, *rect.size)],
        }

    def look(self, view: Mapping[str, Any]) -> None:
        """Look where one looked before; nothing happens if that can't be told."""
        try:
            (x, y), (left, low, width, height) = view["centre"], view["rect"]
            rect = tuple(float(v) for v in (left, low, width, height))
            translation = Translation((float(x), float(y)), self._curved)
        except (KeyError, TypeError, ValueError, OverflowError):
            return
        if all(map(math.isfinite, (*rect, *translation.centre))) and min(rect[2:]) > 0:
            self._view.camera.rect = rect
            self.translate(translation)
            self._draw_rings()

    def translate(self, translation: Translation) -> None:
        """Look at the disk from another of its points."""
        self._moved.transform.show(translation)
        self._draw_distances()
        self.canvas.update()

    def show_whole(self, *, enlarged: bool = False) -> None:
        """Look at all of the disk (enlarged: at its points) from its centre."""
        half = 1.04 * (self._reach if enlarged or not self._curved else 1.0)
        self._view.camera.rect = (-half, -half, 2 * half, 2 * half)
        self._infinity.visible = self._rim.visible = self._curved
        self._moved.transform.show(Translation(curved=self._curved))
        self._draw_rings()
        self.canvas.update()

    def zoom(self, factor: float, position: Any) -> None:
        """Enlarge around a position on the canvas, by a factor below 1 reduce."""
        half = self.half_width
        widest = 2.0 * (1.0 if self._curved else self._reach)
        factor = max(min(factor, half / (_NEAREST * widest)), half / widest)
        self._view.camera.zoom(1 / factor, self.any_at(position))
        self._draw_rings()

    def pan(self, start: Any, end: Any) -> None:
        """Shift the drawing on the canvas, from one position to another."""
        before, after = self.any_at(start), self.any_at(end)
        self._view.camera.pan((before[0] - after[0], before[1] - after[1]))

    def any_at(self, position: Any) -> Place:
        """Where on what is seen a position on the canvas lies, outside the disk too."""
        x, y = self.canvas.scene.node_transform(self._view.scene).map(position)[:2]
        return float(x), float(y)

    def seen_at(self, position: Any) -> Place | None:
        """Where on what is seen a position on the canvas lies; None outside the disk."""
        x, y = self.any_at(position)
        return None if self._curved and math.hypot(x, y) >= 1 else (x, y)

    def place_at(self, position: Any) -> Place | None:
        """The place on the disk that is seen at a position on the canvas; None outside."""
        seen = self.seen_at(position)
        if seen is None:
            return None
        x, y = self.translation.undo(seen).tolist()
        return x, y

    def position_of(self, place: npt.ArrayLike) -> Place:
        """Position on the canvas of a place on the disk; inverse of `place_at`."""
        x, y = self._positions(place)
        return float(x), float(y)

    def node_at(self, place: Place) -> int | None:
        """The node whose number is drawn where a place is seen, if one is."""
        if not self._nodes:
            return None
        apart = self._apart(self._centres, place)
        on = int(apart.argmin())
        return self._nodes[on] if apart[on] <= _ON else None

    def is_near(self, place: Place, other: npt.ArrayLike) -> bool:
        """Whether another place is seen where a click at a place means it."""
        return bool(self._apart(other, place) <= _CLOSE)

    def _apart(self, places: npt.ArrayLike, other: Place) -> npt.NDArray[np.float64]:
        """Pixels between places, shape (..., 2), and another as they are seen, shape (...)."""
        gaps = self._positions(places) - self._positions(other)
        apart: npt.NDArray[np.float64] = np.hypot(gaps[..., 0], gaps[..., 1])
        return apart

    def _positions(self, places: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Positions on the canvas of places on the disk, shape (..., 2)."""
        to_canvas = self._view.scene.node_transform(self.canvas.scene)
        mapped: npt.NDArray[np.float64] = to_canvas.map(self.translation.apply(places))
        return mapped[..., :2]

    # -- rings

    def _draw_rings(self) -> None:
        """Circles at equal steps of distance from the centre of the latent space."""
        root = 0.0
        if self._curved:
            root = 1.0 if self._cloud is None else math.sqrt(self._cloud.curvature or 1.0)
        half = self.half_width
        farthest = 2 * math.atanh(min(half, 0.999)) / root if root else half
        step = nice(farthest / 3.5) if half < 1 or not root else 1.0
        parts, self._ends, self._steps = [], [], []
        for index in range(1, 7):
            radius = math.tanh(root * index * step / 2) if root else index * step
            if root and radius > 0.999:
                break
            parts.append(_segments(radius * _CIRCLE))
            self._ends.append((radius * 0.7071, -radius * 0.7071))
            self._steps.append(f"{index * step:g}")
        self._rings.set_data(np.concatenate(parts), color=(*self._text, 0.3))
        self._draw_distances()

    def _draw_distances(self) -> None:
        """Write the distances beside the rings, but for those that crowd at the rim."""
        seen = self.translation.apply(np.array(self._ends))
        kept = [i for i, (x, y) in enumerate(seen) if not self._curved or math.hypot(x, y) < 0.93]
        self._distances.visible = bool(kept)
        if kept:
            self._distances.text = [self._steps[i] for i in kept]
            self._distances.pos = [self._ends[i] for i in kept]


def _segments(line: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Ends of the segments of a line, two for each: (n, 2) to (2 n - 2, 2)."""
    return np.repeat(line, 2, axis=0)[1:-1]
