"""`hypseg`: the command line."""

from __future__ import annotations

import warnings

import typer

from napari_hypseg.cli.commands import app

__all__ = ["app", "main"]


def main() -> None:
    """Run `hypseg`: errors that a person can act on become one line and exit code 1."""

    def warn(message: Warning | str, *_: object, **__: object) -> None:
        typer.echo(f"hypseg: warning: {message}", err=True)

    warnings.showwarning = warn
    try:
        app()
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        typer.echo(f"hypseg: {message}", err=True)
        raise SystemExit(1) from None
