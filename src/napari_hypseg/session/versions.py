"""The models of a session: each training makes a new one, none is ever overwritten."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from napari_hypseg.model import Model, ModelError, load_model

__all__ = ["Versions"]

_FINISHED = re.compile(r"(\d{4,})\.hypseg")
_BEGUN = re.compile(r"(\d{4,})\.part")


@dataclass(frozen=True)
class Versions:
    """Numbered models in a folder, from 1 on.

    Parameters
    ----------
    folder : Path
        ``models`` in the session's; made when the first model is kept.
    """

    folder: Path

    @property
    def numbers(self) -> list[int]:
        """Numbers of the finished models."""
        return self._numbers(_FINISHED)

    def _numbers(self, names: re.Pattern[str]) -> list[int]:
        if not self.folder.is_dir():
            return []
        found = (names.fullmatch(path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in found if match)

    @property
    def next(self) -> int:
        """Number of the next model; that of a training that was stopped stays free for it."""
        return max([*self.numbers, *self._numbers(_BEGUN)], default=0) + 1

    def path(self, number: int) -> Path:
        """File of a model."""
        return self.folder / f"{number:04d}.hypseg"

    def checkpoint(self, number: int) -> Path:
        """File of the training that will give a model, while it is not finished."""
        return self.folder / f"{number:04d}.part"

    def load(self, number: int) -> Model:
        """A model.

        Raises
        ------
        ModelError
            If its file is missing or damaged.
        """
        return load_model(self.path(number))

    def number_of(self, fingerprint: str) -> int | None:
        """Number of the model with a fingerprint, if it is there."""
        for number in reversed(self.numbers):
            path = self.path(number)
            if _fingerprint(path, path.stat().st_mtime_ns) == fingerprint:
                return number
        return None

    def keep(self, model: Model) -> int:
        """Keep a model, unless it is there already; its number."""
        number = self.number_of(model.fingerprint())
        if number is None:
            number = self.next
            self.folder.mkdir(parents=True, exist_ok=True)
            model.save(self.path(number))
        return number


@functools.lru_cache(maxsize=64)
def _fingerprint(path: Path, _written: int) -> str | None:
    """Fingerprint of the model in a file, as it was written at a time."""
    try:
        return load_model(path).fingerprint()
    except ModelError:
        return None
