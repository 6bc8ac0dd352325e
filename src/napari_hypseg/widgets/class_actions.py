"""What can be done with the chosen classes: buttons, context menus and keys share these actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt
from qtpy.QtGui import QAction, QKeySequence
from qtpy.QtWidgets import QInputDialog, QPushButton, QSizePolicy, QWidget

from napari_hypseg.widgets.state import State

if TYPE_CHECKING:
    from napari_hypseg.figures import Partition

__all__ = ["ClassActions"]

_CHOOSE = "Choose a class first: click it in the tree or in the table"


class ClassActions(QObject):
    """Actions on the chosen classes, each enabled when it can be done.

    Parameters
    ----------
    state : State
    home : QWidget
        While the focus is in it, the actions' keys count.
    edit : callable
        Lets a person edit the name of the class with a key.

    Attributes
    ----------
    hide, only, every, name, split, merge, remove, undo, redo : QAction
    """

    def __init__(self, state: State, home: QWidget, edit: Callable[[int], Any]) -> None:
        super().__init__(home)
        self._state, self._home, self._edit = state, home, edit
        self.hide = self._action("Hide", "H", self._hide)
        self.only = self._action("Only", "O", self._only)
        self.every = self._action("All", "A", self._every)
        self.name = self._action("Name", "F2", self._name)
        self.split = self._action("Split", "S", self._split)
        self.merge = self._action("Merge", "M", self._merge)
        self.remove = self._action("Remove", "Del", self._remove)
        # Where a person looks at the voxels these count too; Ctrl+Z is napari's, for painting.
        window = Qt.ShortcutContext.WindowShortcut
        self.undo = self._action("↶", "Alt+Z", state.undo, window)
        self.redo = self._action("↷", "Alt+Shift+Z", state.redo, window)
        for signal in (state.result_changed, state.partition_changed, state.chosen_changed):
            signal.connect(self.refresh)
        self.refresh()

    def of_classes(self) -> list[QAction]:
        """The actions on chosen classes, for a context menu."""
        return [
            self.hide, self.only, self.every, self.name, self.split, self.merge, self.remove
        ]  # fmt: skip

    def button(self, action: QAction) -> QPushButton:
        """A button for an action, no wider than it must be."""
        made = QPushButton()
        made.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        made.clicked.connect(action.trigger)

        def follow() -> None:
            made.setText(action.text())
            made.setEnabled(action.isEnabled())
            made.setToolTip(action.toolTip())

        action.changed.connect(follow)
        follow()
        return made

    def refresh(self) -> None:
        """Let be done what can be, and say of the rest why not."""
        partition, chosen = self._state.partition, self._state.chosen
        if partition is None:
            for action in (*self.of_classes(), self.undo, self.redo):
                self._allow(action, "", "Needs mapped voxels: step 3")
            return
        none = "" if chosen else _CHOOSE
        some = _some(partition, chosen)
        hidden = bool(chosen) and all(map(partition.is_hidden, chosen))
        self.hide.setText("Show" if hidden else "Hide")
        self._allow(self.hide, f"{'Show' if hidden else 'Hide'} {some}", none)
        self._allow(self.only, f"Show {some} and hide everything else", none)
        any_hidden = "" if partition.hidden else "Nothing is hidden"
        self._allow(self.every, "Show everything", any_hidden)
        branch = self._branch(partition)
        no_branch = "Choose one class, or all classes of one branch"
        self._allow(
            self.name,
            f"Name {some}: the name stays with the branch when the number of classes changes",
            none or ("" if branch is not None else no_branch),
        )
        leaf = "This is a leaf of the tree: it has no parts"
        can = any(map(partition.can_split, chosen))
        self._allow(self.split, f"Split {some} in two, as the tree does", none or leaf * (not can))
        merged = self._merged(partition)
        count = 0 if merged is None else len(partition.classes_in(merged))
        nothing = "There is nothing to merge this with"
        self._allow(
            self.merge,
            f"Merge {some}: the lowest branch that holds them has {count} classes",
            none or nothing * (count < 2),
        )
        drawn = any(key < 0 for key in chosen)
        not_drawn = "Only a class that you drew can be removed: hide or merge it"
        self._allow(self.remove, f"Remove {some}", none or not_drawn * (not drawn))
        self._allow(self.undo, "Undo the last change of the classes",
                    "" if self._state.can_undo else "Nothing to undo")  # fmt: skip
        self._allow(self.redo, "Redo what was undone",
                    "" if self._state.can_redo else "Nothing to redo")  # fmt: skip

    # -- what the actions do

    def _partition(self) -> Partition:
        partition = self._state.partition
        assert partition is not None  # noqa: S101
        return partition

    def _hide(self) -> None:
        partition, chosen = self._partition(), self._state.chosen
        hidden = all(map(partition.is_hidden, chosen))
        self._state.change(partition.show(*chosen) if hidden else partition.hide(*chosen))

    def _only(self) -> None:
        self._state.change(self._partition().only(*self._state.chosen))

    def _every(self) -> None:
        self._state.change(self._partition().show())

    def _name(self) -> None:
        partition, chosen = self._partition(), self._state.chosen
        if len(chosen) == 1:
            self._edit(chosen[0])
            return
        branch = self._branch(partition)
        assert branch is not None  # noqa: S101
        name, accepted = QInputDialog.getText(
            self._home, "Name a branch",
            f"Name of the branch of {_some(partition, chosen)}, seen when they are merged:",
            text=partition.names.get(branch, ""),
        )  # fmt: skip
        if accepted:
            self._state.change(partition.rename(branch, name))

    def _split(self) -> None:
        partition, chosen = self._partition(), self._state.chosen
        split = partition
        for key in filter(partition.can_split, chosen):
            split = split.split(key)
        parts = [part for key in chosen if key >= 0 for part in split.classes_in(key)]
        self._state.change(split, parts)

    def _merge(self) -> None:
        merged = self._merged(self._partition())
        assert merged is not None  # noqa: S101
        self._state.change(self._partition().merge(merged), [merged])

    def _remove(self) -> None:
        partition = self._partition()
        for key in self._state.chosen:
            partition = partition.remove_own(key)
        self._state.change(partition)

    # -- helpers

    def _merged(self, partition: Partition) -> int | None:
        """The node that merging the chosen classes makes."""
        nodes = [key for key in self._state.chosen if key >= 0]
        return partition.whole(nodes) if nodes else None

    def _branch(self, partition: Partition) -> int | None:
        """The one branch that is chosen: a class, or all classes of a coarser one."""
        chosen = self._state.chosen
        if len(chosen) == 1:
            return chosen[0]
        merged = self._merged(partition)
        whole = merged is not None and set(partition.classes_in(merged)) == set(chosen)
        return merged if whole else None

    def _action(
        self, text: str, key: str, do: Callable[[], Any],
        context: Any = Qt.ShortcutContext.WidgetWithChildrenShortcut,
    ) -> QAction:  # fmt: skip
        made = QAction(text, self)
        made.setShortcut(QKeySequence(key))
        made.setShortcutContext(context)
        made.triggered.connect(lambda: do())
        self._home.addAction(made)
        return made

    def _allow(self, action: QAction, tip: str, reason: str) -> None:
        action.setEnabled(not reason)
        key = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        action.setToolTip(reason or f"{tip} ({key})")


def _some(partition: Partition, chosen: tuple[int, ...]) -> str:
    """The chosen classes, in words."""
    return partition.name(chosen[0]) if len(chosen) == 1 else f"these {len(chosen)} classes"
