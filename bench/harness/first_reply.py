"""The smallest program with a node: two workers, one actor, one reply; then it idles."""

from __future__ import annotations

import sys

from gristmill import Actor, Node, Request, handles


class Ping(Request[int]):
    """Answer with the number that follows."""

    number: int


class Echo(Actor):
    """Answers."""

    @handles
    def ping(self, msg: Ping) -> int:
        """Answer."""
        return msg.number + 1


def main() -> None:
    """Say ``ready`` at the first reply; idle until standard input ends."""
    with Node(workers=2) as node:
        if node.spawn(Echo).ask(Ping(1)) != 2:
            sys.exit("the first reply is wrong")
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
