"""Boxes from text, against Python's own slicing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_hypseg.volumes import Volume, VolumeError, parse_box

SHAPE = (20, 30, 40)
BOUND = st.none() | st.integers(-45, 45)


@given(st.lists(st.tuples(BOUND, BOUND), min_size=3, max_size=3))
def test_as_python_slices_or_refused(spans):
    text = ",".join(f"{'' if a is None else a}:{'' if b is None else b}" for a, b in spans)
    inside = all(
        (a is None or -n <= a < n) and (b is None or -n <= b <= n)
        for (a, b), n in zip(spans, SHAPE, strict=True)
    )
    expected = [range(n)[slice(a, b)] for (a, b), n in zip(spans, SHAPE, strict=True)]
    if inside and all(expected):
        box = parse_box(text, SHAPE)
        assert [range(s.start, s.stop) for s in box] == expected
        cropped = Volume(np.zeros(SHAPE)).crop(box)
        assert cropped.origin == tuple(float(span.start) for span in expected)
    else:
        with pytest.raises(VolumeError, match="of the box"):
            parse_box(text, SHAPE)


def test_blanks():
    assert parse_box(" 1 : 2 ,:, -3 :", SHAPE) == (slice(1, 2), slice(0, 30), slice(37, 40))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has 1 span,"),
        ("1:2,3:4", "has 2 spans"),
        ("1:2,3:4,5:6,7:8", "has 4 spans"),
        ("1:2,3,5:6", "y span '3' .* not start:stop"),
        ("1:2,3:4,5:6:2", "x span"),
        ("1.5:2,:,:", "z span"),
        ("a:b,:,:", "z span"),
        ("5:5,:,:", "20 voxels along z"),
        (":,:,0:41", "40 voxels along x"),
        (":,-31:,:", "30 voxels along y"),
    ],
)
def test_refused(text, reason):
    with pytest.raises(VolumeError, match=reason):
        parse_box(text, SHAPE)
