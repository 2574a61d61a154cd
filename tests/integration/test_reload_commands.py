"""``gristmill reload``, and SIGHUP to ``gristmill up``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from support.commands import gristmill, until_ready, up
from support.scripts import Script
from support.traces import assert_nothing_left
from support.waiting import eventually

SHOP = """
    import msgspec
    from gristmill import Actor, ActorBuilder, Application, NodeBuilder
    from gristmill.config import ALIASES, SECTIONS, TABLES, Config, ConfigBootstrap

    class ShopConfig(msgspec.Struct, frozen=True):
        greeting: str = "hello"

    class Greeter(Actor):
        def __init__(self, greeting: str) -> None:
            print(greeting, "WORD")

    def build(config: Config) -> NodeBuilder:
        greeting = config.section(ShopConfig).greeting
        greeter = ActorBuilder(Greeter).args(greeting).name("greeter")
        return NodeBuilder("shop").workers(1).pool(Greeter, "more", args=("more",)).actor(greeter)

    app = Application(build, ConfigBootstrap(SECTIONS | {"shop": ShopConfig}, tables=TABLES))
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """Give a folder with an application and its configuration."""
    write(tmp_path, "one")
    configure(tmp_path, "hello")
    yield tmp_path
    assert_nothing_left()


def write(folder: Path, word: str) -> None:
    """Change the application's code."""
    (folder / "shop.py").write_text(dedent(SHOP.replace("WORD", word)))


def configure(folder: Path, greeting: str, more: str = "") -> None:
    """Change the application's configuration."""
    (folder / "release.toml").write_text(f'[shop]\ngreeting = "{greeting}"\n{more}')


def noticed(script: Script, text: str) -> None:
    """Wait until the command has said something."""
    eventually(lambda: text in script.stderr, text, 15.0)


def test_code_and_configuration_are_taken_up(shop: Path) -> None:
    with up(shop, "shop:app") as script:
        until_ready(script)
        write(shop, "second")
        reloaded = gristmill(shop, "reload")
        assert (reloaded.returncode, reloaded.stderr) == (0, "")
        assert reloaded.stdout.startswith("shop reloaded: 1 worker in ")
        assert "1 replacement" in gristmill(shop, "status").stdout

        configure(shop, "bye", more="[node]\nworkers = 7\n")
        os.kill(script.pid, signal.SIGHUP)
        noticed(script, "\nreloaded: 1 worker in ")
        assert "[node] workers = 7 takes effect at the next start\n" in script.stderr

        write(shop, 'broken" = "')
        failed = gristmill(shop, "reload", "--node", "shop")
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr.startswith("error: nothing was reloaded: can't import shop: Syntax")
        os.kill(script.pid, signal.SIGHUP)
        noticed(script, "not reloaded: nothing was reloaded: can't import shop: Syntax")
        write(shop, "second")
        configure(shop, "bye", more="[pools.more]\nsize = 2\n")
        os.kill(script.pid, signal.SIGHUP)
        noticed(script, "not reloaded: root/more/more-2 is new: a reload keeps the members")
        (shop / "release.toml").write_text("[shop]\ngreetin = 1\n")
        os.kill(script.pid, signal.SIGHUP)
        noticed(script, "did you mean 'greeting'?")

        os.kill(script.pid, signal.SIGTERM)
        assert script.wait() == 0
        said = [line.rpartition("] ")[2] for line in script.rest().splitlines()]
        assert [line for line in said if "more" not in line] == ["hello second", "bye second"]


def test_there_is_nothing_to_reload(tmp_path: Path) -> None:
    result = gristmill(tmp_path, "reload")
    assert (result.returncode, result.stdout) == (3, "")
    assert "no node of this user runs here" in result.stderr
