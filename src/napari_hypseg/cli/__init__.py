"""`hypseg`: the command line."""

from __future__ import annotations

TYPE_CHECKING = False  # Not from typing: nothing is imported before Ctrl-C is told.
if TYPE_CHECKING:
    from types import FrameType

__all__ = ["main"]

# Errors that a person can act on, and how the libraries call too little memory.
_MEANT = (ValueError, OSError, RuntimeError, MemoryError)
_NO_MEMORY = ("allocate memory", "Cannot allocate", "can't start new thread", "bad_alloc",
              "failed to map segment", "Unable to allocate", "out of memory")  # fmt: skip


def main() -> None:
    """Run `hypseg`: errors that a person can act on become one line and exit code 1."""
    # Imported here and later, not above: what is pressed meanwhile then ends in a line as well.
    import os
    import signal
    import sys
    import warnings

    stopped = False

    def stop(_number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        while frame is not None:
            if frame.f_code.co_filename.startswith("<frozen importlib"):
                # A library is being imported. What is raised in the C++ of one aborts the process;
                # and no import is in the middle of writing.
                say("stopped")
                sys.stderr.flush()
                os._exit(130)
            frame = frame.f_back
        raise KeyboardInterrupt

    def warn(message: Warning | str, *_: object, **__: object) -> None:
        say(f"warning: {message}")

    def say(words: str) -> None:
        # File names may hold what no encoding has.
        line = f"hypseg: {words}\n".encode(errors="backslashreplace").decode()
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding))

    # Not where a shell started it in the background: there Ctrl-C is meant for others.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
    warnings.showwarning = warn
    try:
        from napari_hypseg.cli.commands import app

        app()
    except KeyboardInterrupt:
        say("stopped")
        raise SystemExit(130) from None
    except SystemExit as end:
        # So typer ends what Ctrl-C stopped, without a word.
        if end.code == 130:
            say("stopped")
        raise
    except Exception as error:
        # Libraries that are being imported make errors of their own of Ctrl-C.
        if stopped:
            say("stopped")
            raise SystemExit(130) from None
        message = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, MemoryError) or any(words in message for words in _NO_MEMORY):
            say(f"there is too little memory ({message[:200]})")
        elif isinstance(error, _MEANT):
            say(message)
        else:
            raise
        raise SystemExit(1) from None
