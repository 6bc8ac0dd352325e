"""`python -m benchmarks.quality --out DIR`: methods on volumes with truth, in five tables.

What is in DIR already is not run again. `--page FILE` writes the tables as a page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from benchmarks.quality.cases import CASES, Case, load
from benchmarks.quality.methods import METHODS, Run
from benchmarks.quality.page import page
from benchmarks.quality.protocol import score
from napari_hypseg.volumes.atomic import replacing


def main() -> None:
    """Fill what is missing, then print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--folder", type=Path, default=Path("../shared/data"), help="real data")
    parser.add_argument("--data", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=1, help="of methods that learn")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="volumes side by side")
    parser.add_argument(
        "--quick", action="store_true",
        help="a part of one volume of each kind, a fifth of the steps: that it runs, not how well",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, help="Markdown file to write")
    given = parser.parse_args()
    cells = given.out / ("quick" if given.quick else "full")
    cells.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    Parallel(given.jobs)(
        delayed(_fill)(case, given.methods, given.seeds, given.quick, cells)
        for case in load(given.folder, given.data, quick=given.quick)
    )
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    text = page(cells, list(METHODS), list(CASES))
    print(text)
    if given.page:
        with replacing(given.page) as path:
            path.write_text(text)


def _fill(
    make: Callable[[], Case], methods: Sequence[str], seeds: int, quick: bool, cells: Path
) -> None:
    """Score what is missing of a volume; a method that fails is told, and tried again next time."""
    case = make()
    for seed in range(seeds):
        for name in methods:
            method = METHODS[name]
            cell = cells / f"{case.name}_{name}_{seed}.json"
            if cell.exists() or (seed and not method.learns):
                continue
            print(case.name, name, seed, file=sys.stderr, flush=True)
            try:
                scores = score(case, method, Run(seed, quick))
            except Exception:
                traceback.print_exc()
                continue
            values = {"case": case.name, "data": case.data, "method": name, "seed": seed, **scores}
            with replacing(cell) as path:
                path.write_text(json.dumps(values, default=_plain, allow_nan=False))


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")


if __name__ == "__main__":
    main()
