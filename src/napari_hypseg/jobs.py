"""Long work as generators: a job yields `Progress` and returns its result."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

__all__ = ["Job", "Progress", "finish"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has come.

    Attributes
    ----------
    stage : str
        What is being done, in a word or two that a person reads ("training").
    done, total : int
        Units of work done and in all; ``total`` is 0 while it is unknown.
    values : mapping of str to float
        Live figures of the job, such as ``{"loss": 512.3}``.
    partial : object, optional
        What the job has found so far, to be shown while it works; each job says of what type.
    """

    stage: str
    done: int
    total: int
    values: Mapping[str, float] = field(default_factory=dict)
    partial: object | None = None

    @property
    def fraction(self) -> float:
        """Fraction done, 0 to 1 (0 while the total is unknown)."""
        return self.done / self.total if self.total else 0.0


Job: TypeAlias = Generator[Progress, None, T]


def finish(job: Job[T], on_progress: Callable[[Progress], object] | None = None) -> T:
    """Run a job to its end and give its result.

    Parameters
    ----------
    job : generator of Progress
        The job; its return value is the result.
    on_progress : callable, optional
        Called with every `Progress`.

    Examples
    --------
    >>> def count(n):
    ...     for i in range(n):
    ...         yield Progress("counting", i + 1, n)
    ...     return n
    >>> finish(count(3))
    3
    """
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            result: T = end.value
            return result
        if on_progress is not None:
            on_progress(progress)
