"""The Moebius translation of the Poincaré disk as a transform of vispy."""

from __future__ import annotations

from typing import Any

import numpy as np
from vispy.visuals.transforms import BaseTransform

from napari_hypseg.figures.translation import Translation

__all__ = ["Moved"]


class Moved(BaseTransform):
    """A `Translation` that the graphics card applies, so that a drag moves two numbers only."""

    _CODE = """
        vec4 moved_%s(vec4 pos) {
            vec2 a = $shift;
            vec2 top = pos.xy + a;
            vec2 below = vec2(1.0 + $curved * dot(a, pos.xy),
                              $curved * (a.x * pos.y - a.y * pos.x));
            vec2 turned = vec2(dot(top, below), top.y * below.x - top.x * below.y);
            return vec4(turned / dot(below, below), pos.zw);
        }
    """
    glsl_map, glsl_imap = _CODE % "there", _CODE % "back"
    Linear = Orthogonal = NonScaling = Isometric = False

    def __init__(self) -> None:
        super().__init__()
        self.translation = Translation()
        self.show(self.translation)

    def show(self, translation: Translation) -> None:
        """Move to another place."""
        self.translation = translation
        x, y = translation.centre
        for function, sign in ((self._shader_map, -1.0), (self._shader_imap, 1.0)):
            function["shift"] = sign * x, sign * y
            function["curved"] = float(translation.curved)
        self.update()

    def map(self, coords: Any) -> Any:
        """Where places are seen."""
        return self._both(coords, self.translation.apply)

    def imap(self, coords: Any) -> Any:
        """Which places are seen."""
        return self._both(coords, self.translation.undo)

    @staticmethod
    def _both(coords: Any, move: Any) -> Any:
        """Only x and y of what vispy maps, which may have z and w too."""
        moved = np.array(coords, float)
        moved[..., :2] = move(moved[..., :2])
        return moved
