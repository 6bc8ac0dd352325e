"""Threads that a window starts: none outlives Python, none is torn down in the middle."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

__all__ = ["run_in_thread"]

# What runs now, with what asks it to stop.
_RUNNING: dict[threading.Thread, Callable[[], object]] = {}


def run_in_thread(
    work: Callable[[], object], stop: Callable[[], object] = lambda: None
) -> threading.Thread:
    """Run a function in a thread that Python waits for at its end.

    Not Qt's pool: at the end of a script that closes its window at once, Qt takes away the objects
    by which a worker there tells that it is done, and the process aborts.

    Parameters
    ----------
    work : callable
        It may not raise.
    stop : callable, optional
        Asks it to come to an end, when Python does.
    """

    def run() -> None:
        try:
            work()
        finally:
            _RUNNING.pop(thread, None)

    # A daemon: Python would wait for others before `_end` could ask them to stop.
    thread = threading.Thread(target=run, name="hypseg", daemon=True)
    _RUNNING[thread] = stop
    thread.start()
    return thread


@atexit.register
def _end() -> None:
    for stop in list(_RUNNING.values()):
        stop()
    for thread in list(_RUNNING):
        thread.join()
