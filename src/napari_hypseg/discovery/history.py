"""The `History` of a partition: what was done to it, to be undone and redone."""

from __future__ import annotations

from napari_hypseg.discovery.partition import Partition

__all__ = ["History"]

# Steps that can be undone.
_STEPS = 200


class History:
    """Partitions one after the other, and the one that is there now.

    Attributes
    ----------
    now : Partition
    """

    def __init__(self, first: Partition) -> None:
        self._all = [first]
        self._at = 0
        self._sliding = False

    @property
    def now(self) -> Partition:
        """The partition that is there now."""
        return self._all[self._at]

    @property
    def can_undo(self) -> bool:
        """Whether there was another before."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a step has been undone."""
        return self._at < len(self._all) - 1

    def add(self, partition: Partition) -> None:
        """A step; what had been undone is gone."""
        self._all = [*self._all[: self._at + 1], partition][-_STEPS:]
        self._at = len(self._all) - 1
        self._sliding = False

    def slide(self, partition: Partition) -> None:
        """Part of a step that goes on until `rest`: one drag of a slider is one step."""
        if self._sliding:
            self._all[-1] = partition
        else:
            self.add(partition)
            self._sliding = True

    def rest(self) -> None:
        """The slider rests: the next slide is another step."""
        self._sliding = False

    def undo(self) -> None:
        """Go one step back, if there is one."""
        self._at = max(self._at - 1, 0)
        self._sliding = False

    def redo(self) -> None:
        """Take back the last `undo`."""
        self._at = min(self._at + 1, len(self._all) - 1)
        self._sliding = False
