"""``Dormant``: actors that are down, and that the restart of others would start again."""

from __future__ import annotations

from gristmill.node.supervisor.roster import ActorRecord
from gristmill.supervision import SupervisionTree

_FIRST_LOOK = 100
"""How many there may be before those that the tree has forgotten are looked for."""


class Dormant:
    """Keeps what is known of them, so that they come back to where their refs lead.

    Args:
        tree: the node's tree.
    """

    def __init__(self, tree: SupervisionTree) -> None:
        self._tree = tree
        self._records: dict[int, ActorRecord] = {}
        self._look_at = _FIRST_LOOK

    def keep(self, key: int, record: ActorRecord) -> None:
        """An actor has ended for now; it is kept if it can come back."""
        if not self._tree.may_come_back(key):
            return
        if len(self._records) >= self._look_at:
            known = self._tree.knows
            self._records = {k: kept for k, kept in self._records.items() if known(k)}
            self._look_at = 2 * len(self._records) + _FIRST_LOOK
        self._records[key] = record

    def get(self, key: int) -> ActorRecord | None:
        """Give what is kept of an actor, if anything is."""
        return self._records.get(key)

    def take(self, key: int) -> ActorRecord | None:
        """Give what was kept of an actor that is started again, if anything was."""
        record = self._records.pop(key, None)
        if record is not None:
            record.announced = False
        return record
