"""Many small points in vispy: squares of a few pixels, drawn ten times as quickly as markers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from vispy.gloo import VertexBuffer
from vispy.scene.visuals import create_visual_node
from vispy.visuals import Visual

__all__ = ["Dots"]


class _DotsVisual(Visual):
    """Points of one size, each of its own colour."""

    _VERTEX = """
        attribute vec2 a_place;
        attribute vec4 a_colour;
        uniform float u_size;
        varying vec4 v_colour;
        void main() {
            gl_Position = $transform(vec4(a_place, 0.0, 1.0));
            gl_PointSize = u_size;
            v_colour = a_colour;
        }
    """
    _FRAGMENT = """
        varying vec4 v_colour;
        void main() {
            if (v_colour.a == 0.0) discard;
            gl_FragColor = v_colour;
        }
    """

    def __init__(self, size: float) -> None:
        Visual.__init__(self, vcode=self._VERTEX, fcode=self._FRAGMENT)
        self._size = size
        self._draw_mode = "points"
        self._places, self._colours = VertexBuffer(), VertexBuffer()
        self.shared_program["a_place"] = self._places
        self.shared_program["a_colour"] = self._colours
        self._is_empty = True
        self.freeze()

    def set_data(self, places: npt.NDArray[np.floating], colours: npt.NDArray[np.floating]) -> None:
        """Take points, shape (n, 2), and their colours, shape (n, 4)."""
        self._is_empty = not len(places)
        if len(places):
            self._places.set_data(np.ascontiguousarray(places, np.float32))
            self._colours.set_data(np.ascontiguousarray(colours, np.float32))
        self.update()

    def _prepare_transforms(self, view: Any) -> None:
        view.view_program.vert["transform"] = view.transforms.get_transform()

    def _prepare_draw(self, view: Any) -> bool:  # noqa: ARG002
        # In the screen's own pixels, of which a dense screen has more.
        self.shared_program["u_size"] = self._size * self.transforms.pixel_scale
        return not self._is_empty

    def _compute_bounds(self, axis: int, view: Any) -> None:  # noqa: ARG002
        return None


Dots = create_visual_node(_DotsVisual)
