"""Boxes as a person writes them: ``z0:z1,y0:y1,x0:x1``."""

from __future__ import annotations

from .volume import Box, VolumeError

__all__ = ["parse_box"]


def parse_box(text: str, shape: tuple[int, int, int]) -> Box:
    """Box of a volume from its text, in voxels.

    Parameters
    ----------
    text : str
        Three spans, comma-separated, in the order z, y, x. A span is ``start:stop`` as in Python:
        an empty bound is the volume's edge, a negative one counts from the end.
    shape : tuple of int
        Size of the volume along (z, y, x).

    Returns
    -------
    tuple of slice
        Bounds within the volume, none of them empty or negative.

    Raises
    ------
    VolumeError
        If the text isn't three spans, or the box doesn't lie in the volume.

    Examples
    --------
    >>> parse_box("2:10,:,-5:", (20, 30, 40))
    (slice(2, 10, None), slice(0, 30, None), slice(35, 40, None))
    """
    spans = text.split(",")
    if len(spans) != 3:
        raise VolumeError(
            f"the box {text!r} has {len(spans)} span{'s' * (len(spans) != 1)}, "
            "it needs three: z0:z1,y0:y1,x0:x1"
        )
    z, y, x = (
        _span(span, name, size, text) for span, name, size in zip(spans, "zyx", shape, strict=True)
    )
    return z, y, x


def _span(span: str, name: str, size: int, text: str) -> slice:
    start_text, colon, stop_text = (part.strip() for part in span.partition(":"))
    try:
        start = int(start_text) if start_text else 0
        stop = int(stop_text) if stop_text else size
    except ValueError:
        colon = ""
    if not colon:
        raise VolumeError(
            f"the {name} span {span.strip()!r} of the box {text!r} is not start:stop, "
            "in whole voxels"
        )
    first = start + size if start < 0 else start
    last = stop + size if stop < 0 else stop
    if not 0 <= first < last <= size:
        raise VolumeError(
            f"the {name} span {span.strip()!r} of the box {text!r} doesn't lie in the volume, "
            f"which has {size} voxels along {name}"
        )
    return slice(first, last)
