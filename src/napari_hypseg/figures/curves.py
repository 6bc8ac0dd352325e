"""Curves of the training as drawings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["draw_curve"]

_WIDTH, _HEIGHT = 360.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 22.0, 10.0, 34.0


def draw_curve(history: Sequence[Mapping[str, float]], name: str) -> str:
    """One term of the loss over the training steps, as an SVG element.

    Parameters
    ----------
    history : sequence of mapping
        Entries with "step" and the named term.
    name : str
        The term.
    """
    steps = [float(entry["step"]) for entry in history]
    values = [float(entry[name]) for entry in history]
    rows = _ticks(min(values), max(values))
    low, high = min(rows[0], min(values)), max(rows[-1], max(values))
    end = max(steps)
    columns = [step for step in _ticks(0, end) if step <= end]

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / end

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * (value - low) / (high - low)

    parts = []
    for value in rows:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" '
                     f'y1="{y(value):.1f}" y2="{y(value):.1f}"/>')  # fmt: skip
        parts.append(
            f'<text class="tick row" x="{_LEFT - 6}" y="{y(value) + 4:.1f}">{value:g}</text>'
        )
    parts += [
        f'<text class="tick" x="{x(step):.1f}" y="{_HEIGHT - 18}">{step:g}</text>'
        for step in columns
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick" x="{middle}" y="{_HEIGHT - 3}">training step</text>')
    points = " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(steps, values, strict=True))
    parts.append(f'<polyline class="curve" points="{points}"/>')
    parts.append(f'<circle class="end" cx="{x(steps[-1]):.1f}" cy="{y(values[-1]):.1f}" r="3"/>')
    return f'<svg class="chart" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'


def _ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers that cover a range."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = min((m * power for m in (1, 2, 5, 10)), key=lambda s: abs(span / s - 4))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Rounding takes off what multiples of decimal fractions leave at the end.
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]
