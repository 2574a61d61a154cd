"""``Newcomers``: workers and clients that join are told who is where, and the others of them."""

from __future__ import annotations

from functools import partial

from gristmill.node.supervisor.actors.groups import Groups
from gristmill.node.supervisor.actors.pools import Pools
from gristmill.node.supervisor.breakers import Breakers
from gristmill.node.supervisor.roster import Client, Roster
from gristmill.node.supervisor.shell import SupervisorShell
from gristmill.node.supervisor.subscriptions import Subscriptions
from gristmill.node.supervisor.workers.slots import CLIENT, Slot
from gristmill.transport import control as c


class Newcomers:
    """Introduces the processes that join a node.

    Args:
        shell: of the supervisor process.
        node_id: of the node.
        roster: who is where.
        subscriptions: who gets the events of which channel.
        breakers: how the shared circuit breakers stand.
        groups: which groups of keyed actors there are.
        pools: which elastic pools there are.
    """

    def __init__(
        self,
        shell: SupervisorShell,
        node_id: str,
        roster: Roster,
        subscriptions: Subscriptions,
        breakers: Breakers,
        groups: Groups,
        pools: Pools,
    ) -> None:
        self._shell = shell
        self._node_id = node_id
        self._roster = roster
        self._subscriptions = subscriptions
        self._breakers = breakers
        self._groups = groups
        self._pools = pools
        self._hellos: list[tuple[bytes, c.ClientHello]] = []
        self._next_client = c.FIRST_CLIENT

    # --- workers ---

    def introduce(self, slot: Slot) -> None:
        """Tell a worker that has come up who is where."""
        identity, slots = slot.identity, self._roster.slots
        if slots.gone:
            self._shell.send(identity, c.Gone(tuple(slots.gone)))
        for peer in self._roster.peers():
            if peer.address != slot.address:
                self._shell.send(identity, c.PeerUp(peer))
        for address in self._roster.directory():
            self._shell.send(identity, c.Registered(address))
        self._subscriptions.introduce(identity)
        self._breakers.introduce(partial(self._shell.send, identity))
        self._groups.introduce(identity)
        self._pools.introduce(identity)
        self._shell.send(identity, c.News(self._roster.news, None))

    # --- clients ---

    @property
    def waiting(self) -> list[bytes]:
        """The routing ids of the clients that want to join and have not been welcomed."""
        return [identity for identity, _ in self._hellos]

    def hello(self, identity: bytes, hello: c.ClientHello) -> None:
        """A client wants to join; it waits to be welcomed."""
        self._hellos.append((identity, hello))

    def welcome(self) -> None:
        """Let all clients join that wait."""
        hellos, self._hellos = self._hellos, []
        for identity, hello in hellos:
            address = self._next_client
            self._next_client += 1
            name = CLIENT if hello.owner else f"client-{address}"
            peer = c.PeerInfo(address, 1, hello.endpoint, name)
            self._roster.clients[address] = Client(identity, peer, hello.owner)
            self._roster.broadcast(c.PeerUp(peer), but=address)
            ready = self._roster.slots.ready()
            workers = tuple(slot.peer for slot in ready if slot.peer is not None)
            directory = tuple(self._roster.directory())
            self._shell.send(identity, c.News(self._roster.news, None))
            self._shell.send(identity, c.Welcome(address, self._node_id, workers, directory))
            self._subscriptions.introduce(identity)
            if not hello.owner:
                self._shell.watch(hello.pid, address)
