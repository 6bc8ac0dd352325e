"""`python -m papers DATA --out DIR`: the papers' baselines and ours on the papers' data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from napari_hypseg.jobs import finish
from papers.cells import papers_job
from papers.methods import METHODS
from papers.questions import DataName


def main() -> None:
    """Make the tables; stopped in the middle, the same command goes on where it was."""
    parser = argparse.ArgumentParser(prog="python -m papers", description=__doc__)
    parser.add_argument("data", choices=get_args(DataName))
    parser.add_argument("--out", type=Path, required=True, help="folder for everything made")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=[], help="all without")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each method")
    parser.add_argument("--quick", action="store_true", help="few volumes and steps: that it runs")
    parser.add_argument("--data-folder", type=Path, help="folder of the real sample")
    given = parser.parse_args()
    job = papers_job(
        given.data, given.out, methods=given.methods, seeds=given.seeds, quick=given.quick,
        data=given.data_folder,
    )  # fmt: skip
    table = finish(job, lambda step: print(step.stage, step.done, step.total, file=sys.stderr))
    print(table.read_text(), end="")


if __name__ == "__main__":
    main()
