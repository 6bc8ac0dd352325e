"""The drawing of the disk as pixels: circles, lines, numbers and a picture, all that it has."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping

from PIL import Image, ImageColor, ImageDraw, ImageFont

__all__ = ["Look", "as_pixels"]

#: Attributes of CSS by class: of what has that class in the drawing.
Look = Mapping[str, Mapping[str, str | float]]

# Drawn so many times as large and reduced, edges and letters are smooth.
_FINER = 2


def as_pixels(svg: str, look: Look, side: int) -> Image.Image:
    """Draw what `disk_svg` gives.

    Parameters
    ----------
    svg : str
        Circles, polylines, texts and images; moved by nothing but the ``translate`` of a group.
    look : mapping
        How each class is drawn.
    side : int
        Of the square picture, in pixels.

    Returns
    -------
    PIL.Image.Image
        On white.
    """
    # Our own drawing, not a file from elsewhere.
    root = ET.fromstring(svg)  # noqa: S314
    left, top, width, _ = (float(v) for v in root.get("viewBox", "").split())
    scale = side * _FINER / width
    image = Image.new("RGB", (side * _FINER, side * _FINER), "white")
    _Painter(image, look, scale).draw(root, (-left, -top))
    return image.resize((side, side), Image.Resampling.BOX)


class _Painter:
    """Draws elements of SVG on an image."""

    def __init__(self, image: Image.Image, look: Look, scale: float) -> None:
        self._paper, self._look, self._scale = image, look, scale
        # Translucent colours are mixed with what is there.
        self._draw = ImageDraw.Draw(image, "RGBA")

    def draw(self, element: ET.Element, origin: tuple[float, float]) -> None:
        """Draw an element and what is in it; its coordinates count from the origin."""
        x0, y0 = origin
        moved = element.get("transform", "translate(0 0)").removeprefix("translate(").rstrip(")")
        dx, dy = (float(v) for v in moved.split())
        here = x0 + dx, y0 + dy
        kind = element.tag.rpartition("}")[2]
        if kind in ("circle", "polyline", "text", "image"):
            getattr(self, f"_{kind}")(element, here)
        for part in element:
            self.draw(part, here)

    def _place(self, x: float, y: float, origin: tuple[float, float]) -> tuple[float, float]:
        return (x + origin[0]) * self._scale, (y + origin[1]) * self._scale

    def _value(self, element: ET.Element, name: str, default: str = "none") -> str:
        of_class = self._look.get(element.get("class", ""), {}).get(name, default)
        return element.get(name, str(of_class))

    def _colour(self, element: ET.Element, name: str) -> tuple[int, ...] | None:
        value = self._value(element, name)
        if value == "none":
            return None
        opacity = float(self._value(element, f"{name}-opacity", "1"))
        return (*ImageColor.getrgb(value), round(255 * opacity))

    def _width(self, element: ET.Element) -> int:
        return max(1, round(float(self._value(element, "stroke-width", "1")) * self._scale))

    def _circle(self, element: ET.Element, origin: tuple[float, float]) -> None:
        x, y = self._place(float(element.get("cx", 0)), float(element.get("cy", 0)), origin)
        stroke, width = self._colour(element, "stroke"), self._width(element)
        # Half of a line lies outside.
        r = float(element.get("r", 0)) * self._scale + (width / 2 if stroke else 0)
        self._draw.ellipse(
            (x - r, y - r, x + r, y + r), self._colour(element, "fill"), stroke, width
        )

    def _polyline(self, element: ET.Element, origin: tuple[float, float]) -> None:
        pairs = (point.split(",") for point in element.get("points", "").split())
        points = [self._place(float(x), float(y), origin) for x, y in pairs]
        stroke = self._colour(element, "stroke")
        self._draw.line(points, stroke, self._width(element), joint="curve")

    def _text(self, element: ET.Element, origin: tuple[float, float]) -> None:
        y = float(element.get("y", 0)) + float(element.get("dy", 0))
        place = self._place(float(element.get("x", 0)), y, origin)
        size = float(self._value(element, "font", "10px").partition("px")[0]) * self._scale
        anchor = "ms" if self._value(element, "text-anchor") == "middle" else "ls"
        font = ImageFont.load_default(size)
        fill = self._colour(element, "fill")
        self._draw.text(place, element.text or "", fill, font, anchor)

    def _image(self, element: ET.Element, origin: tuple[float, float]) -> None:
        url = next(value for name, value in element.items() if name.endswith("href"))
        with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
            width, height = (
                round(float(element.get(name, 0)) * self._scale) for name in ("width", "height")
            )
            large = picture.convert("RGBa").resize((width, height), Image.Resampling.BILINEAR)
        x, y = self._place(float(element.get("x", 0)), float(element.get("y", 0)), origin)
        pixels = large.convert("RGBA")
        self._paper.paste(pixels, (round(x), round(y)), pixels)
