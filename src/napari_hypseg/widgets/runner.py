"""Running one job at a time in a thread, with progress, Stop, and results on the main thread."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import cancelable_progress
from qtpy.QtCore import QObject, Signal

from napari_hypseg.jobs import Job, Progress
from napari_hypseg.widgets.loading import load_torch
from napari_hypseg.widgets.settings import read_settings

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


class _Run(QObject):
    """One job under way. Its slots run on the main thread, where it was made."""

    progressed = Signal(object)
    cancelled = Signal()
    finished = Signal(object)

    def __init__(self, title: str, job: Job[Any], on_done: Callable[[Any], None]) -> None:
        super().__init__()
        self.title = title
        self.on_done = on_done
        self.stopping = False
        # Set when what it works on has been replaced: then nobody wants its result.
        self.superseded = False
        # Empty until the job has ended by itself: then its result or its failure.
        self.outcome: list[Any] = []
        self._job = job
        # In napari's own window of activities, where it can be cancelled too.
        self._showing = False
        self._activity = cancelable_progress(desc=title, total=0, gui=True)
        self.worker = create_worker(self._drive, _start_thread=False)
        self.worker.yielded.connect(self._on_yielded)
        self.worker.finished.connect(self._on_finished)

    def _drive(self) -> Generator[Progress, None, None]:
        torch = load_torch()
        # One processor is left for the window; threads are counted for each thread anew.
        usual = min(torch.get_num_threads(), max(1, (os.cpu_count() or 2) - 1))
        torch.set_num_threads(read_settings().threads or usual)
        try:
            told, stage = 0.0, ""
            while not self.stopping:
                progress = next(self._job)
                now = time.monotonic()
                # A window that is told more often than it can draw stands still.
                if now - told >= _TELL_EVERY or progress.partial or progress.stage != stage:
                    yield progress
                    told, stage = time.monotonic(), progress.stage
            # Here and not on the main thread: a training writes down how far it is.
            self._job.close()
        except StopIteration as end:
            self.outcome.append(end.value)
        # The worker would drop some errors and raise others in the middle of the window.
        except Exception as error:
            sentence = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, MemoryError):
                sentence = "there is not enough memory for this"
            self.outcome.append(_Failure(sentence, traceback.format_exc()))

    def _on_yielded(self, progress: Progress) -> None:
        if self._activity.is_canceled:
            self.cancelled.emit()
        elif progress.total and not self._showing:
            # napari handles all waiting events at each change, further reports among them.
            self._showing = True
            if self._activity.total != _PARTS:
                self._activity.total = _PARTS
            gained = round(_PARTS * progress.fraction) - self._activity.n
            if gained:
                self._activity.update(gained)
            self._showing = False
        self.progressed.emit(progress)

    def _on_finished(self) -> None:
        # napari stops workers when it is closed.
        self._job.close()
        self._activity.close()
        self.finished.emit(self)


class JobRunner(QObject):
    """Runs the package's jobs one after the other.

    A job that is stopped goes on to its next report; until then no other can start, so two never
    write to one place. What a job gives after it was superseded is dropped.

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
    """

    changed = Signal()
    progressed = Signal(object, str)
    failed = Signal(str, str)
    stopped = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._run: _Run | None = None
        self._stage: tuple[str, float, float] = ("", 0.0, 0.0)

    @property
    def title(self) -> str:
        """What is running, in a word or two; empty if nothing is."""
        return self._run.title if self._run else ""

    @property
    def wait(self) -> str:
        """Why nothing else can start now; empty if something can."""
        return f"Wait until this is done, or stop it: {self.title}" if self.title else ""

    @property
    def stopping(self) -> bool:
        """Whether the running job has been asked to stop."""
        return self._run is not None and self._run.stopping

    def start(self, title: str, job: Job[Any], on_done: Callable[[Any], None]) -> None:
        """Run a job; ``on_done`` gets its result on the main thread.

        Raises
        ------
        RuntimeError
            If one is running already.
        """
        if self._run is not None:
            raise RuntimeError(f"{self._run.title} is still running")
        self._stage = ("", 0.0, 0.0)
        self._run = _Run(title, job, on_done)
        self._run.progressed.connect(self._on_progress)
        self._run.cancelled.connect(self.stop)
        self._run.finished.connect(self._on_finished)
        self._run.worker.start()
        self.changed.emit()

    def stop(self) -> None:
        """Ask the running job to stop; it does at its next report."""
        if self._run is not None and not self._run.stopping:
            self._run.stopping = True
            self.changed.emit()

    def supersede(self) -> None:
        """Stop the running job and drop what it may still give."""
        if self._run is not None:
            self._run.superseded = True
            self.stop()

    def abandon(self) -> None:
        """Stop the running job when the window is gone: nothing is announced any more."""
        if self._run is not None:
            self._run.superseded = self._run.stopping = True

    def _on_progress(self, progress: Progress) -> None:
        if self._run is None or self._run.superseded:
            return
        now = time.monotonic()
        if progress.stage != self._stage[0]:
            self._stage = (progress.stage, now, progress.fraction)
        _, began, first = self._stage
        gained = progress.fraction - first
        left = time_left((now - began) * (1 - progress.fraction) / gained) if gained > 0 else ""
        self.progressed.emit(progress, left if now - began > 1 else "")

    def _on_finished(self, run: _Run) -> None:
        self._run = None
        # Taken out: napari's worker keeps the run, and so what a volume takes in memory.
        outcome, run.outcome = run.outcome, []
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
