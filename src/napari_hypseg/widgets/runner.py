"""Running one job at a time in a thread, with progress, Stop, and results on the main thread."""

from __future__ import annotations

import importlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, Signal

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.widgets.settings import read_settings
from napari_hypseg.widgets.threads import run_in_thread

__all__ = ["JobRunner", "time_left"]

# Steps of the bar in napari's window of activities.
_PARTS = 100
# Seconds between reports to the window.
_TELL_EVERY = 0.05


@dataclass(frozen=True)
class _Failure:
    """What a job raised: a sentence for a person, and the rest for whoever wants it."""

    sentence: str
    details: str


@dataclass(eq=False)
class _Run:
    """One job under way."""

    title: str
    job: Job[Any]
    on_done: Callable[[Any], Any]
    # In napari's own window of activities, where it can be cancelled too.
    activity: Any
    # How many processors it may use.
    threads: int
    thread: threading.Thread | None = None
    stopping: bool = False
    # Set when what it works on has been replaced: then nobody wants its result.
    superseded: bool = False
    # Empty until the job has ended by itself: then its result or its failure.
    outcome: list[Any] = field(default_factory=list)
    showing: bool = False


class JobRunner(QObject):
    """Runs the package's jobs one after the other.

    A job that is stopped goes on to its next report; until then no other can start, so two never
    write to one place. What a job gives after it was superseded is dropped, and the one that
    takes its place starts as soon as it has ended.

    Attributes
    ----------
    changed : Signal
        A job has started, is about to stop, or has ended.
    progressed : Signal of Progress, str
        How far it is, and how long it will take in words.
    failed : Signal of str, str
        One sentence, and details.
    stopped : Signal of str
        Title of a job that was stopped.
    latest : tuple of Progress and str, or None
        What `progressed` said last of the running job.
    """

    changed = Signal()
    progressed = Signal(object, str)
    failed = Signal(str, str)
    stopped = Signal(str)
    # From the thread of a job; their slots run on the main thread.
    _told = Signal(object, object)
    _ended = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._run: _Run | None = None
        self._next: tuple[str, Job[Any], Callable[[Any], Any]] | None = None
        self._has_left = False
        self._stage: tuple[str, float, float] = ("", 0.0, 0.0)
        self.latest: tuple[Progress, str] | None = None
        self._told.connect(self._on_told)
        self._ended.connect(self._on_ended)

    @property
    def title(self) -> str:
        """What is running or will in a moment, in a word or two; empty if nothing is."""
        if self._next is not None:
            return self._next[0]
        return self._run.title if self._run else ""

    @property
    def wait(self) -> str:
        """Why nothing else can start now; empty if something can."""
        return f"Wait until this is done, or stop it: {self.title}" if self.title else ""

    @property
    def stopping(self) -> bool:
        """Whether the running job has been asked to stop."""
        return self._run is not None and self._run.stopping and self._next is None

    def start(self, title: str, job: Job[Any], on_done: Callable[[Any], Any]) -> None:
        """Run a job; ``on_done`` gets its result on the main thread.

        Raises
        ------
        RuntimeError
            If one is running already that was not superseded.
        """
        if self._run is not None and not self._run.superseded:
            raise RuntimeError(f"{self._run.title} is still running")
        if self._has_left:
            return
        if self._run is not None:
            self._next = title, job, on_done
            self.changed.emit()
            return
        self._stage, self.latest = ("", 0.0, 0.0), None
        run = _Run(
            title, job, on_done, cancelable_progress(desc=title, total=0, gui=True),
            read_settings().threads,
        )  # fmt: skip
        self._run = run
        run.thread = run_in_thread(lambda: self._drive(run), lambda: setattr(run, "stopping", True))
        self.changed.emit()

    def stop(self) -> None:
        """Ask the running job to stop; it does at its next report."""
        waiting, self._next = self._next, None
        if self._run is not None and (not self._run.stopping or waiting is not None):
            self._run.stopping = True
            self.changed.emit()

    def supersede(self) -> None:
        """Stop the running job and drop what it may still give."""
        if self._run is not None:
            self._run.superseded = True
            self.stop()

    def leave(self) -> None:
        """Stop the running job since the window is gone: nothing is announced any more."""
        self._has_left, self._next = True, None
        if self._run is not None:
            self._run.superseded = self._run.stopping = True

    def _drive(self, run: _Run) -> None:
        """Run a job to its end; in its thread."""
        try:
            torch = importlib.import_module("torch")
            # One processor is left for the window; threads are counted for each thread anew.
            usual = min(torch.get_num_threads(), max(1, (os.cpu_count() or 2) - 1))
            torch.set_num_threads(run.threads or usual)
            told, stage = 0.0, ""
            while not run.stopping:
                progress = next(run.job)
                now = time.monotonic()
                # A window that is told more often than it can draw stands still.
                if now - told >= _TELL_EVERY or progress.partial or progress.stage != stage:
                    self._told.emit(run, progress)
                    told, stage = time.monotonic(), progress.stage
            # Here and not on the main thread: a training writes down how far it is.
            run.job.close()
        except StopIteration as end:
            run.outcome.append(end.value)
        # It would be raised in the middle of the window.
        except Exception as error:
            sentence = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, MemoryError):
                sentence = "there is not enough memory for this"
            run.outcome.append(_Failure(sentence, traceback.format_exc()))
        self._ended.emit(run)

    def _on_told(self, run: _Run, progress: Progress) -> None:
        if run is not self._run or self._has_left:
            return
        if run.activity.is_canceled:
            self.stop()
        elif progress.total and not run.showing:
            # napari handles all waiting events at each change, further reports among them.
            run.showing = True
            if run.activity.total != _PARTS:
                run.activity.total = _PARTS
            gained = round(_PARTS * progress.fraction) - run.activity.n
            if gained:
                run.activity.update(gained)
            run.showing = False
        if not run.superseded:
            self._tell(progress)

    def _tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage[0]:
            self._stage = (progress.stage, now, progress.fraction)
        _, began, first = self._stage
        gained = progress.fraction - first
        left = time_left((now - began) * (1 - progress.fraction) / gained) if gained > 0 else ""
        self.latest = progress, left if now - began > 1 else ""
        self.progressed.emit(*self.latest)

    def _on_ended(self, run: _Run) -> None:
        assert run.thread is not None  # noqa: S101
        # So that no object of Qt is let go by the thread.
        run.thread.join()
        run.activity.close()
        self._run, waiting, self._next, self.latest = None, self._next, None, None
        if self._has_left:
            return
        if waiting is not None:
            self.start(*waiting)
            return
        outcome = run.outcome
        if run.superseded:
            pass
        elif not outcome:
            self.stopped.emit(run.title)
        elif isinstance(outcome[0], _Failure):
            self.failed.emit(outcome[0].sentence, outcome[0].details)
        else:
            run.on_done(outcome[0])
        self.changed.emit()


def time_left(seconds: float) -> str:
    """A duration in words.

    Examples
    --------
    >>> time_left(8), time_left(100), time_left(4000)
    ('8 s', '1 min 40 s', '1 h 06 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
