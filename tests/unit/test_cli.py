"""The command line in this process: usage, help, errors and what reads files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gristmill.cli.main import app

Run = Callable[..., Result]
PLUGIN = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
SHOP = """
from gristmill import Actor, NodeBuilder
class Pricer(Actor):
    pass
app = NodeBuilder("shop").workers(1).pool(Pricer, "pricers", size=2)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Give a function that runs a command in ``tmp_path``, which modules come from too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GRISTMILL_CONFIG", raising=False)
    before = set(sys.modules)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, prog_name="gristmill")

    yield invoke
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def refused(result: Result, says: str, code: int = 2) -> None:
    """Check that a command has failed with one message."""
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("error: ") == 1
    assert says in result.stderr


def install(folder: Path, name: str, group: str, entry: str, source: str) -> None:
    """Install a distribution with one entry point and its module."""
    facts = folder / f"{name}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(PLUGIN.format(name=name))
    (facts / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
    (folder / f"{name}.py").write_text(source)


@pytest.mark.parametrize(
    ("target", "source", "says"),
    [
        ("shop", "", "'shop' is no MODULE:APP; write for example shop.app:app"),
        ("shoop:app", "", "can't import shoop: ModuleNotFoundError: No module named 'shoop'; run"),
        ("shop:ap", SHOP, "shop has no 'ap'; did you mean 'app'?"),
        ("shop:Pricer", SHOP, "shop:Pricer is a class; it must be a NodeBuilder"),
        ("bad:app", "x = 1\ndef f(:\n", "SyntaxError: invalid syntax ("),
        ("bad:app", "import json\njson.loads('{')\n", "bad.py:2: json.loads('{'))"),
        ("bad:app", "app = 5\n", "bad:app is of type int; it must be a NodeBuilder"),
        ("bad:app", "def app(): return 5\n", "bad:app gave a value of type int"),
        ("bad:app", "def app(a, b): pass\n", "bad:app takes a, b; it may take one Config, or not"),
        ("bad:app", "def app(*, a): pass\n", "bad:app takes a; it may take one Config, or not"),
        ("bad:app", "app = getattr\n", "bad:app is <built-in function getattr>; write a"),
        ("bad:app", "def app():\n    1 / 0\n", "bad:app fails: ZeroDivisionError: division by"),
        ("bad:app", "def app(c): return c.no\n", "bad.py:1: def app(c): return c.no)"),
    ],
)
def test_up_refuses_what_is_no_application(
    run: Run, tmp_path: Path, target: str, source: str, says: str
) -> None:
    (tmp_path / f"{target.partition(':')[0]}.py").write_text(source) if source else None
    refused(run("up", target), says)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--workers", "0"], "command line: [node] workers = '0': expected an integer of at least"),
        (["--workers", "-2"], "expected an integer of at least 1"),
        (["--pool", "pricers"], "--pool 'pricers' is no NAME=SIZE"),
        (["--pool", "pricer=2"], "no pool 'pricer'; did you mean 'pricers'?"),
        (["--pool", "pricers=no"], "[pools.pricers] size"),
        (["--config", "no.toml"], "there is no configuration file no.toml"),
    ],
)
def test_up_refuses_options_that_make_no_sense(
    run: Run, tmp_path: Path, options: list[str], says: str
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    refused(run("up", "shop:app", *options), says)


@pytest.mark.parametrize("arguments", [["stauts"], ["status", "--nod"], ["up"], ["report", "show"]])
def test_wrong_usage_exits_with_2(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage: gristmill" in result.stderr


@pytest.mark.parametrize("command", ["status", "tree", "stop"])
def test_without_a_node_there_is_nothing_to_show(run: Run, command: str) -> None:
    refused(run(command), "no node of this user runs here; start one with gristmill up", 3)


ORDERS = ["orders run", "orders replay", "orders serve", "orders audit"]


@pytest.mark.parametrize(
    "command", ["up", "status", "tree", "stop", "report show", "config show", "version", *ORDERS]
)
def test_help_shows_examples(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"gristmill {command}" in result.stdout.partition("Examples:")[2]


def test_help_keeps_the_names_of_sections(run: Run) -> None:
    text = run("orders", "serve", "--help").stdout
    for section in ("[order_processor] data_dir", "[api] http_port", "[node] grpc_port"):
        assert section in text


def test_help_names_the_commands_and_the_exit_codes(run: Run) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for word in ("up", "status", "tree", "stop", "report", "config", "version", "130 interrupted"):
        assert word in result.stdout


def test_config_show_has_the_origin_of_every_value(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release.toml").write_text(
        '[node]\nnode_id = "n"\n[channel]\nredis_url = "redis://me:hush@h"\n[pools.p]\nsize = 2\n'
    )
    monkeypatch.setenv("NODE_WORKERS", "3")
    text = run("config", "show").stdout
    lines = {line.split(" =")[0]: line.split() for line in text.splitlines() if "=" in line}
    assert lines["workers"] == ["workers", "=", "3", "#", "environment", "NODE_WORKERS"]
    assert lines["node_id"][-2:] == ["#", "release.toml:2"]
    assert lines["grpc_port"][-2:] == ["#", "default"]
    assert "hush" not in text
    assert "[pools.p]" in text
    settings = json.loads(run("config", "show", "--json").stdout)
    assert {
        "section": "node",
        "key": "workers",
        "value": 3,
        "origin": "environment NODE_WORKERS",
    } in settings
    assert "hush" not in json.dumps(settings)


def test_config_show_with_the_sections_of_an_application(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("[till]\ncoins = 5\n")
    source = """
import msgspec
from gristmill import Application, NodeBuilder
from gristmill.config import ConfigBootstrap, SECTIONS, TABLES
class Till(msgspec.Struct):
    coins: int = 1
def bootstrap():
    return ConfigBootstrap({**SECTIONS, "till": Till}, tables=TABLES)
app = Application(lambda config: NodeBuilder(), bootstrap())
"""
    install(tmp_path, "tills", "gristmill.config", "till = tills:bootstrap", source)
    for arguments in (["config", "show", "tills:app"], ["config", "show"]):
        text = run(*arguments, "--config", "own.toml").stdout
        assert text.count("[node]") == 1
        assert "coins = 5" in text
        assert "# own.toml:2" in text


def test_config_show_refuses_a_wrong_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "release.toml").write_text("[node]\nworkrs = 2\n")
    refused(run("config", "show"), "release.toml:2")
    refused(run("config", "show", "--config", "no.toml"), "no configuration file no.toml")


def test_version(run: Run) -> None:
    facts = json.loads(run("version", "--json").stdout)
    assert facts.keys() >= {"gristmill", "python", "libzmq", "msgspec"}
    assert f"gristmill  {facts['gristmill']}\n" in run("version").stdout


SHOP_COMMANDS = """
import typer
from gristmill.errors import ConfigError, RestartIntensityError
app = typer.Typer()
@app.command()
def sell(item: str):
    if item == "crown":
        raise RestartIntensityError("[bold]too dear[/bold]")
    print("sold", item)
@app.command()
def nothing():
    raise KeyboardInterrupt
"""


def test_commands_of_applications(run: Run, tmp_path: Path) -> None:
    install(tmp_path, "shops", "gristmill.commands", "shop = shops:app", SHOP_COMMANDS)
    listing = run("--help").stdout
    assert "Commands of shops." in listing
    assert "shops" not in sys.modules
    assert run("shop", "sell", "hat").stdout == "sold hat\n"
    refused(run("shop", "sell", "crown"), "error: [bold]too dear[/bold]\n", 5)
    interrupted = run("shop", "nothing")
    assert (interrupted.exit_code, interrupted.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import nunpy\n", "broken.py:1: import nunpy)"),
        ("app = 5\n", "is of type int; an entry point of gristmill.commands must be a typer.Typer"),
    ],
)
def test_a_broken_application_spoils_only_its_own_command(
    run: Run, tmp_path: Path, source: str, says: str
) -> None:
    install(tmp_path, "broken", "gristmill.commands", "broken = broken:app", source)
    assert "Commands of broken." in run("--help").stdout
    assert run("version").exit_code == 0
    refused(run("broken", "sell"), "the command 'broken' (broken:app)")
    refused(run("broken", "sell"), says)
