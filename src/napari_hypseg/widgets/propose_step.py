"""Step 4 of the dock: one slider through what the machine proposes, and what to keep of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container, FloatSpinBox
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QLabel
from superqt import QLabeledSlider

from napari_hypseg.jobs import Job
from napari_hypseg.widgets.actions import action, action_buttons, allow_action
from napari_hypseg.widgets.parts import Step, allow, button, combo, folded
from napari_hypseg.widgets.table import Cell, RowTable
from napari_hypseg.widgets.tree_view import TreeView

if TYPE_CHECKING:
    from napari_hypseg.session import Proposals, Session
    from napari_hypseg.widgets.desk import Desk

__all__ = ["ProposeStep"]

_TREES = {
    "things": ("things", "Which things contain which: regions merge that touch, or that lie in "
               "the same one"),
    "kinds": ("kinds", "What kinds of thing there are: clusters merge wherever they lie in the "
              "volume"),
}  # fmt: skip
_COLUMNS = {
    "": "Colour of the proposal, the same in the volume and on the disk, and its label",
    "Voxels": "Voxels that were mapped in it",
    "nm³": "Its volume",
    "Dist.": "Mean distance of its voxels' points to the centre of the disk: near the centre lies "
    "what is general or uncertain, farther out what is specific",
}
_CHOOSE = "Choose a proposal first: click it in the volume, in the tree or in the table"
_NEEDED = "Needs mapped voxels: step 3"


class ProposeStep(Step):
    """The tree, one slider, the table of proposals, and Keep.

    Parameters
    ----------
    desk : Desk

    Attributes
    ----------
    kind : QComboBox
        Which tree.
    form : magicgui Container
        ``smoothing``.
    slider : QLabeledSlider
        Number of proposals.
    tree : TreeView
    table : RowTable
    keep, keep_all, only : QAction
    """

    folds = False

    def __init__(self, desk: Desk) -> None:
        super().__init__("4  Propose")
        self._desk = desk
        # Proposals whose points are being gathered.
        self._gathers: Proposals | None = None
        self.kind = combo("Which tree to walk")
        self.kind.setAccessibleName("Tree")
        for name, (text, tip) in _TREES.items():
            self.kind.addItem(text, name)
            self.kind.setItemData(self.kind.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.kind.setMinimumContentsLength(6)
        self.slider = QLabeledSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(1, 2)
        self.slider.setToolTip("How many proposals: drag from coarse to fine")
        self.slider.setAccessibleName("Number of proposals")
        # Keys are for the slider inside: the frame around it counts on its own.
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.tree = TreeView(desk)
        self.table = RowTable(_COLUMNS, names=False)
        self.keep = action(self, "Keep", "K", self.keep_chosen, anywhere=True)
        self.keep_all = action(self, "Keep all", "", self._keep_all)
        self.only = action(self, "Only chosen", "O", self._turn_only)
        self.only.setCheckable(True)
        actions = self.keep, self.keep_all, self.only
        for view in (self.tree, self.table):
            view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
            view.addActions(actions)
        row = self.row(QLabel("Tree of"), self.kind, self.slider)
        row.setStretch(1, 1)
        row.setStretch(2, 2)
        self.column.addWidget(self.tree)
        action_buttons(self, actions)
        self.column.addWidget(self.table, 1)
        self.cluster = button(
            "Cluster again", "Cluster the mapped voxels with these settings", self.propose
        )
        self.form = Container(widgets=[
            FloatSpinBox(name="smoothing", value=1.0, max=10.0, step=0.25, tooltip="Weight of the "
                         "smoothing before clustering, which keeps edges; 0 for none"),
        ])  # fmt: skip
        self.column.addWidget(folded(self.form, self.cluster))
        self.kind.activated.connect(lambda _index: self.propose())
        self.slider.valueChanged.connect(self._on_slider)
        self.tree.kept.connect(self.keep_node)
        self.table.kept.connect(lambda node, _column: self.keep_node(node))
        self.table.chosen.connect(self._on_rows)
        self.follow(
            (desk.session_changed, self._on_proposals),
            (desk.proposals_changed, self._on_proposals),
            (desk.model_changed, self.refresh), (desk.k_changed, self._on_k),
            (desk.chosen_changed, self._on_chosen),
        )  # fmt: skip
        self._on_proposals()

    @property
    def _proposals(self) -> Proposals | None:
        return None if self._desk.session is None else self._desk.session.proposals

    def settings(self) -> dict[str, Any]:
        """Arguments of a clustering."""
        return {"tree": self.kind.currentData(), **self.form.asdict()}

    def propose(self) -> None:
        """Cluster the mapped voxels with these settings."""
        session = self._desk.session
        if session is not None and not self._desk.runner.title:
            self._desk.start("clustering", _propose_job(session, **self.settings()))

    def keep_chosen(self) -> None:
        """Keep what is chosen, together, as a class."""
        session = self._desk.session
        if session is not None:
            self._keep(session.chosen)

    def keep_node(self, node: int) -> None:
        """Keep a branch as a class."""
        self._keep([node])

    def _keep(self, nodes: Any) -> None:
        session = self._desk.session
        assert session is not None  # noqa: S101
        self._desk.classes_layer.end_stroke()
        with self._desk.telling():
            number = session.keep(nodes)
            session.choose(())
            session.classes.choose([number])
            row, count = session.classes.row(number), session.classes.counts[number]
            self._desk.said.emit(f"kept {row.name}, {count:,} voxels")

    def _keep_all(self) -> None:
        session = self._desk.session
        assert session is not None  # noqa: S101
        self._desk.classes_layer.end_stroke()
        with self._desk.telling():
            numbers = session.keep_all()
            session.choose(())
            self._desk.said.emit(f"kept {len(numbers)} classes, where there was none yet")

    def _turn_only(self) -> None:
        self._desk.proposals_layer.only = self.only.isChecked()

    # -- the session's changes

    def _on_proposals(self) -> None:
        proposals = self._proposals
        if proposals is not None:
            self.kind.setCurrentIndex(self.kind.findData(proposals.kind))
            self.form["smoothing"].value = proposals.smoothing
        self._on_k()

    def _gather(self, proposals: Proposals) -> None:
        """Gather the points in the background, once."""
        if self._gathers is not proposals and not self._desk.runner.title:
            self._gathers = proposals
            announce = self._desk.proposals_changed.emit
            self._desk.start("gathering points", proposals.gather_job(), lambda _: announce())

    def _on_k(self) -> None:
        proposals, session = self._proposals, self._desk.session
        if proposals is not None and session is not None:
            with QSignalBlocker(self.slider):
                self.slider.setRange(1, max(2, proposals.most))
                self.slider.setValue(session.k)
        self.refresh()

    def _on_chosen(self) -> None:
        session = self._desk.session
        self.table.mark(() if session is None else session.chosen)
        self._allow()

    def _on_slider(self, k: int) -> None:
        if self._desk.session is not None:
            self._desk.session.k = k

    def _on_rows(self, nodes: list[int]) -> None:
        if self._desk.session is not None:
            self._desk.session.choose(nodes)

    def refresh(self) -> None:
        """Say how the step stands, and let be pressed what can be."""
        session, proposals = self._desk.session, self._proposals
        rows: dict[int, list[Cell]] = {}
        if proposals is None or session is None:
            self.say("waiting", _NEEDED)
            self.table.fill({}, ())
        elif not proposals.is_gathered:
            self.say("done", "The points are gathered first")
            self.table.fill({}, ())
            self._gather(proposals)
        else:
            for row in proposals.rows(session.k):
                size = round(row.volume_nm3)
                rows[row.node] = [
                    Cell(row.label, row.colour), Cell(row.voxels), Cell(size), Cell(row.distance)
                ]  # fmt: skip
            self.table.fill(rows, session.chosen)
            self.say("done", self._describe(session, proposals))
        reason = "" if proposals is not None else _NEEDED
        allow(self.cluster, self._desk.runner.wait or reason)
        allow(self.kind, self._desk.runner.wait or reason)
        allow(self.slider, reason)
        self._allow()

    def _describe(self, session: Session, proposals: Proposals) -> str:
        text = "Drag, click what you recognise, keep it"
        if proposals.stride > 1:
            text = f"One voxel in {proposals.stride} along each axis. {text}"
        if session.model is not None and session.model.number != proposals.model:
            text = f"Of model {proposals.model}; {session.model.number} has mapped nothing. {text}"
        return text

    def _allow(self) -> None:
        session, proposals = self._desk.session, self._proposals
        reason = "" if proposals is not None else _NEEDED
        chosen = session is not None and bool(session.chosen)
        allow_action(
            self.keep, "Keep what is chosen as one class", reason or (_CHOOSE if not chosen else "")
        )
        allow_action(
            self.keep_all, "Keep every proposal as a class, where there is no class yet", reason
        )
        allow_action(self.only, "Show what is chosen alone", reason)


def _propose_job(session: Session, **settings: Any) -> Job[Proposals]:
    """Cluster what is on show with other settings, and gather what is drawn of it."""
    shown = session.proposals
    if shown is not None and not shown.is_kept:
        # A quick look: of a part, or the coarse pass of a mapping that was stopped.
        if shown.stride == 1:
            return (yield from session.glance_job(shown.box, **settings))
        return (yield from session.discover_job(stride=shown.stride, **settings))
    made = yield from session.propose_job(**settings)
    yield from made.gather_job(shown)
    return made
