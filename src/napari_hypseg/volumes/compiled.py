"""Loops that numba compiles, kept on disk for the next start where there is a place for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

from .limits import free_address_space, in_words

__all__ = ["compiled"]

# What the compiler and the threads' stacks took of a process; with less the compiler ends it.
_COMPILER, _THREAD = 1.2e9, 0.14e9

if (left := free_address_space()) < (
    needed := _COMPILER + _THREAD * (numba.config.NUMBA_NUM_THREADS - 1)  # type: ignore[attr-defined]
):
    raise MemoryError(
        f"the process may take {in_words(left)} more, {in_words(needed)} are needed to begin with: "
        "raise its limit (ulimit -v)"
    )

F = TypeVar("F", bound=Callable[..., Any])


def compiled(*signature: Any, **options: Any) -> Callable[[F], F]:
    """`numba.njit` without Python's lock, cached where the package's folder or HOME can be written.

    Numba refuses ``cache=True`` where neither can; these functions are then compiled at every
    start. No other folder is tried: its cache is pickles, which a stranger could have put there.

    Parameters
    ----------
    *signature, **options
        As `numba.njit` takes them.
    """
    jit: Any = numba.njit

    def decorate(function: F) -> F:
        try:
            made: F = jit(*signature, nogil=True, cache=True, **options)(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            made = jit(*signature, nogil=True, **options)(function)
        return made

    return decorate
