"""Taking turns: candidates measured alternately in one process, and the table of the outcome."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

__all__ = ["Row", "machine", "show", "take_turns"]


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes
    ----------
    table, what : str
        Which comparison, and which candidate.
    value : float
        Median of the rounds.
    unit : str
        Of the value.
    ratio : float or None
        To the first candidate of its table: how many times as fast.
    """

    table: str
    what: str
    value: float
    unit: str
    ratio: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def take_turns(
    table: str,
    candidates: Mapping[str, tuple[Callable[[], object], float]],
    unit: str,
    rounds: int,
) -> list[Row]:
    """Rows of rates: amounts of work by the median of the seconds that they take.

    Parameters
    ----------
    candidates : mapping of str to (callable, float)
        What to run, and how much work that is. All take turns; a round before the first warms up.

    Notes
    -----
    With one thread (``OMP_NUM_THREADS=1``) the seconds are the processor's, which other work on the
    machine prolongs far less than those on the wall.
    """
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    clock = time.process_time if alone else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in range(rounds + 1):
        for name, (run, _) in candidates.items():
            began = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_:
                seconds[name].append(clock() - began)
    rates = {n: work / statistics.median(seconds[n]) for n, (_, work) in candidates.items()}
    first = next(iter(rates.values()))
    return [Row(table, name, rate, unit, rate / first) for name, rate in rates.items()]


def machine() -> dict[str, Any]:
    """What it was measured on."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((s.split(":")[1].strip() for s in lines if s.startswith("model name")), name)
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bfloat16": [k for k in ("avx512_bf16", "amx_bf16") if capabilities.get(k)],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }


def show(rows: list[Row]) -> str:
    """The rows as a table for reading, in Markdown."""
    lines, table = [], None
    for row in rows:
        if row.table != table:
            table = row.table
            lines += ["", f"| {table} | | |", "|---|---:|---:|"]
        ratio = "" if row.ratio is None else f"{row.ratio:,.2f} x"
        value = f"{row.value:,.0f}" if row.value >= 1000 else f"{row.value:.4g}"
        lines.append(f"| {row.what} | {value} {row.unit} | {ratio} |")
    return "\n".join(lines[1:])
