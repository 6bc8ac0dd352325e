"""The tables of the papers' tables, made from its cells: one for people, one for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_hypseg.volumes.atomic import replacing
from papers.claims import CLAIMS, answer

__all__ = ["read_cells", "summarise", "write_tables"]

Cell = dict[str, Any]
Row = dict[str, Any]

MODES = {
    "untrained": "Without training",
    "inductive": "Inductive: trained on other volumes",
    "transductive": "Transductive: trained on the volume itself",
    "beside": "Inductive, on the volumes of the transductive rows only",
}
LEVEL_SCORES = {
    "dice": "Dice, all classes (the protocol of CIHS)",
    "dice_foreground": "Dice without the background",
    "dice_objects": "Dice of the objects only",
    "rand": "Adjusted Rand index",
    "voi_split": "Variation of information, split [bits]",
    "voi_merge": "Variation of information, merge [bits]",
    "hausdorff_average": "Hausdorff, average [nm]",
    "hausdorff_95": "Hausdorff, 95 % [nm]",
}
CLASS_SCORES = {
    "dice": "Dice of the best label",
    "dice_matched": "Dice of the matched label",
    "rand": "Adjusted Rand index",
    "hausdorff_average": "Hausdorff, average [nm]",
    "hausdorff_95": "Hausdorff, 95 % [nm]",
}
# In nm. Where distances reach a tenth of it, tables give them in mm: a brain is no tomogram.
_MM = 1e6


def read_cells(folder: Path) -> list[Cell]:
    """All cells of a folder; one that is damaged is left out, since it will be run again."""
    cells = []
    for path in sorted((folder / "cells").glob("*.json")):
        try:
            cells.append(json.loads(path.read_text()))
        except ValueError:
            continue
    return cells


def summarise(cells: Sequence[Cell], order: Iterable[str]) -> list[Row]:
    """One row for each mode and method.

    Each score is averaged over the volumes of a seed first; ``mean`` and ``sd`` are those of the
    seeds, as in the papers ("four independent runs"); ``sd`` is None with one seed only. A seed
    that has scored fewer volumes than another does not count: its mean is of other data.
    """
    rows = []
    for mode in MODES:
        for name in order:
            mine = [c for c in cells if c["method"] == name and c["mode"] == mode]
            if not mine:
                continue
            good = [c for c in mine if "scores" in c]
            scored = Counter(c["seed"] for c in good)
            most = max(scored.values(), default=0)
            seeds = sorted(seed for seed in scored if scored[seed] == most)
            good = [c for c in good if c["seed"] in seeds]
            row: Row = {
                "mode": mode,
                "method": name,
                "title": mine[0]["title"],
                "seeds": len(seeds),
                "volumes": len({c["volume"] for c in good}),
                "errors": sorted({c["error"] for c in mine if "error" in c}),
                "fit_seconds": _mean([c["fit_seconds"] for c in good]),
                "seconds": _mean([c["seconds"] for c in good]),
                "scores": {},
            }
            questions = list(good[0]["scores"]) if good else []
            for question in questions:
                row["scores"][question] = {}
                for score in good[0]["scores"][question]:
                    means = [
                        _mean([c["scores"][question][score] for c in good if c["seed"] == seed])
                        for seed in seeds
                    ]
                    known = [m for m in means if m is not None]
                    row["scores"][question][score] = {
                        "mean": _mean(known),
                        "sd": float(np.std(known, ddof=1)) if len(known) > 1 else None,
                    }
            rows.append(row)
    return rows


def write_tables(folder: Path, name: str, order: Iterable[str]) -> None:
    """Write ``table.json`` and ``table.md`` of all cells that are there."""
    cells = read_cells(folder)
    rows = summarise([*cells, *_beside(cells)], order)
    with replacing(folder / "table.json") as path:
        path.write_text(json.dumps({"data": name, "rows": rows}, indent=1, allow_nan=False))
    with replacing(folder / "table.md") as path:
        path.write_text("\n".join([*_lines(name, rows), *_claims(cells)]) + "\n")


def _beside(cells: Sequence[Cell]) -> list[Cell]:
    """The inductive cells of methods and volumes that have transductive ones, to compare."""
    own = {(c["method"], c["volume"]) for c in cells if c["mode"] == "transductive"}
    return [
        {**c, "mode": "beside"}
        for c in cells
        if c["mode"] == "inductive" and "scores" in c and (c["method"], c["volume"]) in own
    ]


def _lines(name: str, rows: Sequence[Row]) -> list[str]:
    lines = [
        f"# Benchmark: {name}", "",
        "Mean over the test volumes; with several seeds, mean and standard deviation of the "
        "seeds' means.",
    ]  # fmt: skip
    good = [row for row in rows if row["scores"]]
    questions = list(good[0]["scores"]) if good else []
    by_level = bool(questions) and questions[0].startswith("level")
    titles = LEVEL_SCORES if by_level else CLASS_SCORES
    for mode, heading in MODES.items():
        mine = [row for row in good if row["mode"] == mode]
        if not mine:
            continue
        lines += ["", f"## {heading}"]
        for score, title in titles.items():
            table = [[row["scores"][q].get(score) for q in questions] for row in mine]
            unit = 1.0
            if title.endswith("[nm]") and any(_large(f) for row in table for f in row):
                title, unit = title.replace("[nm]", "[mm]"), _MM
            lines += ["", f"### {title}", ""]
            columns = questions if by_level or score != "dice" else ["best", *questions]
            lines.append(f"| method | {' | '.join(columns)} | seeds | volumes | fit | a volume |")
            lines.append("|---" * (len(columns) + 5) + "|")
            for row, figures in zip(mine, table, strict=True):
                if columns is not questions:
                    # Of all k, the same one for all volumes and seeds.
                    figures.insert(0, max(figures, key=lambda figure: figure["mean"]))
                values = [_figure(figure, unit) for figure in figures]
                lines.append(
                    f"| {row['title']} | {' | '.join(values)} | {row['seeds']} | {row['volumes']} "
                    f"| {row['fit_seconds']:.0f} s | {row['seconds']:.0f} s |"
                )
    failed = [row for row in rows if row["errors"]]
    if failed:
        lines += ["", "## Failed", ""]
        lines += [f"- {r['title']} ({r['mode']}): {'; '.join(r['errors'])}" for r in failed]
    return lines


def _claims(cells: Sequence[Cell]) -> list[str]:
    """What the cells say about the papers' claims, for the data that have levels."""
    lines: list[str] = []
    known = [c for c in cells if "scores" in c and "level 1" in c["scores"]]
    questions = list(known[0]["scores"]) if known else []
    # What is trained on the volume itself is another method here: compared with the same one.
    own = [c for c in known if c["mode"] == "transductive"]
    known += [{**c, "method": f"{c['method']} (own)", "mode": "inductive"} for c in own]
    titles = {c["method"]: c["title"] for c in own}
    both = [(f"{title}: inductive < transductive", m, f"{m} (own)") for m, title in titles.items()]
    for title, lesser, better in (*CLAIMS, *both):
        answers = [answer(known, lesser, better, question, "dice") for question in questions]
        found = [a for a in answers if a is not None]
        if found:
            figures = [
                f"{a.difference:+.3f} ± {a.margin:.3f} "
                f"({'?' if a.seed_margin is None else f'{a.seed_margin:.3f}'}), {a.verdict}"
                for a in found
            ]
            seeds = " and ".join(map(str, found[0].seeds))
            lines.append(f"| {title} | {' | '.join(figures)} | {found[0].volumes} | {seeds} |")
    if not lines:
        return []
    return [
        "", "## Does it hold?", "",
        "Difference in Dice (all classes), right less left, with its 95 % interval over volumes "
        "and, in brackets, over seeds (? with one training only).",
        "",
        f"| claim | {' | '.join(questions)} | volumes | seeds |",
        "|---" * (len(questions) + 3) + "|", *lines,
    ]  # fmt: skip


def _figure(value: dict[str, float | None] | None, unit: float) -> str:
    if value is None or value["mean"] is None:
        return "-"
    text = f"{value['mean'] / unit:.3f}"
    return text if value["sd"] is None else f"{text} ± {value['sd'] / unit:.3f}"


def _large(value: dict[str, float | None] | None) -> bool:
    return value is not None and value["mean"] is not None and value["mean"] >= _MM / 10


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
