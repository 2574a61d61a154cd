"""Who is where: the processes and named actors that a worker knows of."""

from __future__ import annotations

from gristmill.ref import Address
from gristmill.transport.control import FIRST_CLIENT, PeerInfo


class Directory:
    """Names and addresses, as the supervisor process has announced them.

    Args:
        address: the worker's own address.
        incarnation: its incarnation.
        name: its name.
    """

    def __init__(self, address: int, incarnation: int, name: str) -> None:
        self._by_name: dict[str, Address] = {}
        self._by_key: dict[int, Address] = {}
        self._processes: dict[int, str] = {address: name}
        self._incarnations: dict[int, int] = {address: incarnation}
        self._reachable: set[int] = set()
        self.gone: set[int] = set()
        """Processes that have died and whose actors live nowhere else."""

    def process_name(self, address: int) -> str:
        """Give the name of a process."""
        return self._processes.get(address, "")

    def incarnation(self, address: int) -> int:
        """Give the incarnation of a process, 0 if it is unknown."""
        return self._incarnations.get(address, 0)

    def peer_up(self, peer: PeerInfo) -> None:
        """Take in a process that can be reached."""
        self._reachable.add(peer.address)
        self._processes[peer.address] = peer.name
        self._incarnations[peer.address] = peer.incarnation

    @property
    def living(self) -> set[int]:
        """The processes that can be reached."""
        return set(self._reachable)

    def peer_down(self, address: int, *, final: bool) -> None:
        """A process has died; ``final``: nobody will have its address again."""
        self._reachable.discard(address)
        if final:
            self.gone.add(address)
            if address >= FIRST_CLIENT:  # what workers have told at least once goes by their names
                self._processes.pop(address, None)
                self._incarnations.pop(address, None)

    def add(self, address: Address) -> None:
        """A name stands for an actor from now on."""
        self._by_name[address.name] = address
        self._by_key[address.key] = address

    def remove(self, key: int, name: str) -> bool:
        """An actor has lost its name; give whether it had it."""
        if self._by_key.pop(key, None) is None:
            return False
        self._by_name.pop(name, None)
        return True

    def named(self) -> list[Address]:
        """Give all named actors."""
        return list(self._by_name.values())

    def find(self, name: str) -> Address | None:
        """Give the actor that a name stands for."""
        return self._by_name.get(name)

    def address_of(self, sender: int | str, home: int) -> Address:
        """Give the address of the actor that sent a message, by its key or its name.

        An actor whose name is not registered just now can be told things at least once.
        """
        if isinstance(sender, str):
            return self._by_name.get(sender) or Address(0, home, "", sender)
        return self._by_key.get(sender) or Address(sender, home, "")
