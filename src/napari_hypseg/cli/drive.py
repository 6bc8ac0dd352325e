"""Runs a job where a person looks at a terminal: a progress bar, and Ctrl-C."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, TypeVar

import typer

if TYPE_CHECKING:
    from napari_hypseg.jobs import Job

__all__ = ["drive"]

T = TypeVar("T")


def drive(job: Job[T]) -> T:
    """Run a job with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from napari_hypseg.jobs import Progress as Step
    from napari_hypseg.jobs import finish

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<20}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[values]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(step: Step) -> None:
            if step.stage not in tasks:
                if not console.is_terminal:
                    console.print(step.stage, highlight=False)
                tasks[step.stage] = bars.add_task(step.stage, values="")
            loss = step.values.get("total")
            values = "" if loss is None else f"loss {loss:.1f}"
            bars.update(
                tasks[step.stage], completed=step.done, total=step.total or None, values=values
            )

        # `kill` as Ctrl-C, which what a shell starts in the background ignores.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            return finish(job, show)
        except KeyboardInterrupt:
            job.close()
            bars.stop()
            typer.echo("hypseg: stopped; the same command goes on from here", err=True)
            raise typer.Exit(1) from None
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
