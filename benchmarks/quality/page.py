"""The page of the results: five tables with means and intervals, and the words around them."""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import machine
from benchmarks.quality.methods import METHODS

__all__ = ["interval", "page", "table"]

Cell = dict[str, Any]
Pick = Callable[[Cell], float | None]

WORDS = Path(__file__).with_name("page.md")
RESAMPLES = 10_000
# Fewer volumes than this tell nothing about their spread.
LEAST_VOLUMES = 3


def page(folder: Path, methods: Sequence[str], data: Sequence[str]) -> str:
    """The page in Markdown, of all cells that are in a folder."""
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    text = WORDS.read_text()
    for name, picks in TABLES.items():
        made = [table(cells, methods, data, title, pick) for title, pick in picks.items()]
        text = text.replace(f"<!-- {name} -->", "\n\n".join(each for each in made if each))
    return text.replace("<!-- header -->", _header(folder, cells))


def _header(folder: Path, cells: Sequence[Cell]) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()  # fmt: skip
    described = machine()
    seeds = len({cell["seed"] for cell in cells})
    hours = sum(cell.get("seconds", 0) for cell in cells) / 3600
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, commit {commit or 'unknown'}; "
        f"{described['cores']} cores of {described['processor']}, PyTorch {described['torch']}; "
        f"{'quick' if folder.name == 'quick' else 'full'} run, {seeds} seed(s) where a method "
        f"learns, {hours:.1f} core hours of training, features and labels."
    )


def table(
    cells: Sequence[Cell], methods: Sequence[str], data: Sequence[str], title: str, pick: Pick
) -> str:
    """A table of one figure: a row a method, a column a kind of data, the best in bold.

    A figure is averaged over the seeds of a volume, then over volumes.
    """
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for cell in cells:
        value = pick(cell)
        if value is not None and np.isfinite(value):
            volumes = found.setdefault(cell["method"], {}).setdefault(cell["data"], {})
            volumes.setdefault(cell["case"], []).append(value)
    columns = [kind for kind in data if any(kind in row for row in found.values())]
    if not columns:
        return ""
    means = {
        name: {kind: np.mean([np.mean(v) for v in vs.values()]) for kind, vs in row.items()}
        for name, row in found.items()
    }
    lines = [f"| {title} | {' | '.join(columns)} | all |", "|---" * (len(columns) + 2) + "|"]
    for name in methods:
        if name not in found:
            continue
        row, entries = found[name], []
        for kind in columns:
            if kind not in row:
                entries.append("-")
                continue
            text = _figure([float(np.mean(values)) for values in row[kind].values()])
            best = (min if title in LESS_IS_BETTER else max)(
                each[kind] for each in means.values() if kind in each
            )
            entries.append(f"**{text}**" if means[name][kind] == best else text)
        every = [float(np.mean(v)) for volumes in row.values() for v in volumes.values()]
        whole = all(kind in row for kind in columns)
        lines.append(
            f"| {METHODS[name].title if name in METHODS else name} | {' | '.join(entries)} | "
            f"{_figure(every) if whole else '-'} |"
        )
    return "\n".join(lines)


def _figure(values: Sequence[float]) -> str:
    text = (
        f"{np.mean(values):.3f}".replace("0.", ".", 1)
        if abs(np.mean(values)) < 1
        else (f"{np.mean(values):.3f}")
    )
    if len(values) < LEAST_VOLUMES:
        return text
    low, high = interval(values)
    return f"{text} ({low:.2f} to {high:.2f})".replace("0.", ".")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles) of the mean over volumes."""
    drawn = np.random.default_rng(0).choice(values, (RESAMPLES, len(values)))
    low, high = np.percentile(drawn.mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def _path(*keys: str | int) -> Pick:
    def pick(cell: Cell) -> float | None:
        value: Any = cell
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError):
                return None
        return None if value is None else float(value)

    return pick


def _mean_of(part: str, *keys: str) -> Pick:
    """Mean over the targets of a part."""

    def pick(cell: Cell) -> float | None:
        values = [each[key] for each in cell.get(part, {}).values() for key in keys]
        return float(np.mean(values)) if values else None

    return pick


TABLES: dict[str, dict[str, Pick]] = {
    "best": {"best class, mean of targets": _mean_of("best", "dice")},
    "levels": {
        f"level {level + 1}, k = its number of classes": _path("levels", level, "same")
        for level in range(3)
    }
    | {"level 2, best k": _path("levels", 1, "best")},
    "information": {
        "random forest": _path("information", "forest"),
        "logistic regression": _path("information", "logistic"),
    },
    "strokes": {f"{count} strokes": _path("strokes", str(count)) for count in (3, 10, 30)},
    "objects": {
        "F1": _path("objects", "f1"),
        "precision": _path("objects", "precision"),
        "recall": _path("objects", "recall"),
    },
    "thin": {
        "boundary F1 within 1 voxel": _mean_of("thin", "boundary_f1"),
        "within 2 voxels": _mean_of("thin", "boundary_f1_2"),
        "surface Dice within 1 voxel": _mean_of("thin", "surface_dice"),
        "centre-line recall": _mean_of("thin", "centreline_recall"),
    },
    "bodies": {
        "adjusted Rand index": _path("bodies", "rand"),
        "variation of information, split [bits]": _path("bodies", "voi_split"),
        "variation of information, merge [bits]": _path("bodies", "voi_merge"),
    },
}
LESS_IS_BETTER = (
    "variation of information, split [bits]",
    "variation of information, merge [bits]",
)
