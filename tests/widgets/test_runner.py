"""Jobs in threads: results on the main thread and in order, stops, failures, successors."""

from __future__ import annotations

import threading
import time

import pytest

from .conftest import need_gui

need_gui()

from napari_hypseg.jobs import Progress  # noqa: E402
from napari_hypseg.widgets.runner import JobRunner  # noqa: E402


@pytest.fixture
def runner(qtbot):
    runner = JobRunner()
    yield runner
    runner.leave()


def steps(n, seconds=0.01, error=None):
    for i in range(n):
        time.sleep(seconds)
        yield Progress("counting", i, n)
    if error is not None:
        raise error
    return n


def test_results_come_on_the_main_thread_and_in_order(qtbot, runner):
    got = []
    runner.start("counting", steps(3), lambda n: got.append((n, threading.current_thread())))
    with pytest.raises(RuntimeError, match="counting is still running"):
        runner.start("more", steps(3), got.append)
    qtbot.waitUntil(lambda: not runner.title)
    assert got == [(3, threading.main_thread())]


def test_a_flood_of_reports_drowns_nothing(qtbot, viewer, runner):
    """napari handles waiting events while it moves its bar: reports must not pile up there."""

    def flood():
        for i in range(20_000):
            yield Progress("counting", i, 20_000)
        return "done"

    got, told = [], []
    runner.progressed.connect(lambda progress, _: told.append(progress.done))
    runner.start("counting", flood(), got.append)
    qtbot.waitUntil(lambda: not runner.title)
    assert got == ["done"]
    assert told == sorted(told)
    assert len(told) < 1000


@pytest.mark.parametrize("error", [ValueError("too\nsmall"), RuntimeError("too small")])
def test_an_error_becomes_a_sentence(qtbot, runner, error):
    got, failures = [], []
    runner.failed.connect(lambda sentence, details: failures.append((sentence, details)))
    runner.start("counting", steps(1, error=error), got.append)
    qtbot.waitUntil(lambda: not runner.title)
    assert got == []
    assert failures[0][0] == "too small"
    assert "Traceback" in failures[0][1]


def test_a_superseded_job_gives_nothing_and_the_next_follows_it(qtbot, runner):
    got, ends = [], []

    def slow():
        try:
            yield from steps(1000)
        finally:
            ends.append("slow")

    def quick():
        ends.append("quick")
        yield Progress("counting", 0, 1)
        return "quick"

    runner.stopped.connect(got.append)
    runner.start("slow", slow(), got.append)
    qtbot.waitUntil(lambda: runner.latest is not None)
    runner.supersede()
    # Of two that wait for its end, the last.
    runner.start("never", steps(5), got.append)
    runner.start("quick", quick(), got.append)
    assert runner.title == "quick"
    qtbot.waitUntil(lambda: not runner.title)
    assert got == ["quick"]
    assert ends == ["slow", "quick"]


def test_stop_takes_away_what_waits(qtbot, runner):
    got = []
    runner.start("slow", steps(1000), got.append)
    runner.supersede()
    runner.start("next", steps(5), got.append)
    runner.stop()
    qtbot.waitUntil(lambda: not runner.title)
    assert got == []


def test_nothing_is_announced_once_the_window_is_gone(qtbot, runner):
    got = []
    runner.start("slow", steps(1000), got.append)
    for signal in (runner.changed, runner.stopped, runner.progressed):
        signal.connect(lambda *_: got.append("told"))
    runner.leave()
    names = lambda: [t.name for t in threading.enumerate()]  # noqa: E731
    qtbot.waitUntil(lambda: "hypseg" not in names())
    qtbot.wait(50)
    assert got == []
