"""Classes: what a person kept, on disk, with a log of edits that undo walks across restarts."""

from napari_hypseg.classes.kept import Classes
from napari_hypseg.classes.log import Edit
from napari_hypseg.classes.table import ClassRow, Colour, Source

__all__ = ["ClassRow", "Classes", "Colour", "Edit", "Source"]
